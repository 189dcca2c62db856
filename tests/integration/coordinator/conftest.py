"""A scripted cell, a coordinator in this process, and a gateway's client of it."""

from collections.abc import AsyncIterator

import pytest

from integration.coordinator.harness import GatewayClient, gateway_of, running
from integration.coordinator.scripted import ScriptedCell, make_scripted_cell
from keyquorum_core_signer.coordinator.serve import Coordinator


@pytest.fixture
async def cell(tmp_path) -> AsyncIterator[ScriptedCell]:
    """Three scripted parties, started."""
    cell = make_scripted_cell(tmp_path)
    await cell.start()
    yield cell
    await cell.stop()


@pytest.fixture
async def coordinator(cell) -> AsyncIterator[Coordinator]:
    """A coordinator linked with all three."""
    async with running(cell) as coordinator:
        yield coordinator


@pytest.fixture
async def gateway(cell, coordinator) -> AsyncIterator[GatewayClient]:
    """The pinned gateway, connected."""
    async with gateway_of(cell, coordinator) as gateway:
        yield gateway
