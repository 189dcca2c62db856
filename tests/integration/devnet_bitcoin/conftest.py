"""A regtest node behind its server, in this process."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.bitcoin_node import BitcoinNode, TaprootKey, bitcoin_node


@pytest.fixture
async def bitcoin() -> AsyncIterator[BitcoinNode]:
    """A chain of 120 blocks; new ones come only when a test mines them."""
    async with bitcoin_node() as node:
        yield node


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows nothing of the node."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def alice() -> TaprootKey:
    """Who pays."""
    return TaprootKey(1)


@pytest.fixture
def bob() -> TaprootKey:
    """Who is paid."""
    return TaprootKey(2)
