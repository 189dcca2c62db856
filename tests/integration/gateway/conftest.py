"""A gateway in front of a coordinator double, per test."""

import sys

import pytest

from support.fake_distributions import TOY_SITE

sys.path.insert(0, str(TOY_SITE))


@pytest.fixture
async def cell(tmp_path):
    """All files, and the coordinator double serving."""
    from support.gateway_cell import make_gateway_cell  # noqa: PLC0415 needs the path above

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
