"""Regtest nodes of Bitcoin Core's consensus code in this process, one per module, and adapters in front of them.

The tests of a module share a chain, as strangers do: each has keys of its own, and what one leaves in the mempool is mined by
another.
"""

import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from support.bitcoin_node import BitcoinNode, bitcoin_node
from support.bitcoin_target import BitcoinChainTarget

_seeds = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bitcoin() -> AsyncIterator[BitcoinNode]:
    """A chain whose blocks come only when they are mined."""
    async with bitcoin_node() as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
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
    return BitcoinChainTarget(b"adapter %d" % next(_seeds), bitcoin, http, client)
