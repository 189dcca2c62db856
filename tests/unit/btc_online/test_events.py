"""Streams of events over nodes that forget, leave things out, or go away."""

from typing import Any

import pytest

from keyquorum_btc.cursor import Position
from keyquorum_btc.events import OUTAGE_S_MAX, EventStream
from keyquorum_btc.network import REGTEST
from keyquorum_btc.nodes import Nodes
from keyquorum_devnet.bitcoin import GENESIS_HASH
from keyquorum_plugin_api.errors import ChainUnavailable, Expired
from keyquorum_plugin_api.testing import SystemClock
from support.bitcoin_scripted import TIP, Says, ScriptedBitcoin

SCRIPT = b"\x51\x20" + b"\x01" * 32
ADDRESS = "bcrt1someone"
NEXT, TXID = "22" * 32, "ab" * 32


@pytest.fixture
def stream(nodes: Nodes) -> EventStream:
    return EventStream(nodes, SystemClock(), REGTEST.chain, {SCRIPT: ADDRESS}, poll_interval_s=0.01)


def transaction(block: str, height: int, spent: Any = None) -> dict[str, Any]:
    inputs = [{"txid": "cd" * 32, "vout": 0, "prevout": spent, "is_coinbase": False}]
    outputs = [{"scriptpubkey": SCRIPT.hex(), "value": 1000}, {"scriptpubkey": SCRIPT.hex(), "value": 234}]
    status = {"confirmed": True, "block_height": height, "block_hash": block}
    return {"txid": TXID, "vin": inputs, "vout": outputs, "weight": 445, "fee": 1, "status": status}


def mined(script: ScriptedBitcoin, spent: Any) -> None:
    """A block after the tip, with one transaction."""
    script.paths |= {
        "/block-height/2": NEXT,
        f"/block/{NEXT}": {"id": NEXT, "height": 2, "previousblockhash": TIP, "tx_count": 1},
        f"/block/{NEXT}/status": {"in_best_chain": True, "height": 2},
        f"/block/{NEXT}/txs/0": [transaction(NEXT, 2, spent)],
    }


async def test_one_event_tells_what_came_less_what_went(stream: EventStream, script: ScriptedBitcoin) -> None:
    """Per transaction and address, all its inputs and outputs together."""
    events = stream.follow(str(Position(1, TIP, 0, ADDRESS)))
    script.paths[f"/block/{TIP}/txs/0"] = [transaction(TIP, 1, {"scriptpubkey": "51", "value": 9})]
    mined(script, {"scriptpubkey": SCRIPT.hex(), "value": 5_000})
    event = await anext(events)
    assert (event.amount, event.address, event.txid, event.block) == (1_234 - 5_000, ADDRESS, TXID, NEXT)
    assert Position.parse(event.cursor) == Position(2, NEXT, 0, ADDRESS)
    await events.aclose()


async def test_node_that_forgets_a_dropped_block_ends_a_resumed_stream(
    stream: EventStream, script: ScriptedBitcoin
) -> None:
    """What was told cannot be taken back any more, and the client has to know."""
    script.paths[f"/block/{TIP}/status"] = {"in_best_chain": False}
    script.paths[f"/block/{TIP}/txs/0"] = Says("Block not found", 404)
    with pytest.raises(Expired):
        await anext(stream.follow(str(Position(1, TIP, 0, ADDRESS))))
    with pytest.raises(Expired):
        await anext(stream.follow(str(Position(7, TIP, 0, ADDRESS))))


async def test_node_that_hides_what_is_spent_is_no_source_of_events(
    nodes: Nodes, script: ScriptedBitcoin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payment would be missed; the stream waits for a better answer, and not for ever."""
    monkeypatch.setattr("keyquorum_btc.events.OUTAGE_S_MAX", 0.05)
    assert OUTAGE_S_MAX > 1
    stream = EventStream(nodes, SystemClock(), REGTEST.chain, {SCRIPT: ADDRESS}, poll_interval_s=0.01)
    script.paths[f"/block/{TIP}/txs/0"] = [transaction(TIP, 1, {"scriptpubkey": "51", "value": 9})]
    mined(script, None)
    with pytest.raises(ChainUnavailable, match="spends"):
        await anext(stream.follow(str(Position(1, TIP, 0, ADDRESS))))


async def test_chain_that_changes_between_two_answers_is_asked_again(
    stream: EventStream, script: ScriptedBitcoin
) -> None:
    """A block that does not follow the last one is not told."""
    script.paths[f"/block/{TIP}/txs/0"] = [transaction(TIP, 1, {"scriptpubkey": "51", "value": 9})]
    mined(script, {"scriptpubkey": "51", "value": 9})
    other = "33" * 32
    script.paths |= {
        "/block-height/2": [Says(other), Says(NEXT)],
        f"/block/{other}": {"id": other, "height": 2, "previousblockhash": GENESIS_HASH, "tx_count": 1},
        f"/block/{other}/status": {"in_best_chain": True, "height": 2},
    }
    event = await anext(stream.follow(str(Position(1, TIP, 0, ADDRESS))))
    assert (event.block, event.amount) == (NEXT, 1_234)
