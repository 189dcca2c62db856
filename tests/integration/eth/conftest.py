"""One anvil per module, and a session to talk to it."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from support.anvil import Anvil, AnvilCaller, running_anvil


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """A node that makes a block for each transaction."""
    with running_anvil() as anvil:
        yield anvil


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def rpc(anvil: Anvil, http: aiohttp.ClientSession) -> AnvilCaller:
    return AnvilCaller(http, anvil.rpc_url)
