"""What a node says about a stuck transaction decides what its child pays, so it is bounded."""

from itertools import pairwise
from typing import Any

import pytest

from keyquorum_btc.coin import Coin
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.replacement import PACKAGE_VBYTES_MAX, MempoolFamilies, Stuck
from keyquorum_plugin_api.errors import ChainUnavailable, NonceConflict, Unsupported
from support.bitcoin_scripted import TIP, ScriptedBitcoin

SCRIPT = b"\x51\x20" + b"\x01" * 32
TXID, PARENT, CHILD = "ab" * 32, "cd" * 32, "ef" * 32


def waiting(txid: str, spends: str, **changes: Any) -> dict[str, Any]:
    spent = {"txid": spends, "vout": 0, "prevout": {"scriptpubkey": "51", "value": 9}, "is_coinbase": False}
    outputs = [{"scriptpubkey": "51", "value": 500}, {"scriptpubkey": SCRIPT.hex(), "value": 7_000}]
    status = {"confirmed": False}
    return {"txid": txid, "vin": [spent], "vout": outputs, "weight": 400, "fee": 120, "status": status, **changes}


@pytest.fixture
def families(nodes: Nodes, script: ScriptedBitcoin) -> MempoolFamilies:
    script.paths[f"/tx/{TXID}"] = waiting(TXID, PARENT)
    script.paths[f"/tx/{PARENT}"] = waiting(PARENT, "00" * 31 + "01", weight=800, fee=230)
    script.paths[f"/tx/{TXID}/outspends"] = [{"spent": False}, {"spent": False}]
    return MempoolFamilies(nodes)


async def test_package_is_all_that_waits_before_the_child(families: MempoolFamilies) -> None:
    """Fees and sizes of the stuck one and of its unconfirmed parents."""
    assert await families.stuck(TXID, SCRIPT, ()) == Stuck(TXID, (Coin(TXID, 1, 7_000),), fee=350, vsize=300)


async def test_sizes_that_would_cost_too_much_are_refused(families: MempoolFamilies, script: ScriptedBitcoin) -> None:
    """A lie about a parent's size is paid for by the child."""
    script.paths[f"/tx/{PARENT}"] = waiting(PARENT, "00" * 31 + "01", weight=4 * PACKAGE_VBYTES_MAX)
    with pytest.raises(Unsupported):
        await families.stuck(TXID, SCRIPT, ())


async def test_endless_ancestors_are_not_followed(families: MempoolFamilies, script: ScriptedBitcoin) -> None:
    """No mempool has longer chains than 25."""
    names = [PARENT, *(f"{number:064x}" for number in range(1, 40))]
    for name, spends in pairwise(names):
        script.paths[f"/tx/{name}"] = waiting(name, spends)
    with pytest.raises(Unsupported):
        await families.stuck(TXID, SCRIPT, ())
    assert len(script.requests) < 60


async def test_outputs_that_are_spent_held_or_not_ours_lift_nothing(
    families: MempoolFamilies, script: ScriptedBitcoin
) -> None:
    """Each reason by itself."""
    with pytest.raises(Unsupported):
        await families.stuck(TXID, SCRIPT, {f"{TXID}:1"})
    with pytest.raises(Unsupported):
        await families.stuck(TXID, b"\x52", ())
    spent = {"spent": True, "txid": CHILD, "status": {"confirmed": False}}
    script.paths[f"/tx/{TXID}/outspends"] = [{"spent": False}, spent]
    script.paths[f"/tx/{CHILD}"] = waiting(CHILD, TXID)
    script.paths[f"/tx/{CHILD}"]["vin"][0]["vout"] = 1
    with pytest.raises(Unsupported):
        await families.stuck(TXID, SCRIPT, ())


async def test_what_is_settled_or_unknown_is_not_lifted(families: MempoolFamilies, script: ScriptedBitcoin) -> None:
    """There is nothing to lift, and a node that is away says nothing about it."""
    with pytest.raises(NonceConflict):
        await families.stuck("12" * 32, SCRIPT, ())
    mined = {"confirmed": True, "block_height": 1, "block_hash": TIP}
    script.paths[f"/tx/{TXID}"] = waiting(TXID, PARENT, status=mined)
    with pytest.raises(NonceConflict):
        await families.stuck(TXID, SCRIPT, ())
    script.paths[f"/tx/{TXID}"] = waiting(TXID, PARENT, fee=-1)
    with pytest.raises(ChainUnavailable):
        await families.stuck(TXID, SCRIPT, ())
