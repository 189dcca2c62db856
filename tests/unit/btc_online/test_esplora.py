"""Esplora's answers, right ones and wrong ones."""

from typing import Any

import pytest

from keyquorum_btc.esplora import EsploraNode
from keyquorum_btc.node import Account, BlockHeader, BlockRef, Input, Outpoint, Output, Spender, Unspent
from keyquorum_btc.transport import NoAnswer, Refused
from support.bitcoin_scripted import TIP, Says, ScriptedBitcoin

TXID, OTHER = "ab" * 32, "cd" * 32
SCRIPT = b"\x51\x20" + b"\x01" * 32
ACCOUNT = Account("bcrt1someone", SCRIPT)
UTXOS = "/address/bcrt1someone/utxo"
MINED = {"confirmed": True, "block_height": 1, "block_hash": TIP}
WAITS = {"confirmed": False}


def utxo(**changes: Any) -> dict[str, Any]:
    return {"txid": TXID, "vout": 0, "value": 1000, "status": MINED, **changes}


def transaction(**changes: Any) -> dict[str, Any]:
    spent = {"txid": OTHER, "vout": 1, "prevout": {"scriptpubkey": SCRIPT.hex(), "value": 9000}, "is_coinbase": False}
    outputs = [{"scriptpubkey": SCRIPT.hex(), "value": 1000}]
    return {"txid": TXID, "vin": [spent], "vout": outputs, "weight": 445, "fee": 8000, "status": MINED, **changes}


async def test_coins(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """Confirmed coins, and change that waits, told from what a stranger sends."""
    script.paths[UTXOS] = [utxo(), utxo(txid=OTHER, status=WAITS)]
    script.paths[f"/tx/{TXID}"] = transaction()
    script.paths[f"/tx/{OTHER}"] = transaction(txid=OTHER, status=WAITS)
    mine = Unspent(Outpoint(OTHER, 0), 1000, None, own_change=True)
    assert await esplora.unspent(ACCOUNT) == (Unspent(Outpoint(TXID, 0), 1000, 1), mine)


async def test_change_is_ours_only_if_all_that_it_spends_is(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """A transaction with somebody else's coin among its inputs can be taken back by him."""
    found = transaction(txid=OTHER, status=WAITS)
    foreign = {**found["vin"][0], "prevout": {"scriptpubkey": "51", "value": 1}}
    script.paths[UTXOS] = [utxo(txid=OTHER, status=WAITS)]
    script.paths[f"/tx/{OTHER}"] = {**found, "vin": [*found["vin"], foreign]}
    (coin,) = await esplora.unspent(ACCOUNT)
    assert not coin.own_change


async def test_young_rewards_are_marked(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """A miner's reward is known by its transaction."""
    script.paths[UTXOS] = [utxo()]
    reward = {"txid": "00" * 32, "vout": 2**32 - 1, "prevout": None, "is_coinbase": True}
    script.paths[f"/tx/{TXID}"] = transaction(vin=[reward], fee=0)
    (coin,) = await esplora.unspent(ACCOUNT)
    assert coin.coinbase


async def test_balances_are_those_of_blocks(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """Turnover may be more than there are bitcoins; what is left may not."""

    def stats(funded: Any, spent: Any) -> dict[str, Any]:
        waiting = {"funded_txo_sum": 5, "spent_txo_sum": 0}
        return {"chain_stats": {"funded_txo_sum": funded, "spent_txo_sum": spent}, "mempool_stats": waiting}

    script.paths["/address/bcrt1someone"] = stats(10**17, 10**17 - 7)
    assert await esplora.balance(ACCOUNT) == 7
    for answer in (stats(1, 2), stats(10**17, 0), stats("1", 0), stats(2**64, 0), {}, []):
        script.paths["/address/bcrt1someone"] = answer
        with pytest.raises(NoAnswer):
            await esplora.balance(ACCOUNT)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        "nonsense",
        [utxo(), utxo()],
        [utxo(value=0)],
        [utxo(value=-1)],
        [utxo(value=21_000_001 * 10**8)],
        [utxo(value="1000")],
        [utxo(value=1000.0)],
        [utxo(value=True)],
        [utxo(txid=TXID[1:])],
        [utxo(txid=TXID.upper())],
        [utxo(txid=TXID + "\n")],
        [utxo(vout=-1)],
        [utxo(vout=10**9)],
        [utxo(status={"confirmed": True})],
        [utxo(status={"confirmed": "yes"})],
        [utxo(status={**MINED, "block_height": -1})],
        [utxo(status=None)],
        Says([utxo()], 500),
        Says([], 404),
        Says("[" * 5000),
    ],
)
async def test_odd_coins_are_no_answer(esplora: EsploraNode, script: ScriptedBitcoin, answer: Any) -> None:
    """None of them is spent, and the node is not believed in part."""
    script.paths[UTXOS] = answer
    with pytest.raises(NoAnswer):
        await esplora.unspent(ACCOUNT)


async def test_transactions(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """With block, size, fee and what it spends; None where there is none."""
    script.paths[f"/tx/{TXID}"] = transaction()
    found = await esplora.transaction(TXID)
    assert found is not None
    assert (found.block, found.vsize, found.fee) == (BlockRef(1, TIP), 112, 8000)
    assert found.inputs == (Input(Outpoint(OTHER, 1), Output(SCRIPT, 9000)),)
    assert await esplora.transaction(OTHER) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"txid": OTHER},
        {"vin": []},
        {"vout": []},
        {"weight": 0},
        {"weight": 10**9},
        {"fee": -1},
        {"vout": [{"scriptpubkey": "zz", "value": 1}]},
        {"vout": [{"scriptpubkey": "5", "value": 1}]},
        {"vout": [{"scriptpubkey": 7, "value": 1}]},
        {"status": {"confirmed": True, "block_height": 1, "block_hash": "x"}},
    ],
)
async def test_odd_transactions_are_no_answer(
    esplora: EsploraNode, script: ScriptedBitcoin, changes: dict[str, Any]
) -> None:
    """An answer for another transaction, too."""
    script.paths[f"/tx/{TXID}"] = transaction(**changes)
    with pytest.raises(NoAnswer):
        await esplora.transaction(TXID)


async def test_spendings(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """By whom and where; what does not fit the question is refused."""
    path = f"/tx/{TXID}/outspend/0"
    assert await esplora.spender(Outpoint(TXID, 0)) is None
    script.paths[path] = {"spent": False}
    assert await esplora.spender(Outpoint(TXID, 0)) is None
    script.paths[path] = {"spent": True, "txid": OTHER, "vin": 0, "status": MINED}
    assert await esplora.spender(Outpoint(TXID, 0)) == Spender(OTHER, BlockRef(1, TIP))
    script.paths[path] = {"spent": True}
    with pytest.raises(NoAnswer):
        await esplora.spender(Outpoint(TXID, 0))
    script.paths[f"/tx/{TXID}/outspends"] = [{"spent": False}]
    with pytest.raises(NoAnswer):
        await esplora.mempool_spenders(TXID, 2)


async def test_blocks_that_change_while_they_are_read(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """A page that is missing, or longer than a page, is no block."""
    header = BlockHeader(1, TIP, "", in_best_chain=True)
    for page in ([], [transaction()] * 2, [transaction()] * 26):
        script.paths[f"/block/{TIP}/txs/0"] = page
        with pytest.raises(NoAnswer):
            await esplora.block_transactions(header)
    script.paths[f"/block/{TIP}/txs/0"] = [transaction()]
    assert len(await esplora.block_transactions(header)) == 1
    script.paths[f"/block/{OTHER}"] = {"id": TIP, "height": 1, "tx_count": 1}
    script.paths[f"/block/{OTHER}/status"] = {"in_best_chain": True}
    with pytest.raises(NoAnswer):
        await esplora.header(OTHER)


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        ({}, None),
        ({"1": 87.882, "2": 20.5, "6": 3}, 20_500),
        ({"6": 3, "144": 1.0001}, 3_000),
        ({"1": 0.0000001}, 1),
        ({"1": 1e300, "x": 5, "-2": 1}, None),
        ({"1": -5}, None),
        ({"1": "5"}, None),
        ({"1": True}, None),
        ({"1": 10_000_000}, 10_000_000),
    ],
)
async def test_estimates(esplora: EsploraNode, script: ScriptedBitcoin, answer: Any, rate: int | None) -> None:
    """The nearest target that is soon enough, rounded up; nonsense is no estimate."""
    script.paths["/fee-estimates"] = answer
    assert await esplora.fee_rate(3) == rate


async def test_refusals_of_transactions(esplora: EsploraNode, script: ScriptedBitcoin) -> None:
    """bitcoind's own words come through Esplora; other statuses leave open whether it acted."""
    script.paths["/tx"] = Says('sendrawtransaction RPC error: {"code":-26,"message":"min relay fee not met"}', 400)
    with pytest.raises(Refused) as refused:
        await esplora.broadcast(b"\x00")
    assert (refused.value.code, refused.value.message) == (-26, "min relay fee not met")
    script.paths["/tx"] = Says("oops", 502)
    with pytest.raises(NoAnswer) as caught:
        await esplora.broadcast(b"\x00")
    assert caught.value.acted
    script.paths["/tx"] = Says("done!")
    with pytest.raises(NoAnswer):
        await esplora.broadcast(b"\x00")
    script.paths["/tx"] = Says(TXID)
    assert await esplora.broadcast(b"\x00") == TXID
