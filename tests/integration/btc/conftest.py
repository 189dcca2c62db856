"""A regtest node of Bitcoin Core's consensus code in this process, and adapters in front of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.bitcoin_node import BitcoinNode, bitcoin_node
from support.bitcoin_target import BitcoinChainTarget


@pytest.fixture
async def bitcoin() -> AsyncIterator[BitcoinNode]:
    """A chain whose blocks come only when they are mined."""
    async with bitcoin_node() as node:
        yield node


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The host's session."""
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture(params=["esplora", "bitcoind"])
def client(request: pytest.FixtureRequest) -> str:
    """Which of the two clients asks the node."""
    return str(request.param)


@pytest.fixture
def target(bitcoin: BitcoinNode, http: aiohttp.ClientSession, client: str) -> BitcoinChainTarget:
    """Keys, funds and adapters on that chain."""
    return BitcoinChainTarget(b"adapter", bitcoin, http, client)
