"""A scripted node, and the adapter's parts in front of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from keyquorum_eth.node import EthereumNode
from keyquorum_eth.rpc import JsonRpc
from keyquorum_plugin_api.testing import SystemClock
from support.anvil import CHAIN, CHAIN_ID
from support.ethereum_script import scripted_ethereum
from support.ethereum_target import EthereumCodecTarget
from support.scripted_rpc import ScriptedNode, result


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def script() -> AsyncIterator[ScriptedNode]:
    async with scripted_ethereum() as node:
        node.says("eth_chainId", result(hex(CHAIN_ID)))
        yield node


@pytest.fixture
def timeout_s() -> float:
    """Long enough for a busy machine; tests whose node is silent ask for less."""
    return 10.0


@pytest.fixture
def rpc(http: aiohttp.ClientSession, script: ScriptedNode, timeout_s: float) -> JsonRpc:
    return JsonRpc(http, script.url, timeout_s=timeout_s, response_bytes_max=8192)


@pytest.fixture
def node(rpc: JsonRpc) -> EthereumNode:
    return EthereumNode(rpc, CHAIN, SystemClock(), 4)


@pytest.fixture
def target() -> EthereumCodecTarget:
    return EthereumCodecTarget()
