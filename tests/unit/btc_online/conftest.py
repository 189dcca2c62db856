"""A scripted node, and the clients and parts in front of it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from keyquorum_btc.bitcoind import BitcoindNode
from keyquorum_btc.esplora import EsploraNode
from keyquorum_btc.jsonrpc import Credentials, JsonRpc
from keyquorum_btc.network import REGTEST
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.transport import Transport
from keyquorum_plugin_api.testing import SystemClock
from support.bitcoin_scripted import ScriptedBitcoin, scripted_bitcoin


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def script() -> AsyncIterator[ScriptedBitcoin]:
    async with scripted_bitcoin() as node:
        yield node


@pytest.fixture
def timeout_s() -> float:
    """Long enough for a busy machine; tests whose node is silent ask for less."""
    return 10.0


@pytest.fixture
def transport(http: aiohttp.ClientSession, script: ScriptedBitcoin, timeout_s: float) -> Transport:
    return Transport(http, script.url, timeout_s=timeout_s, response_bytes_max=8192)


@pytest.fixture
def esplora(transport: Transport) -> EsploraNode:
    return EsploraNode(transport)


@pytest.fixture
def bitcoind(transport: Transport) -> BitcoindNode:
    return BitcoindNode(JsonRpc(transport, Credentials("", None)))


@pytest.fixture
def nodes(esplora: EsploraNode) -> Nodes:
    return Nodes([esplora], REGTEST.chain, SystemClock())


@pytest.fixture
def settings(script: ScriptedBitcoin) -> dict[str, Any]:
    return {"esplora_url": script.url, "response_bytes_max": 8192}
