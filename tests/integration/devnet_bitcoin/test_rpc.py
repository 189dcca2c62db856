"""bitcoind's JSON-RPC: results, codes and texts."""

import json

import pytest

from keyquorum_devnet.bitcoin.genesis import GENESIS_HASH
from keyquorum_devnet.bitcoin.server import Settings
from keyquorum_devnet.bitcoin.transactions import Outpoint
from support.bitcoin_node import bitcoin_node

VALUE = 100_000


@pytest.fixture
def fault(bitcoin, http):
    """Code and message of a call that fails."""

    async def ask(method, *params):
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
        async with http.post(bitcoin.url, json=body) as response:
            answer = await response.json()
        assert (response.status, answer["id"], answer["jsonrpc"]) == (200, 7, "2.0")
        return answer["error"]["code"], answer["error"]["message"]

    return ask


async def test_chain(bitcoin):
    """Heights, hashes, headers and blocks agree with one another."""
    info = await bitcoin.rpc("getblockchaininfo")
    assert (info["chain"], info["blocks"], info["initialblockdownload"]) == ("regtest", 120, False)
    assert info["bestblockhash"] == await bitcoin.rpc("getbestblockhash") == await bitcoin.rpc("getblockhash", 120)
    assert await bitcoin.rpc("getblockcount") == 120
    assert await bitcoin.rpc("getblockhash", 0) == GENESIS_HASH
    header = await bitcoin.rpc("getblockheader", GENESIS_HASH)
    assert header["chainwork"] == f"{2:064x}"
    assert header["bits"] == "207fffff"
    assert header["confirmations"] == 121
    assert header["nextblockhash"] == await bitcoin.rpc("getblockhash", 1)
    assert "previousblockhash" not in header
    assert len(await bitcoin.rpc("getblockheader", GENESIS_HASH, False)) == 160
    raw = await bitcoin.rpc("getblock", GENESIS_HASH, 0)
    assert len(raw) == 2 * 285
    full = await bitcoin.rpc("getblock", GENESIS_HASH, 2)
    assert full["tx"][0]["txid"] == full["merkleroot"]
    assert full["tx"][0]["vin"][0]["coinbase"].endswith(
        "206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73"
    )
    assert full["tx"][0]["vout"][0]["value"] == 50
    assert full["tx"][0]["vout"][0]["scriptPubKey"]["type"] == "pubkey"
    network = await bitcoin.rpc("getnetworkinfo")
    assert (network["relayfee"], network["connections"]) == (0.00001, 0)


async def test_transaction(bitcoin, alice, bob):
    """From sending to the coin that comes of it."""
    coin = bitcoin.fund(alice.address, VALUE)[0]
    signed = bitcoin.pay(alice, [coin], [(bob.address, 99_000)])
    [check] = await bitcoin.rpc("testmempoolaccept", [signed])
    assert check["allowed"] is True
    assert (check["vsize"], check["fees"]["base"]) == (111, 0.00001)
    assert await bitcoin.rpc("getrawmempool") == []
    txid = await bitcoin.rpc("sendrawtransaction", signed)
    assert await bitcoin.rpc("getrawmempool") == [txid]
    entry = await bitcoin.rpc("getmempoolentry", txid)
    assert (entry["ancestorcount"], entry["depends"], entry["bip125-replaceable"]) == (1, [], True)
    assert (await bitcoin.rpc("getrawmempool", True))[txid] == entry
    assert await bitcoin.rpc("gettxout", coin.txid, coin.vout) is None
    assert (await bitcoin.rpc("gettxout", coin.txid, coin.vout, False))["value"] == 0.001
    output = await bitcoin.rpc("gettxout", txid, 0)
    assert (output["confirmations"], output["scriptPubKey"]["address"]) == (0, bob.address)
    assert await bitcoin.rpc("getrawtransaction", txid) == signed
    [block_hash] = await bitcoin.rpc("generatetoaddress", 1, bob.address)
    found = await bitcoin.rpc("getrawtransaction", txid, 2, block_hash)
    assert (found["blockhash"], found["confirmations"], found["fee"]) == (block_hash, 1, 0.00001)
    assert found["vin"][0]["prevout"]["value"] == 0.001
    assert found["vout"][0]["scriptPubKey"]["type"] == "witness_v1_taproot"
    scan = await bitcoin.rpc("scantxoutset", "start", [f"addr({bob.address})"])
    assert {(each["txid"], each["amount"], each["coinbase"]) for each in scan["unspents"]} >= {(txid, 0.00099, False)}
    assert (len(scan["unspents"]), scan["total_amount"]) == (2, 50.001)
    assert scan["unspents"][0]["desc"].startswith(f"rawtr({bob.script[2:].hex()})#")
    again = await bitcoin.rpc("scantxoutset", "start", [{"desc": f"raw({bob.script.hex()})"}])
    assert again["unspents"] == scan["unspents"]


async def test_codes_of_sendrawtransaction(bitcoin, fault, alice, bob):
    """-22 undecodable, -25 missing or too dear, -26 refused, -27 confirmed."""
    coins = bitcoin.fund(alice.address, VALUE, 2)
    good = bitcoin.pay(alice, coins[:1], [(bob.address, 99_000)])
    assert (await fault("sendrawtransaction", "00"))[0] == -22
    missing = bitcoin.pay(alice, [Outpoint("ab" * 32, 0)], [(bob.address, 99_000)])
    assert await fault("sendrawtransaction", missing) == (-25, "bad-txns-inputs-missingorspent")
    assert (await fault("sendrawtransaction", good, 0.00001))[0] == -25
    dust = bitcoin.pay(alice, coins[:1], [(bob.address, 329)])
    assert await fault("sendrawtransaction", dust, 0) == (-26, "dust")
    low = bitcoin.pay(alice, coins[:1], [(bob.address, 99_999)])
    assert await fault("sendrawtransaction", low) == (-26, "min relay fee not met, 1 < 111")
    txid = await bitcoin.rpc("sendrawtransaction", good)
    assert await bitcoin.rpc("sendrawtransaction", good) == txid
    [check] = await bitcoin.rpc("testmempoolaccept", [good])
    assert (check["allowed"], check["reject-reason"]) == (False, "txn-already-in-mempool")
    [check] = await bitcoin.rpc("testmempoolaccept", [missing])
    assert check["reject-reason"] == "missing-inputs"
    bitcoin.mine()
    assert await fault("sendrawtransaction", good) == (-27, "Transaction outputs already in utxo set")
    double = bitcoin.pay(alice, coins[:1], [(bob.address, 90_000)])
    assert (await fault("sendrawtransaction", double))[0] == -25


async def test_other_codes(bitcoin, fault, alice):
    """Each kind of bad question has the number that bitcoind gives it."""
    unknown = "ab" * 32
    assert await fault("getwalletinfo") == (-32601, "Method not found")
    assert await fault("getblockhash", 121) == (-8, "Block height out of range")
    assert await fault("getblock", unknown) == (-5, "Block not found")
    assert (await fault("getblock", "xyz"))[0] == -8
    assert (await fault("getblock", "zz" * 32))[0] == -8
    assert (await fault("getblock", 5))[0] == -3
    assert (await fault("getblock"))[0] == -1
    assert (await fault("getblockcount", 1))[0] == -1
    assert (await fault("getblockhash", True))[0] == -3
    assert await fault("getmempoolentry", unknown) == (-5, "Transaction not in mempool")
    assert (await fault("getrawtransaction", unknown))[0] == -5
    assert (await fault("getrawtransaction", unknown, 1, unknown))[0] == -5
    assert await fault("generatetoaddress", 1, "bcrt1nonsense") == (-5, "Error: Invalid address")
    assert (await fault("generatetoaddress", 2001, alice.address))[0] == -8
    assert (await fault("estimatesmartfee", 0))[0] == -8
    assert (await fault("invalidateblock", unknown))[0] == -5
    assert (await fault("scantxoutset", "start", ["tr(xpub)"]))[0] == -5
    assert (await fault("scantxoutset", "start", [f"addr({alice.address})#aaaaaaaa"]))[0] == -5
    assert (await fault("scantxoutset", "begin"))[0] == -8
    assert (await fault("testmempoolaccept", []))[0] == -8
    assert (await fault("testmempoolaccept", ["00"] * 26))[0] == -8
    assert (await fault("sendrawtransaction", "00", "NaN"))[0] == -3
    assert (await fault("sendrawtransaction", "00", -1))[0] == -3


async def test_estimates(bitcoin, fault):
    """Too little data, until a rate is set: then in BTC/kvB."""
    assert await bitcoin.rpc("estimatesmartfee", 6) == {
        "errors": ["Insufficient data or no feerate found"],
        "blocks": 6,
    }
    await bitcoin.rpc("devnet_setFeeRate", 3)
    assert await bitcoin.rpc("estimatesmartfee", 1) == {"feerate": 0.00003, "blocks": 2}
    assert (await fault("devnet_setFeeRate", 0))[0] == -8
    assert await bitcoin.rpc("devnet_setFeeRate", None) == 3


async def test_generateblock_takes_just_what_is_named(bitcoin, fault, alice, bob):
    """By txid or in hex; an invalid one is refused by consensus, and nothing changes."""
    coins = bitcoin.fund(alice.address, VALUE, 3)
    first = bitcoin.send(bitcoin.pay(alice, coins[:1], [(bob.address, 99_000)]))
    second = bitcoin.send(bitcoin.pay(alice, coins[1:2], [(bob.address, 99_000)]))
    free = bitcoin.pay(alice, coins[2:], [(bob.address, VALUE)])
    made = await bitcoin.rpc("generateblock", f"addr({alice.address})", [first, free])
    block = await bitcoin.rpc("getblock", made["hash"], 1)
    assert len(block["tx"]) == 3
    assert block["tx"][1] == first
    assert await bitcoin.rpc("getrawmempool") == [second]
    code, message = await fault("generateblock", alice.address, [free])
    assert (code, message) == (-25, "TestBlockValidity failed: consensus")
    assert await bitcoin.rpc("getbestblockhash") == made["hash"]
    assert (await fault("generateblock", alice.address, ["ab" * 32]))[0] == -5
    assert (await fault("generateblock", alice.address, ["abcd"]))[0] == -22


async def test_invalidate_and_reconsider(bitcoin, alice, bob):
    """The chain goes back and forth, and a transaction with it."""
    coin = bitcoin.fund(alice.address, VALUE)[0]
    txid = bitcoin.send(bitcoin.pay(alice, [coin], [(bob.address, 99_000)]))
    block_hash = bitcoin.mine(2)[0]
    assert await bitcoin.rpc("invalidateblock", block_hash) is None
    assert await bitcoin.rpc("getblockcount") == 121
    assert (await bitcoin.rpc("getblockheader", block_hash))["confirmations"] == -1
    assert await bitcoin.rpc("getrawmempool") == [txid]
    assert await bitcoin.rpc("reconsiderblock", block_hash) is None
    assert await bitcoin.rpc("getblockcount") == 123
    assert await bitcoin.rpc("getrawmempool") == []


async def test_devnet_calls(bitcoin, fault, alice, bob):
    """Fund, mine, reorganise, over the wire."""
    funded = await bitcoin.rpc("devnet_fund", alice.address, VALUE, 3)
    assert len(funded["outpoints"]) == 3
    assert funded["blockhash"] == await bitcoin.rpc("getbestblockhash")
    coins = [Outpoint(**each) for each in funded["outpoints"]]
    waiting = await bitcoin.rpc("devnet_fund", alice.address, VALUE, 1, False)
    assert waiting["blockhash"] is None
    txids = [bitcoin.send(bitcoin.pay(alice, [coin], [(bob.address, 99_000)])) for coin in coins]
    assert len(await bitcoin.rpc("devnet_mine", 2)) == 2
    moved = await bitcoin.rpc("devnet_reorg", 2, [txids[0]], [txids[1]])
    assert (len(moved["disconnected"]), len(moved["connected"])) == (2, 3)
    assert set(await bitcoin.rpc("getrawmempool")) == {txids[2], waiting["outpoints"][0]["txid"]}
    assert (await bitcoin.rpc("getrawtransaction", txids[1], 1))["confirmations"] == 3
    assert (await fault("devnet_reorg", 0))[0] == -8
    assert (await fault("devnet_reorg", 1000))[0] == -8
    assert (await fault("devnet_reorg", 1, [], ["ab" * 32]))[0] == -5
    assert (await fault("devnet_fund", alice.address, 100))[0] == -8
    assert (await fault("devnet_fund", alice.address, 21_000_000 * 10**8))[0] == -8
    assert (await fault("devnet_mine", 2001))[0] == -8
    assert await bitcoin.rpc("devnet_setMining", False) is True
    assert bitcoin.node.mining is False


async def test_statuses_of_json_rpc_1(bitcoin, http):
    """The older protocol has HTTP statuses, a null error and no version."""

    async def ask(body):
        async with http.post(bitcoin.url, data=body) as response:
            return response.status, json.loads(await response.text())

    assert await ask('{"id": 1, "method": "getblockcount"}') == (200, {"result": 120, "error": None, "id": 1})
    status, answer = await ask('{"id": 1, "method": "nothing"}')
    assert (status, answer["error"]["code"], answer["result"]) == (404, -32601, None)
    assert (await ask('{"id": 1, "method": "getblockhash", "params": [999]}'))[0] == 500
    for body in ('{"id": 1}', '{"method": 5}', "5", "null", '""', "[]", '{"method": "getblockcount", "params": 5}'):
        status, answer = await ask(body)
        assert (status, answer["error"]["code"]) == (400, -32600)
    for body in ("", "{", "[" * 100_000, b"\xff"):
        status, answer = await ask(body)
        assert (status, answer["error"]["code"]) == (500, -32700)
    status, answers = await ask('[{"id": 1, "method": "getblockcount"}, 5]')
    assert (status, answers[0]["result"], answers[1]["error"]["code"]) == (200, 120, -32600)
    named = {"id": 1, "method": "getblockhash", "params": {"height": 0}}
    assert (await ask(json.dumps(named)))[1]["result"] == GENESIS_HASH
    named["params"] = {"depth": 0}
    assert (await ask(json.dumps(named)))[1]["error"]["code"] == -8


async def test_password(http):
    """Where a user is set, JSON-RPC wants it; reading does not. The password is in no repr."""
    settings = Settings(rpc_user="keyquorum", rpc_password="toy-password")
    assert "toy-password" not in repr(settings)
    with pytest.raises(ValueError, match="together"):
        Settings(rpc_user="keyquorum")
    async with bitcoin_node(settings) as node:
        body = '{"id": 1, "method": "getblockcount"}'
        for headers in ({}, {"Authorization": "Basic xxxx"}, {"Authorization": "Basic \u00e9"}):
            async with http.post(node.url, data=body, headers=headers) as response:
                assert (response.status, await response.text()) == (401, "")
        headers = {"Authorization": "Basic a2V5cXVvcnVtOnRveS1wYXNzd29yZA=="}
        async with http.post(node.url, data=body, headers=headers) as response:
            assert response.status == 200
        async with http.get(node.url + "/blocks/tip/height") as response:
            assert response.status == 200
