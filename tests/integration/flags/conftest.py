"""A gateway that watches a flags file, in front of a coordinator double."""

import asyncio
import json
import logging
import sys

import pytest
import structlog
from click.testing import CliRunner

from keyquorum_gateway.cli import main
from support.fake_distributions import TOY_SITE, import_toychain

import_toychain()


@pytest.fixture(autouse=True)
def _terse_logs():
    """Errors alone, and none of those that a test makes of its flags file."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@pytest.fixture
async def cell(tmp_path):
    """All files, a flags file without a flag, and the coordinator double serving."""
    from support.gateway_cell import make_gateway_cell  # noqa: PLC0415 needs the toy chain

    made = make_gateway_cell(tmp_path, TOY_SITE)
    made.config_file.write_text(made.config_file.read_text() + '\n[flags]\nfile = "flags.json"\n')
    (tmp_path / "flags.json").write_text(json.dumps({"chains": {}}))
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
    """A client of the tenant ``default``."""
    async with cell.client(gateway) as made:
        yield made


@pytest.fixture
async def other(cell, gateway):
    """A client of the tenant ``other``."""
    async with cell.client(gateway, tenant="other") as made:
        yield made


@pytest.fixture
def keyquorum(cell):
    """Run ``keyquorum chains …`` on the gateway's configuration, as an operator does."""

    async def run(*arguments, config=True, ok=True):
        words = ["chains", *arguments, *(("--config", str(cell.config_file)) if config else ())]
        result = await asyncio.to_thread(CliRunner().invoke, main, words, env={"COLUMNS": "250"})
        assert (result.exit_code == 0) is ok, result.output
        assert "Traceback" not in result.output
        return result.output

    return run
