"""Esplora's REST: shapes and texts that clients of the real one parse."""

import asyncio
import hashlib
import json

import pytest

from keyquorum_devnet.bitcoin.genesis import GENESIS_HASH
from keyquorum_devnet.bitcoin.transactions import Outpoint

VALUE = 100_000


@pytest.fixture
def get(bitcoin, http):
    """Status and JSON, or text where it is none."""

    async def ask(path):
        async with http.get(bitcoin.url + path) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    return ask


@pytest.fixture
def post(bitcoin, http):
    """Status and text of POST /tx."""

    async def send(text):
        async with http.post(bitcoin.url + "/tx", data=text) as response:
            return response.status, await response.text()

    return send


async def test_tip(bitcoin, get):
    """Height and hash are texts, and follow the chain."""
    assert await get("/blocks/tip/height") == (200, str(bitcoin.height))
    block_hash = bitcoin.mine()[0]
    assert await get("/blocks/tip/hash") == (200, block_hash)
    assert await get(f"/block-height/{bitcoin.height}") == (200, block_hash)
    assert await get("/block-height/0") == (200, GENESIS_HASH)


async def test_block(bitcoin, get, alice):
    """A block by its hash, in each of its forms."""
    bitcoin.fund(alice.address, VALUE)
    block = bitcoin.node.chain.tip
    txids = [transaction.txid for transaction in block.transactions]
    assert await get(f"/block/{block.hash}") == (
        200,
        {
            "id": block.hash,
            "height": 121,
            "version": 0x20000000,
            "timestamp": block.time,
            "tx_count": 2,
            "size": len(block.raw),
            "weight": block.weight,
            "merkle_root": block.merkle_root,
            "previousblockhash": bitcoin.node.chain.active[120].hash,
            "mediantime": block.median_time,
            "nonce": block.nonce,
            "bits": 545259519,
            "difficulty": pytest.approx(4.656542373906925e-10),
        },
    )
    assert await get(f"/block/{block.hash}/txids") == (200, txids)
    assert await get(f"/block/{block.hash}/txid/1") == (200, txids[1])
    assert await get(f"/block/{block.hash}/header") == (200, block.raw[:80].hex())
    assert await get(f"/block/{block.hash}/status") == (200, {"in_best_chain": True, "height": 121, "next_best": None})
    status, shapes = await get(f"/block/{block.hash}/txs")
    assert (status, [shape["txid"] for shape in shapes]) == (200, txids)
    assert shapes[0]["vin"][0] == {
        "txid": "00" * 32,
        "vout": 0xFFFFFFFF,
        "prevout": None,
        "scriptsig": block.transactions[0].inputs[0].script_sig.hex(),
        "scriptsig_asm": shapes[0]["vin"][0]["scriptsig_asm"],
        "witness": ["00" * 32],
        "is_coinbase": True,
        "sequence": 0xFFFFFFFF,
    }
    assert shapes[0]["vout"][1]["scriptpubkey_type"] == "op_return"
    assert "scriptpubkey_address" not in shapes[0]["vout"][1]
    assert (await get("/block/" + GENESIS_HASH))[1]["previousblockhash"] is None
    assert [each["height"] for each in (await get("/blocks/5"))[1]] == [5, 4, 3, 2, 1, 0]
    assert len((await get("/blocks"))[1]) == 10


async def test_pages_of_a_block(bitcoin, get, alice, bob):
    """25 transactions a page, and nothing after the last."""
    for coin in bitcoin.fund(alice.address, VALUE, 30):
        bitcoin.send(bitcoin.pay(alice, [coin], [(bob.address, VALUE - 500)]))
    block_hash = bitcoin.mine()[0]
    sizes = [len((await get(f"/block/{block_hash}/txs{page}"))[1]) for page in ("", "/0", "/25")]
    assert sizes == [25, 25, 6]
    assert await get(f"/block/{block_hash}/txs/7") == (400, "start index must be a multiple of 25")
    assert await get(f"/block/{block_hash}/txs/50") == (400, "start index out of range")


async def test_transaction_from_mempool_to_block(bitcoin, get, post, alice, bob):
    """The whole shape, first waiting, then confirmed; status, outspend and the coins of both addresses agree with it."""
    coin = bitcoin.fund(alice.address, VALUE)[0]
    signed = bitcoin.pay(alice, [coin], [(bob.address, 60_000), (alice.address, 39_000)])
    status, txid = await post(signed)
    assert status == 200
    expected = {
        "txid": txid,
        "version": 2,
        "locktime": 0,
        "vin": [
            {
                "txid": coin.txid,
                "vout": coin.vout,
                "prevout": {
                    "scriptpubkey": alice.script.hex(),
                    "scriptpubkey_asm": f"OP_PUSHNUM_1 OP_PUSHBYTES_32 {alice.script[2:].hex()}",
                    "scriptpubkey_type": "v1_p2tr",
                    "scriptpubkey_address": alice.address,
                    "value": VALUE,
                },
                "scriptsig": "",
                "scriptsig_asm": "",
                "witness": [signed[-136:-8]],
                "is_coinbase": False,
                "sequence": 0xFFFFFFFD,
            }
        ],
        "vout": [
            {
                "scriptpubkey": key.script.hex(),
                "scriptpubkey_asm": f"OP_PUSHNUM_1 OP_PUSHBYTES_32 {key.script[2:].hex()}",
                "scriptpubkey_type": "v1_p2tr",
                "scriptpubkey_address": key.address,
                "value": value,
            }
            for key, value in ((bob, 60_000), (alice, 39_000))
        ],
        "size": 205,
        "weight": 616,
        "fee": 1000,
        "status": {"confirmed": False},
    }
    assert await get(f"/tx/{txid}") == (200, expected)
    assert await get(f"/tx/{txid}/hex") == (200, signed)
    assert await get(f"/tx/{txid}/status") == (200, {"confirmed": False})
    assert await get(f"/address/{alice.address}/utxo") == (
        200,
        [{"txid": txid, "vout": 1, "status": {"confirmed": False}, "value": 39_000}],
    )
    assert (await get(f"/address/{bob.address}/txs/mempool"))[1] == [expected]
    assert await get(f"/address/{bob.address}/txs/chain") == (200, [])
    block_hash = bitcoin.mine()[0]
    block = bitcoin.node.chain.tip
    confirmed = {"confirmed": True, "block_height": 122, "block_hash": block_hash, "block_time": block.time}
    assert await get(f"/tx/{txid}") == (200, {**expected, "status": confirmed})
    assert await get(f"/tx/{txid}/status") == (200, confirmed)
    spent = {"spent": True, "txid": txid, "vin": 0, "status": confirmed}
    assert await get(f"/tx/{coin.txid}/outspend/0") == (200, spent)
    assert (await get(f"/tx/{coin.txid}/outspends"))[1] == [spent, {"spent": False}]
    assert await get(f"/tx/{txid}/outspend/7") == (200, {"spent": False})
    assert await get(f"/address/{bob.address}/utxo") == (
        200,
        [{"txid": txid, "vout": 0, "status": confirmed, "value": 60_000}],
    )
    assert (await get(f"/address/{bob.address}/txs"))[1] == [{**expected, "status": confirmed}]
    proof = (await get(f"/tx/{txid}/merkle-proof"))[1]
    assert proof == {"block_height": 122, "merkle": [block.transactions[0].txid], "pos": 1}


async def test_raw_transaction(bitcoin, http, alice):
    """Octets that hash to the id."""
    coin = bitcoin.fund(alice.address, VALUE)[0]
    async with http.get(f"{bitcoin.url}/tx/{coin.txid}/raw") as response:
        assert response.content_type == "application/octet-stream"
        raw = await response.read()
    stripped = raw[:4] + raw[6 : -4 - 66] + raw[-4:]
    assert hashlib.sha256(hashlib.sha256(stripped).digest()).digest()[::-1].hex() == coin.txid


async def test_totals_of_an_address(bitcoin, get, alice, bob):
    """Confirmed and waiting are counted apart; an unknown address has zeros, not a 404."""
    coins = bitcoin.fund(alice.address, VALUE, 2)
    bitcoin.send(bitcoin.pay(alice, coins[:1], [(bob.address, 50_000), (alice.address, 49_000)]))
    empty = dict.fromkeys(("tx_count", "funded_txo_count", "funded_txo_sum", "spent_txo_count", "spent_txo_sum"), 0)
    chain = {**empty, "tx_count": 1, "funded_txo_count": 2, "funded_txo_sum": 2 * VALUE}
    waiting = {
        "tx_count": 1,
        "funded_txo_count": 1,
        "funded_txo_sum": 49_000,
        "spent_txo_count": 1,
        "spent_txo_sum": VALUE,
    }
    answer = {"address": alice.address, "chain_stats": chain, "mempool_stats": waiting}
    assert await get(f"/address/{alice.address}") == (200, answer)
    stranger = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
    answer = {"address": stranger, "chain_stats": empty, "mempool_stats": empty}
    assert await get(f"/address/{stranger}") == (200, answer)
    assert await get(f"/address/{stranger}/utxo") == (200, [])


async def test_pages_of_an_address(bitcoin, get, alice):
    """Newest first, 25 a page, the next page after the last id seen."""
    txids = [bitcoin.fund(alice.address, VALUE)[0].txid for _ in range(27)][::-1]
    first = [each["txid"] for each in (await get(f"/address/{alice.address}/txs/chain"))[1]]
    assert first == txids[:25]
    rest = [each["txid"] for each in (await get(f"/address/{alice.address}/txs/chain/{first[-1]}"))[1]]
    assert rest == txids[25:]
    assert await get(f"/address/{alice.address}/txs/chain/{txids[-1]}") == (200, [])


async def test_reorg_shows_everywhere(bitcoin, get, alice, bob):
    """A confirmed transaction waits again, and the block that held it is out of the best chain."""
    coin = bitcoin.fund(alice.address, VALUE)[0]
    txid = bitcoin.send(bitcoin.pay(alice, [coin], [(bob.address, 99_000)]))
    lost = bitcoin.mine()[0]
    bitcoin.reorg(1)
    assert await get(f"/tx/{txid}/status") == (200, {"confirmed": False})
    assert await get(f"/block/{lost}/status") == (200, {"in_best_chain": False})
    assert (await get(f"/block/{lost}"))[1]["height"] == 122
    coinbase, stale = (await get(f"/block/{lost}/txs"))[1]
    assert coinbase["status"] == stale["status"] == {"confirmed": False}
    assert (await get(f"/tx/{coinbase['txid']}"))[0] == 404
    assert (await get(f"/address/{bob.address}/utxo"))[1][0]["status"] == {"confirmed": False}
    bitcoin.mine()
    assert (await get(f"/tx/{txid}/status"))[1]["block_height"] == bitcoin.height
    bitcoin.reorg(1, drop=[txid])
    assert await get(f"/tx/{txid}") == (404, "Transaction not found")
    assert (await get(f"/address/{bob.address}/txs"))[1] == []


async def test_mempool(bitcoin, get, alice, bob):
    """Totals, ids and the newest."""
    assert await get("/mempool") == (200, {"count": 0, "vsize": 0, "total_fee": 0, "fee_histogram": []})
    coins = bitcoin.fund(alice.address, VALUE, 2)
    txids = [bitcoin.send(bitcoin.pay(alice, [coin], [(bob.address, VALUE - 222)])) for coin in coins]
    answer = {"count": 2, "vsize": 222, "total_fee": 444, "fee_histogram": [[2.0, 222]]}
    assert await get("/mempool") == (200, answer)
    assert await get("/mempool/txids") == (200, txids)
    assert (await get("/mempool/recent"))[1][0] == {"txid": txids[1], "fee": 222, "vsize": 111, "value": VALUE - 222}


async def test_fee_estimates(bitcoin, get):
    """A young chain has none; a rate that is set appears at every target."""
    assert await get("/fee-estimates") == (200, {})
    assert await bitcoin.rpc("devnet_setFeeRate", 12.5) is None
    estimates = (await get("/fee-estimates"))[1]
    assert estimates["1"] == estimates["1008"] == 12.5
    assert len(estimates) == 28


async def test_refusals_of_the_node_come_through(bitcoin, post, alice, bob):
    """The node's code and text inside Esplora's, status 400; what is sent twice is answered with its id."""
    coins = bitcoin.fund(alice.address, VALUE, 2)
    good = bitcoin.pay(alice, coins[:1], [(bob.address, 99_000)])
    forged = good[:-20] + ("0" if good[-20] != "0" else "1") + good[-19:]
    low = bitcoin.pay(alice, coins[:1], [(bob.address, VALUE - 10)])
    missing = bitcoin.pay(alice, [Outpoint("ab" * 32, 1)], [(bob.address, 99_000)])
    greedy = bitcoin.pay(alice, bitcoin.fund(alice.address, 10**8), [(bob.address, 1000)])

    def text(code, message):
        return 400, f'sendrawtransaction RPC error: {{"code":{code},"message":"{message}"}}'

    assert await post(forged) == text(-26, "mandatory-script-verify-flag-failed (Invalid Schnorr signature)")
    assert await post(low) == text(-26, "min relay fee not met, 10 < 111")
    assert await post(missing) == text(-25, "bad-txns-inputs-missingorspent")
    too_much = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
    assert await post(greedy) == text(-25, too_much)
    undecodable = text(-22, "TX decode failed. Make sure the tx has at least one input.")
    for nonsense in ("", "zz", "00", good[:-2], good + "00", "\u0661" * 64, "é" * 10):
        assert await post(nonsense) == undecodable
    status, txid = await post(good)
    assert (status, await post(good)) == (200, (200, txid))
    bitcoin.mine()
    assert await post(good) == text(-27, "Transaction outputs already in utxo set")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nowhere", 404, 'endpoint does not exist "/nowhere"'),
        ("/", 404, 'endpoint does not exist "/"'),
        ("/tx/" + "ab" * 32, 404, "Transaction not found"),
        ("/tx/" + "ab" * 32 + "/hex", 404, "Transaction not found"),
        ("/tx/" + "ab" * 32 + "/outspends", 404, "Transaction not found"),
        ("/tx/" + "ab" * 32 + "/merkle-proof", 404, "Transaction not found or is unconfirmed"),
        ("/tx/" + "ab" * 32 + "/outspend/x", 400, "Invalid number"),
        ("/tx/" + "ab" * 32 + "/outspend/99999999999", 400, "Invalid number"),
        ("/tx/xyz", 400, "Invalid hex string"),
        ("/block/" + "ab" * 32, 404, "Block not found"),
        ("/block/" + "ab" * 31, 400, "Invalid hex string"),
        ("/block/" + GENESIS_HASH + "/txid/1", 404, "tx index out of range"),
        ("/block-height/100000", 404, "Block not found"),
        ("/block-height/-1", 400, "Invalid number"),
        ("/blocks/100000", 404, "Block not found"),
        ("/address/bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 400, "Address on invalid network"),
        ("/address/bcrt1qqq/utxo", 400, "Invalid Bitcoin address"),
    ],
)
async def test_errors(get, path, status, text):
    """Statuses and texts of bad requests."""
    assert await get(path) == (status, text)


async def test_status_of_an_unknown_transaction(get):
    """Esplora does not say 404 here."""
    assert await get("/tx/" + "ab" * 32 + "/status") == (200, {"confirmed": False})


async def test_two_hundred_transfers_at_once(bitcoin, http, post, alice, bob):
    """All are taken, one block confirms them all, and no coin is spent twice."""
    coins = bitcoin.fund(alice.address, VALUE, 200)
    signed = [bitcoin.pay(alice, [coin], [(bob.address, VALUE - 500)]) for coin in coins]
    answers = await asyncio.gather(*(post(each) for each in signed))
    assert {status for status, _ in answers} == {200}
    block_hash = bitcoin.mine()[0]
    async with http.get(f"{bitcoin.url}/block/{block_hash}/txids") as response:
        assert set((await response.json())[1:]) == {txid for _, txid in answers}
    assert len(bitcoin.node.chain.unspent(bob.script)) == 200
    assert not bitcoin.node.chain.unspent(alice.script)
