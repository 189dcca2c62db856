"""A gateway in front of a coordinator double, per test."""

import logging
import sys

import pytest
import structlog

from support.fake_distributions import TOY_SITE, import_toychain

import_toychain()


@pytest.fixture(autouse=True)
def _terse_logs():
    """Errors alone, without the values of local variables."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@pytest.fixture
async def cell(tmp_path):
    """All files, and the coordinator double serving."""
    from support.gateway_cell import make_gateway_cell  # noqa: PLC0415 needs the toy chain

    made = make_gateway_cell(tmp_path, TOY_SITE)
    await made.start_coordinator()
    yield made
    await made.stop_coordinator()


@pytest.fixture
async def gateway(cell):
    """The gateway, serving."""
    async with cell.running() as running:
        yield running


@pytest.fixture
async def client(cell, gateway):
    """A client with every scope."""
    async with cell.client(gateway) as made:
        yield made
