"""What the demonstration takes for proof is none where anything about it is wrong."""

import base64

import aiohttp
import pbk
import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from keyquorum_devnet.engines import ChainSays
from keyquorum_devnet.engines.bitcoin import BitcoinClient
from keyquorum_devnet.engines.solana import SolanaClient
from keyquorum_devnet.solana import server as solana
from support.bitcoin_node import COIN, TaprootKey, bitcoin_node
from support.solana import signed, transfer_of

OWNER, THIEF = TaprootKey(1), TaprootKey(2)


@pytest.fixture
async def bitcoin():
    """A node, a client of it, and the id of an honest payment of the owner's that is confirmed."""
    async with bitcoin_node() as node, aiohttp.ClientSession() as session:
        coins = node.fund(OWNER.address, COIN, 2)
        txid = node.send(node.pay(OWNER, coins, [(THIEF.address, COIN), (OWNER.address, COIN - 500)]))
        node.mine()
        yield node, BitcoinClient(session, f"{node.url}/"), txid


async def test_an_honest_payment_is_judged_with_its_fee_and_block(bitcoin):
    """Two inputs, each verified; the fee is what the outputs leave."""
    node, client, txid = bitcoin
    judged = await client.judge(txid, OWNER.address)
    assert (judged.txid, judged.fee, judged.place) == (txid, 500, f"block {node.height}")
    assert "interpreter" in judged.verifier
    with pytest.raises(ChainSays, match="somebody else"):
        await client.judge(txid, THIEF.address)


async def test_what_waits_is_not_confirmed(bitcoin):
    """A payment in the mempool is a promise."""
    node, client, _ = bitcoin
    (coin,) = node.fund(OWNER.address, COIN)
    txid = node.send(node.pay(OWNER, [coin], [(THIEF.address, COIN - 500)]))
    with pytest.raises(ChainSays, match="no confirmed"):
        await client.judge(txid, OWNER.address)


class LyingNode(BitcoinClient):
    """A node that gives other bytes than it was asked for."""

    lies: dict[str, str]

    async def _text(self, path, method="GET", body=None):
        return self.lies.get(path) or await super()._text(path, method, body)


async def test_a_node_s_word_is_not_taken(bitcoin):
    """Neither for which transaction it gives, nor for a signature: the interpreter runs on our side."""
    node, client, txid = bitcoin
    liar = LyingNode(client._session, client._url)
    (coin,) = node.fund(OWNER.address, COIN)
    other = node.pay(OWNER, [coin], [(THIEF.address, COIN - 500)])
    liar.lies = {f"tx/{txid}/hex": other}
    with pytest.raises(ChainSays, match="another transaction"):
        await liar.judge(txid, OWNER.address)

    broken = bytearray(bytes.fromhex(other))
    broken[-5 - 32] ^= 1  # in the signature, which the id does not cover; the lock time follows it
    unsigned_id = str(pbk.Transaction(bytes(broken)).txid)
    assert unsigned_id == str(pbk.Transaction(bytes.fromhex(other)).txid)
    liar.lies = {
        f"tx/{unsigned_id}/hex": broken.hex(),
        f"tx/{unsigned_id}/status": '{"confirmed": true, "block_height": 1}',
    }
    with pytest.raises(ChainSays, match="does not accept the signature of input 0"):
        await liar.judge(unsigned_id, OWNER.address)

    for nonsense in ("", "zz", "00", "Transaction not found"):
        liar.lies = {f"tx/{txid}/hex": nonsense or " "}
        with pytest.raises(ChainSays):
            await liar.judge(txid, OWNER.address)


def _base64(data):
    return base64.b64encode(data).decode()


def _answer(**changes):
    """A node's answer with parts of it exchanged."""
    return lambda found: found | changes


class LyingSolana(SolanaClient):
    """A node that gives other bytes than it was asked for."""

    change = staticmethod(lambda found: found)

    async def call(self, method, *params):
        found = await super().call(method, *params)
        return self.change(found) if method == "getTransaction" else found


async def test_solana_s_signature_is_checked_here_too():
    """One signer who pays, a success, and a signature that OpenSSL accepts: all of it, or it is no proof."""
    owner, other = Keypair(), Keypair()
    settings = solana.Settings(slot_ms=20)
    async with solana.running(settings=settings) as endpoint, aiohttp.ClientSession() as session:
        client = LyingSolana(session, endpoint.rpc_url)
        await client.fund(str(owner.pubkey()), 10**9)
        latest = await client.call("getLatestBlockhash")
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        transfer = signed([transfer_of(owner, other.pubkey(), 10**8)], blockhash, owner)
        txid = await client.call("sendTransaction", _base64(bytes(transfer)), {"encoding": "base64"})
        await client.mine(2)
        judged = await client.judge(txid, str(owner.pubkey()))
        assert (judged.txid, judged.fee, judged.verifier) == (txid, 5000, "OpenSSL")

        with pytest.raises(ChainSays, match="somebody else"):
            await client.judge(txid, str(other.pubkey()))
        raw = bytearray(bytes(transfer))
        raw[-5] ^= 1  # in the amount; the number of lookup tables, none, is last
        for change, said in {
            _answer(transaction=[_base64(bytes(raw)), "base64"]): "does not accept",
            _answer(meta={"err": {"InstructionError": [0, "Custom"]}, "fee": 5000}): "did not succeed",
            lambda _: None: "no confirmed",
        }.items():
            client.change = change
            with pytest.raises(ChainSays, match=said):
                await client.judge(txid, str(owner.pubkey()))
