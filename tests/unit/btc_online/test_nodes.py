"""Whom the adapter believes: nodes of its own network, and the second one while the first is away."""

from typing import Any

import aiohttp
import pytest

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_btc.esplora import EsploraNode
from keyquorum_btc.network import MAINNET, REGTEST
from keyquorum_btc.node import BlockRef
from keyquorum_btc.nodes import CHAIN_CHECK_S, Nodes
from keyquorum_btc.transport import Transport
from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_plugin_api.testing import LocalSigner, SystemClock, local_context
from support.bitcoin_scripted import SECRET, TIP, Says, ScriptedBitcoin
from support.manual_clock import ManualClock


@pytest.fixture
def away(http: aiohttp.ClientSession) -> EsploraNode:
    return EsploraNode(Transport(http, f"http://127.0.0.1:9/{SECRET}", timeout_s=5, response_bytes_max=8192))


async def test_nodes_of_other_networks_are_not_believed(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """Neither for reading nor for sending; nothing but the genesis hash is asked of them."""
    nodes = Nodes([esplora], MAINNET.chain, SystemClock())
    with pytest.raises(ChainUnavailable, match="another network"):
        await nodes.tip()
    with pytest.raises(ChainUnavailable, match="another network"):
        await nodes.each()
    assert set(script.requests) == {"/block-height/0"}


async def test_network_is_checked_again_and_again(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """What a name leads to may change."""
    clock = ManualClock()
    nodes = Nodes([esplora], REGTEST.chain, clock)
    assert await nodes.tip() == BlockRef(1, TIP)
    script.paths["/block-height/0"] = "ab" * 32
    assert await nodes.ask(lambda node: node.fee_rate(2)) is None
    await clock.advance(CHAIN_CHECK_S + 1)
    with pytest.raises(ChainUnavailable):
        await nodes.ask(lambda node: node.fee_rate(2))


async def test_second_node_stands_in_for_the_first(
    esplora: EsploraNode, away: EsploraNode, script: ScriptedBitcoin
) -> None:
    """And is asked first for a while; a node of another network is left out."""
    nodes = Nodes([away, esplora], REGTEST.chain, SystemClock())
    assert await nodes.tip() == BlockRef(1, TIP)
    assert await nodes.each() == (esplora,)
    script.paths["/blocks/tip/hash"] = Says("no", 503)
    with pytest.raises(ChainUnavailable) as caught:
        await nodes.tip()
    assert SECRET not in f"{caught.value!r}{caught.value.detail}"


async def test_concurrent_questions_for_the_tip_are_one(nodes: Nodes, script: ScriptedBitcoin) -> None:
    """Within the age that a caller accepts."""
    await nodes.tip()
    before = script.requests.count("/blocks/tip/hash")
    await nodes.tip(60)
    assert script.requests.count("/blocks/tip/hash") == before
    await nodes.tip()
    assert script.requests.count("/blocks/tip/hash") == before + 1


async def test_errors_and_logs_hide_where_the_node_is(
    http: aiohttp.ClientSession, script: ScriptedBitcoin, settings: dict[str, Any]
) -> None:
    """A URL carries its provider's token."""
    context = local_context(REGTEST.chain, LocalSigner(BitcoinAdapter.codec(), []), http, settings)
    adapter = BitcoinAdapter(context)
    script.paths.clear()
    for call in (adapter.health(), adapter.get_status("ab" * 32)):
        with pytest.raises(ChainUnavailable) as caught:
            await call
        assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert SECRET not in f"{context.log!r}{adapter!r}"
    await adapter.close()
