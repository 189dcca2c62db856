"""Replacing, cancelling and lifting what waits, mined by the node's own rules."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_btc.coin import format_coins
from keyquorum_btc.psbt import read
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import EffectKind, SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.effects import require_cancellation, require_transfer
from keyquorum_plugin_api.errors import (
    FeeTooHigh,
    FeeTooLow,
    InsufficientFunds,
    InvalidPayload,
    NonceConflict,
    OutcomeUnknown,
    Unsupported,
)
from support.bitcoin_node import BitcoinNode, TaprootKey
from support.bitcoin_target import FINAL_CONFIRMATIONS, BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(target: BitcoinChainTarget) -> AsyncIterator[BitcoinAdapter]:
    adapter = await target.adapter(target.local(0))
    yield adapter
    await adapter.close()


@pytest.fixture
def source(target: BitcoinChainTarget) -> SignerAccount:
    return target.account(0).account


def payment(target: BitcoinChainTarget, amount: int, to: int = 1) -> TransferIntent:
    """From account 0."""
    accounts = [target.account(index).account for index in (0, to)]
    return TransferIntent(target.chain, accounts[0], accounts[1].address, target.asset, amount)


async def sent(adapter: BitcoinAdapter, unsigned: UnsignedTransaction) -> str:
    """Signed and submitted."""
    return await adapter.submit(await adapter.sign(unsigned))


async def state(adapter: BitcoinAdapter, txid: str, unsigned: UnsignedTransaction) -> TransactionState:
    return (await adapter.get_status(txid, unsigned)).state


async def test_replacement_adds_a_coin_where_its_fee_needs_one(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """A payment without change has nothing to take a higher fee from: another coin joins, and the first ones stay."""
    (coin,) = bitcoin.fund(source.address, 50_000)
    bitcoin.fund(source.address, 40_000)
    intent = payment(target, 50_000 - 111)  # one input, one output, 1 sat/vB: no change
    old = await adapter.build_transfer(intent, {"fee_rate": "1", "coins": f"{coin.txid}:{coin.vout}"})
    assert [effect.kind for effect in old.effects] == [EffectKind.TRANSFER, EffectKind.FEE]
    old_txid = await sent(adapter, old)
    newer = await adapter.build_replacement(intent, old, {"fee_rate": "20"})
    assert set(read(old.payload).coins) < set(read(newer.payload).coins)
    assert require_transfer(intent, newer.effects) >= 20 * read(newer.payload).vsize
    txid = await sent(adapter, newer)
    bitcoin.mine(FINAL_CONFIRMATIONS)
    assert await state(adapter, txid, newer) is TransactionState.CONFIRMED
    assert await state(adapter, old_txid, old) is TransactionState.EXPIRED
    assert not await target.reservations.held(target.chain, source.address)


async def test_change_of_what_is_replaced_does_not_pay_for_the_replacement(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """It will not exist. Nor does other change that waits (BIP125 rule 2); a confirmed coin does."""
    coins = [f"{coin.txid}:{coin.vout}" for coin in bitcoin.fund(source.address, 50_000, 2)]
    intent = payment(target, 48_000)
    old = await adapter.build_transfer(intent, {"fee_rate": "1", "coins": coins[0]})
    other = await adapter.build_transfer(payment(target, 10_000), {"fee_rate": "1", "coins": coins[1]})
    for unsigned in (old, other):
        await sent(adapter, unsigned)
    assert {effect.kind for effect in old.effects} > {EffectKind.CHANGE}
    with pytest.raises(InsufficientFunds):
        await adapter.build_replacement(intent, old, {"fee_rate": "100"})
    coin, txid = bitcoin.fund(source.address, 60_000, confirm=False)[0], read(old.payload).txid
    bitcoin.mine()
    bitcoin.reorg(1, keep=[coin.txid])
    assert await state(adapter, txid, old) is TransactionState.PENDING
    newer = await adapter.build_replacement(intent, old, {"fee_rate": "100"})
    assert {spent.outpoint for spent in read(newer.payload).coins} == {coins[0], f"{coin.txid}:{coin.vout}"}
    await sent(adapter, newer)
    bitcoin.mine()
    assert await state(adapter, read(newer.payload).txid, newer) is TransactionState.INCLUDED


async def test_replacement_pays_what_the_rules_ask_and_no_less(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """BIP125 rules 3 and 4 by default; a client that asks for less, or for more than the ceiling, is refused."""
    bitcoin.fund(source.address, 100_000, 2)
    intent = payment(target, 30_000)
    old = await adapter.build_transfer(intent, {"fee_rate": "30"})
    await sent(adapter, old)
    spend = read(old.payload)
    with pytest.raises(FeeTooLow):
        await adapter.build_replacement(intent, old, {"fee_rate": "30.5"})
    with pytest.raises(FeeTooHigh):
        await adapter.build_replacement(intent, old, {"fee_rate": "201"})
    with pytest.raises(Unsupported):
        await adapter.build_replacement(intent, old, {"coins": spend.coins[0].outpoint})
    newer = await adapter.build_replacement(intent, old, {})
    assert read(newer.payload).fee >= spend.fee + read(newer.payload).vsize
    assert read(newer.payload).fee <= spend.fee + 2 * read(newer.payload).vsize
    await sent(adapter, newer)
    await adapter.discard(await adapter.build_replacement(intent, newer, {}))
    with pytest.raises(NonceConflict, match="replace that one"):
        await adapter.build_cancellation(source, old, {})
    third = await adapter.build_cancellation(source, newer, {})
    txid = await sent(adapter, third)
    bitcoin.mine()
    assert await state(adapter, txid, third) is TransactionState.INCLUDED
    with pytest.raises(NonceConflict):
        await adapter.build_cancellation(source, third, {})


async def test_discarding_a_replacement_leaves_the_coins_with_what_waits(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """Only what the replacement added is free again."""
    bitcoin.fund(source.address, 60_000)
    old = await adapter.build_transfer(payment(target, 50_000), {"fee_rate": "2"})
    await sent(adapter, old)
    before = await target.reservations.held(target.chain, source.address)
    for build in (
        adapter.build_replacement(payment(target, 50_000), old, {}),
        adapter.build_cancellation(source, old, {}),
    ):
        await adapter.discard(await build)
    assert await target.reservations.held(target.chain, source.address) == before


async def test_what_another_payment_is_built_on_is_not_replaced(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """A replacement would drop the payment that spends the change: the error names the way out."""
    bitcoin.fund(source.address, 200_000)
    first = await adapter.build_transfer(payment(target, 20_000), {"fee_rate": "2"})
    await sent(adapter, first)
    second = await adapter.build_transfer(payment(target, 20_000), {"fee_rate": "2"})
    await sent(adapter, second)
    assert {coin.txid for coin in read(second.payload).coins} == {read(first.payload).txid}
    with pytest.raises(NonceConflict, match="child"):
        await adapter.build_replacement(payment(target, 20_000), first, {})
    with pytest.raises(NonceConflict, match="child"):
        await adapter.build_cancellation(source, first, {})


async def test_recipients_cannot_pin_a_payment_for_nothing(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """Whoever spends what he was paid makes the replacement pay for that, too (rule 3); it is mined all the same."""
    friend = TaprootKey(77)
    bitcoin.fund(source.address, 100_000)
    intent = TransferIntent(target.chain, source, friend.address, target.asset, 40_000)
    old = await adapter.build_transfer(intent, {"fee_rate": "2"})
    txid = await sent(adapter, old)
    vout = next(
        n for n, out in enumerate(bitcoin.node.mempool.entries[txid].transaction.outputs) if out.value == 40_000
    )
    outpoint = type(bitcoin.fund(friend.address, 1_000)[0])(txid, vout)
    assert await state(adapter, txid, old) is TransactionState.INCLUDED
    bitcoin.reorg(1)
    assert await state(adapter, txid, old) is TransactionState.PENDING
    bitcoin.send(bitcoin.pay(friend, [outpoint], [(friend.address, 35_000)]))
    newer = await adapter.build_replacement(intent, old, {})
    assert read(newer.payload).fee > read(old.payload).fee + 5_000
    newest = await sent(adapter, newer)
    bitcoin.mine()
    assert await state(adapter, newest, newer) is TransactionState.INCLUDED


async def test_child_lifts_an_incoming_payment(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """A stuck deposit comes home: its child returns it to the account, and pays for both at the wanted rate."""
    stranger = TaprootKey(78)
    (coin,) = bitcoin.fund(stranger.address, 100_000)
    deposit = bitcoin.send(bitcoin.pay(stranger, [coin], [(source.address, 100_000 - 120)]))  # about 1 sat/vB
    (balance,) = await adapter.get_balances(source.address)
    assert balance.amount == 0
    child = await adapter.build_child(source, deposit, {"fee_rate": "25"})
    fee = require_cancellation(source, child.effects)
    parent = bitcoin.node.mempool.entries[deposit]
    assert fee + parent.fee >= 25 * (parent.vsize + read(child.payload).vsize)
    txid = await sent(adapter, child)
    bitcoin.mine(FINAL_CONFIRMATIONS)
    assert await state(adapter, txid, child) is TransactionState.CONFIRMED
    with pytest.raises(NonceConflict):
        await adapter.build_child(source, deposit, {})


async def test_payment_lifts_what_it_is_built_on(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """A transfer with the option ``bump`` spends the change of a stuck one and pays for both."""
    bitcoin.fund(source.address, 200_000)
    stuck = await adapter.build_transfer(payment(target, 20_000), {"fee_rate": "1"})
    txid = await sent(adapter, stuck)
    intent = payment(target, 30_000, to=2)
    for bump in ("cpfp", f"rbf:{txid}", f"cpfp:{txid[1:]}", ""):
        with pytest.raises(Unsupported):
            await adapter.build_transfer(intent, {"bump": bump})
    with pytest.raises(NonceConflict):
        await adapter.build_transfer(intent, {"bump": f"cpfp:{'ab' * 32}"})
    child = await adapter.build_transfer(intent, {"bump": f"cpfp:{txid}", "fee_rate": "30"})
    fee = require_transfer(intent, child.effects)
    parent = read(stuck.payload)
    assert txid in {coin.txid for coin in read(child.payload).coins}
    assert fee + parent.fee >= 30 * (parent.vsize + read(child.payload).vsize)
    last = await sent(adapter, child)
    bitcoin.mine()
    assert await state(adapter, last, child) is TransactionState.INCLUDED


async def test_replaced_bytes_stay_dangerous_after_a_restart(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """Another process that submits what was sent and replaced is not told that nothing is under way, until it is true."""
    bitcoin.fund(source.address, 100_000)
    old = await adapter.build_transfer(payment(target, 30_000), {"fee_rate": "2"})
    signed = await adapter.sign(old)
    await adapter.submit(signed)
    await sent(adapter, await adapter.build_cancellation(source, old, {}))
    another = await target.adapter(target.local(0))
    try:
        with pytest.raises(OutcomeUnknown):
            await another.submit(signed)
        bitcoin.mine(FINAL_CONFIRMATIONS - 1)
        with pytest.raises(OutcomeUnknown):
            await another.submit(signed)
        bitcoin.mine()
        with pytest.raises(NonceConflict):
            await another.submit(signed)
    finally:
        await another.close()


async def test_refused_bytes_may_be_submitted_again(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """What never left is not remembered as sent: the second refusal says what the first one said."""
    bitcoin.fund(source.address, 100_000)
    unsigned = await adapter.build_transfer(payment(target, 30_000), {})
    rival = target.codec.build_cancellation(
        source, target.chain, {"coins": format_coins(read(unsigned.payload).coins), "fee": "5000"}
    )
    signed = await adapter.sign(unsigned)
    raw = target.codec.combine(rival, await target.local(0).sign(rival)).raw
    bitcoin.send(raw.hex())
    for _ in range(2):
        with pytest.raises((NonceConflict, FeeTooLow)):
            await adapter.submit(signed)


async def test_other_payloads_are_not_replaced(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, source: SignerAccount
) -> None:
    """A message, a cancellation, another chain's payload: no transfer of this account that could be replaced."""
    bitcoin.fund(source.address, 100_000, 2)
    intent = payment(target, 30_000)
    old = await adapter.build_transfer(intent, {})
    await sent(adapter, old)
    cancellation = await adapter.build_cancellation(source, old, {})
    message = target.codec.build_message(source, target.chain, "not a payment")
    for wrong in (cancellation, message):
        with pytest.raises(InvalidPayload):
            await adapter.build_replacement(intent, wrong, {})
    with pytest.raises(InvalidPayload):
        await adapter.build_cancellation(source, message, {})
