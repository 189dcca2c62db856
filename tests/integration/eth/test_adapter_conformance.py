"""The Ethereum adapter passes the suite that every adapter passes, on a whole node."""

from collections.abc import Iterator

import aiohttp
import pytest

from keyquorum_plugin_api.testing import AdapterConformance
from support.anvil import Anvil, running_anvil
from support.ethereum_target import EthereumChainTarget


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """A node that makes a block when it is told to."""
    with running_anvil("--no-mining", "--gas-limit", "16000000") as anvil:
        yield anvil


class TestEthereumAdapter(AdapterConformance):
    @pytest.fixture
    async def target(
        self, anvil: Anvil, http: aiohttp.ClientSession, request: pytest.FixtureRequest
    ) -> EthereumChainTarget:
        return EthereumChainTarget(request.node.name.encode(), anvil, http)
