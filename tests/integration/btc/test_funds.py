"""Which coins are spent, and which are left alone; and that what is reserved survives the adapter that reserved it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_btc.addresses import parse_destination
from keyquorum_btc.psbt import read
from keyquorum_devnet.bitcoin.server import Settings
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent
from keyquorum_plugin_api.errors import Expired, InsufficientFunds, NonceConflict
from support.bitcoin_node import BitcoinNode, TaprootKey, bitcoin_node
from support.bitcoin_target import BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(target: BitcoinChainTarget) -> AsyncIterator[BitcoinAdapter]:
    adapter = await target.adapter(target.local(0))
    yield adapter
    await adapter.close()


@pytest.fixture
def source(target: BitcoinChainTarget) -> SignerAccount:
    return target.account(0).account


def payment(target: BitcoinChainTarget, amount: int) -> TransferIntent:
    """From account 0 to account 1."""
    accounts = [target.account(index).account for index in (0, 1)]
    return TransferIntent(target.chain, accounts[0], accounts[1].address, target.asset, amount)


async def test_what_a_stranger_sends_is_not_spent_before_it_is_confirmed(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """He could take it back; our own change is spent at once."""
    stranger = TaprootKey(99)
    (theirs,) = bitcoin.fund(stranger.address, 200_000)
    bitcoin.send(bitcoin.pay(stranger, [theirs], [(source.address, 190_000)]))
    with pytest.raises(InsufficientFunds):
        await adapter.build_transfer(payment(target, 50_000), {})
    bitcoin.mine()
    for _ in range(2):
        await adapter.submit(await adapter.sign(await adapter.build_transfer(payment(target, 50_000), {})))
    bitcoin.mine()
    (received,) = await adapter.get_balances(target.account(1).account.address)
    assert received.amount == 100_000


async def test_rewards_of_miners_wait_for_a_hundred_blocks(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """They are in the balance, and spent by nobody before."""
    bitcoin.node.mine(parse_destination(source.address, target.chain))
    (held,) = await adapter.get_balances(source.address)
    assert held.amount >= 10**9
    bitcoin.mine(98)
    with pytest.raises(InsufficientFunds):
        await adapter.build_transfer(payment(target, 50_000), {})
    bitcoin.mine()
    unsigned = await adapter.build_transfer(payment(target, 50_000), {})
    await adapter.submit(await adapter.sign(unsigned))


async def test_named_coins_are_spent_and_no_others(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """All of them; one that is held, or not there, is an error and no invitation to take another."""
    coins = [f"{coin.txid}:{coin.vout}" for coin in bitcoin.fund(source.address, 60_000, 4)]
    named = {"coins": ",".join(coins[:2])}
    unsigned = await adapter.build_transfer(payment(target, 50_000), named)
    assert sorted(coin.outpoint for coin in read(unsigned.payload).coins) == sorted(coins[:2])
    for taken in (named, {"coins": coins[1]}, {"coins": f"{'ab' * 32}:0"}):
        with pytest.raises(NonceConflict):
            await adapter.build_transfer(payment(target, 50_000), taken)
    with pytest.raises(InsufficientFunds):
        await adapter.build_transfer(payment(target, 60_000), {"coins": coins[2]})
    await adapter.discard(unsigned)
    await adapter.discard(await adapter.build_transfer(payment(target, 50_000), named))


async def test_reservations_outlive_the_adapter_that_made_them(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """Another process signs, submits or gives back what this one has built."""
    bitcoin.fund(source.address, 60_000, 2)
    first, second = [await adapter.build_transfer(payment(target, 50_000), {}) for _ in range(2)]
    another = await target.adapter(target.local(0))
    try:
        with pytest.raises(InsufficientFunds):
            await another.build_transfer(payment(target, 50_000), {})
        signed = await another.sign(first)
        await another.submit(signed)
        assert (await adapter.get_status(signed.txid, first)).state is TransactionState.PENDING
        await another.discard(second)
        third = await adapter.build_transfer(payment(target, 40_000), {})
        with pytest.raises(Expired):
            await another.sign(second)
        await another.discard(second)
        await another.sign(third)
    finally:
        await another.close()


async def test_second_node_takes_over(
    target: BitcoinChainTarget, bitcoin: BitcoinNode, source: SignerAccount, client: str
) -> None:
    """With both clients configured, a payment goes through while the one that is asked first is away."""
    bitcoin.fund(source.address, 60_000)
    urls = {"esplora_url": "http://127.0.0.1:9", "bitcoind_url": "http://127.0.0.1:9", f"{client}_url": bitcoin.url}
    adapter = await target.configured(target.local(0), urls)
    try:
        unsigned = await adapter.build_transfer(payment(target, 50_000), {})
        txid = await adapter.submit(await adapter.sign(unsigned))
        bitcoin.mine()
        assert (await adapter.get_status(txid)).state is TransactionState.INCLUDED
    finally:
        await adapter.close()


async def test_password_protected_bitcoind(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """User from the configuration, password from a file."""
    async with bitcoin_node(Settings(rpc_user="keyquorum", rpc_password="s3cret")) as node:
        target = BitcoinChainTarget(b"password", node, http, "bitcoind")
        file = tmp_path / "password"
        file.write_text("s3cret\n")
        adapter = await target.configured(
            target.local(0), {"bitcoind_user": "keyquorum", "bitcoind_password_file": str(file)}
        )
        assert (await adapter.health())["height"] == str(node.height)
        await adapter.close()
