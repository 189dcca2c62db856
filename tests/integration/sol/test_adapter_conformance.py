"""The Solana adapter passes the suite that every adapter passes, on Solana's runtime."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from keyquorum_devnet.solana.server import Endpoint, Settings, running
from keyquorum_plugin_api.testing import AdapterConformance
from support.solana import SolanaRpcCaller
from support.solana_target import SolanaChainTarget


class TestSolanaAdapter(AdapterConformance):
    @pytest.fixture
    async def endpoint(self) -> AsyncIterator[Endpoint]:
        """A chain that finalizes soon: events are told of finalized blocks only."""
        async with running(settings=Settings(slot_ms=0, finalized_after=3)) as endpoint:
            yield endpoint

    @pytest.fixture
    async def target(self, endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[SolanaChainTarget]:
        async with aiohttp.ClientSession() as http:
            yield SolanaChainTarget(b"adapter", endpoint, http, rpc)
