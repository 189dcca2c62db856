"""A scripted node, and the adapter's parts in front of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from keyquorum_devnet.solana import CHAIN_ID, GENESIS_HASH
from keyquorum_plugin_api.testing import SystemClock
from keyquorum_sol.config import SolanaConfig, parse_config
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.rpc import JsonRpc
from support.scripted_rpc import ScriptedNode, result, scripted_node


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def script() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as node:
        node.says("getGenesisHash", result(GENESIS_HASH))
        yield node


@pytest.fixture
def timeout_s() -> float:
    """Long enough for a busy machine; tests whose node is silent ask for less."""
    return 10.0


@pytest.fixture
def config(script: ScriptedNode, timeout_s: float) -> SolanaConfig:
    return parse_config({"rpc_url": script.url, "request_timeout_s": timeout_s, "response_bytes_max": 8192})


@pytest.fixture
def rpc(http: aiohttp.ClientSession, script: ScriptedNode, config: SolanaConfig) -> JsonRpc:
    return JsonRpc(http, script.url, timeout_s=config.request_timeout_s, response_bytes_max=config.response_bytes_max)


@pytest.fixture
def node(rpc: JsonRpc, config: SolanaConfig) -> SolanaNode:
    return SolanaNode(rpc, config, CHAIN_ID, SystemClock())
