"""A Solana runtime behind its RPC server, in this process."""

from collections.abc import AsyncIterator

import pytest
from solana.rpc.async_api import AsyncClient

from keyquorum_devnet.solana.server import Endpoint, Settings, running
from support.solana import SolanaRpcCaller


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """A chain whose slots advance only when told to."""
    async with running(settings=Settings(slot_ms=0)) as endpoint:
        yield endpoint


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[AsyncClient]:
    """The unchanged client of solana-py, reading at the confirmed commitment."""
    async with AsyncClient(endpoint.rpc_url, commitment="confirmed") as client:
        yield client


@pytest.fixture
async def rpc(endpoint: Endpoint) -> AsyncIterator[SolanaRpcCaller]:
    """Raw JSON-RPC, for what solana-py has no method for."""
    async with SolanaRpcCaller(endpoint.rpc_url) as rpc:
        yield rpc
