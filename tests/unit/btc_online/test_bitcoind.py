"""bitcoind's answers, right ones and wrong ones, and its password."""

import base64
from pathlib import Path
from typing import Any

import pytest

from keyquorum_btc.bitcoind import BitcoindNode
from keyquorum_btc.jsonrpc import Credentials, JsonRpc
from keyquorum_btc.node import Account, BlockRef, Outpoint, RelayFloor, Spender, Unspent
from keyquorum_btc.transport import NoAnswer, Refused, Transport
from support.bitcoin_scripted import TIP, Says, ScriptedBitcoin

TXID, OTHER, THIRD = "ab" * 32, "cd" * 32, "ef" * 32
SCRIPT = b"\x51\x20" + b"\x01" * 32
ACCOUNT = Account("bcrt1someone", SCRIPT)
HEADER = {"hash": TIP, "height": 1, "confirmations": 1, "previousblockhash": OTHER}


def coin(**changes: Any) -> dict[str, Any]:
    return {"txid": TXID, "vout": 0, "scriptPubKey": SCRIPT.hex(), "amount": 0.00001, "height": 1, **changes}


def scan(*coins: dict[str, Any]) -> dict[str, Any]:
    return {"success": True, "unspents": list(coins)}


def transaction(**changes: Any) -> dict[str, Any]:
    outputs = [{"value": 0.00000999, "scriptPubKey": {"hex": SCRIPT.hex()}}]
    return {"txid": OTHER, "vin": [{"txid": TXID, "vout": 0}], "vout": outputs, "vsize": 111, **changes}


def spendings(found: dict[str, str]) -> Any:
    def answer(params: list[Any]) -> list[dict[str, Any]]:
        return [each | ({"spendingtxid": found[each["txid"]]} if each["txid"] in found else {}) for each in params[0]]

    return answer


@pytest.mark.parametrize("indexed", [True, False])
async def test_coins_and_change_that_waits(bitcoind: BitcoindNode, script: ScriptedBitcoin, *, indexed: bool) -> None:
    """What the mempool spends is gone, and what comes back of it is ours; with an old bitcoind, too."""
    script.methods["scantxoutset"] = scan(coin(), coin(txid=THIRD, amount=20999999.9769))
    script.methods["getrawtransaction"] = transaction()
    script.methods["getrawmempool"] = [OTHER]
    if indexed:
        script.methods["gettxspendingprevout"] = spendings({TXID: OTHER})
    assert set(await bitcoind.unspent(ACCOUNT)) == {
        Unspent(Outpoint(THIRD, 0), 2_099_999_997_690_000, 1),
        Unspent(Outpoint(OTHER, 0), 999, None, own_change=True),
    }
    assert await bitcoind.balance(ACCOUNT) == 1_000 + 2_099_999_997_690_000
    assert ("getrawmempool" in script.requests) is not indexed


async def test_change_beside_a_strangers_coin_is_not_ours(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """He can take it back."""
    script.methods["scantxoutset"] = scan(coin())
    script.methods["gettxspendingprevout"] = spendings({TXID: OTHER})
    script.methods["getrawtransaction"] = transaction(vin=[{"txid": TXID, "vout": 0}, {"txid": THIRD, "vout": 7}])
    (found,) = await bitcoind.unspent(ACCOUNT)
    assert not found.own_change


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"success": False, "unspents": []},
        scan(coin(), coin()),
        scan(coin(scriptPubKey="51")),
        scan(coin(amount=0.000000001)),
        scan(coin(amount=-1)),
        scan(coin(amount=21_000_001)),
        scan(coin(amount="1")),
        scan(coin(amount=True)),
        Says(b'{"result": {"success": true, "unspents": [{"amount": 1e999999999}]}, "error": null, "id": 1}'),
        scan(coin(height=-5)),
        Says("<html>", 500),
        Says("<html>", 200),
        Says({"result": scan(), "error": None, "id": 99}),
        Says({"error": None, "id": 1}),
        Says({"result": None, "error": "no", "id": 1}),
        Says({"result": None, "error": {"code": "-8", "message": "no"}, "id": 1}),
        {"code": -8, "message": "Scan already in progress"},
    ],
)
async def test_odd_coins_are_no_answer(bitcoind: BitcoindNode, script: ScriptedBitcoin, answer: Any) -> None:
    """Coins of other scripts, twice the same, fractions of a satoshi: none of it is spent."""
    script.methods["scantxoutset"] = answer
    script.methods["gettxspendingprevout"] = spendings({})
    for question in (bitcoind.unspent, bitcoind.balance):
        with pytest.raises(NoAnswer):
            await question(ACCOUNT)


async def test_answers_for_other_coins_are_refused(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """The node is asked for one, and tells of another."""
    script.methods["scantxoutset"] = scan(coin())
    script.methods["gettxspendingprevout"] = [{"txid": OTHER, "vout": 0}]
    with pytest.raises(NoAnswer, match="other coins"):
        await bitcoind.unspent(ACCOUNT)


async def test_spender_in_a_block_is_found_and_remembered(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """By looking through the latest blocks, once; again only when its block was dropped."""
    parent = {**transaction(txid=TXID, vin=[{"coinbase": "00"}]), "blockhash": TIP}
    script.methods |= {
        "gettxspendingprevout": spendings({}),
        "gettxout": None,
        "getrawtransaction": parent,
        "getblockheader": HEADER,
        "getblock": {"hash": TIP, "tx": [transaction()]},
    }
    for _ in range(2):
        assert await bitcoind.spender(Outpoint(TXID, 0)) == Spender(OTHER, BlockRef(1, TIP))
    assert script.requests.count("getblock") == 1
    assert await bitcoind.spender(Outpoint(TXID, 5)) is None


async def test_transaction_of_a_dropped_block_is_not_there(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """The index of transactions may name a block that the chain has left."""
    script.methods |= {
        "getrawtransaction": transaction(blockhash=TIP),
        "getblockheader": {**HEADER, "confirmations": -1},
    }
    assert await bitcoind.transaction(OTHER) is None
    script.methods["getrawtransaction"] = transaction(txid=THIRD)
    with pytest.raises(NoAnswer, match="another"):
        await bitcoind.transaction(OTHER)


async def test_fees(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """BTC per 1,000 virtual bytes come out as satoshi; no estimate is none."""
    script.methods["estimatesmartfee"] = {"errors": ["Insufficient data"], "blocks": 2}
    assert await bitcoind.fee_rate(2) is None
    script.methods["estimatesmartfee"] = {"feerate": 0.00012345, "blocks": 2}
    assert await bitcoind.fee_rate(2) == 12_345
    script.methods["getmempoolinfo"] = {"mempoolminfee": 0.00002, "minrelaytxfee": 0.00001}
    assert await bitcoind.relay_floor() == RelayFloor(2_000, 1_000)


async def test_refusal_keeps_its_code(bitcoind: BitcoindNode, script: ScriptedBitcoin) -> None:
    """A node that is starting has not acted."""
    script.methods["sendrawtransaction"] = {"code": -26, "message": "dust"}
    with pytest.raises(Refused) as refused:
        await bitcoind.broadcast(b"\x00")
    assert (refused.value.code, refused.value.message) == (-26, "dust")
    script.methods["sendrawtransaction"] = {"code": -28, "message": "Loading block index…"}
    with pytest.raises(NoAnswer) as caught:
        await bitcoind.broadcast(b"\x00")
    assert not caught.value.acted


async def test_password_is_read_again_when_it_is_refused(
    transport: Transport, script: ScriptedBitcoin, tmp_path: Path
) -> None:
    """bitcoind writes another cookie at every start; the file's content is never shown."""
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:old")
    node = BitcoindNode(JsonRpc(transport, Credentials("", cookie)))
    await node.tip()
    cookie.write_text("__cookie__:new")
    script.methods["getblockchaininfo"] = Says("", 401)
    with pytest.raises(NoAnswer, match="401") as caught:
        await node.tip()
    assert not caught.value.acted
    sent = [base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() for headers in script.headers]
    assert sent == ["__cookie__:old", "__cookie__:old", "__cookie__:new"]
    cookie.unlink()
    with pytest.raises(NoAnswer, match="cannot be read") as gone:
        await BitcoindNode(JsonRpc(transport, Credentials("me", cookie))).tip()
    assert str(tmp_path) not in str(gone.value)
