"""Many payments from one account at a time: no coin is spent twice, and each is confirmed or refused with a reason."""

import asyncio
from collections import Counter

import pytest

from keyquorum_btc.psbt import read
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import InsufficientFunds, NonceConflict
from support.bitcoin_node import BitcoinNode
from support.bitcoin_target import FINAL_CONFIRMATIONS, BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAYMENTS = 200


def payment(target: BitcoinChainTarget, amount: int) -> TransferIntent:
    """From account 0 to account 1."""
    source, destination = (target.account(index).account for index in (0, 1))
    return TransferIntent(target.chain, source, destination.address, target.asset, amount)


@pytest.mark.parametrize("client", ["esplora"])
async def test_two_hundred_transfers_spend_no_coin_twice(target: BitcoinChainTarget, bitcoin: BitcoinNode) -> None:
    """All at once, through two adapters: every one is built, mined and final, and every coin is spent by one of them."""
    intent = payment(target, 50_000)
    bitcoin.fund(intent.source.address, 60_000, PAYMENTS + 50)
    adapters = [await target.adapter(target.local(0)) for _ in range(2)]
    try:

        async def pay(number: int) -> tuple[str, TransactionState]:
            adapter = adapters[number % 2]
            unsigned = await adapter.build_transfer(intent, {})
            coins.update(coin.outpoint for coin in read(unsigned.payload).coins)
            txid = await adapter.submit(await adapter.sign(unsigned))
            waiting.release()
            async for status in adapter.stream_status(txid, unsigned):
                state = status.state
            return txid, state

        coins: Counter[str] = Counter()
        waiting = asyncio.Semaphore(0)
        async with asyncio.timeout(60), asyncio.TaskGroup() as together:
            paid = [together.create_task(pay(number)) for number in range(PAYMENTS)]
            for _ in range(PAYMENTS):
                await waiting.acquire()
            bitcoin.mine(FINAL_CONFIRMATIONS)
        outcomes = dict(each.result() for each in paid)
        assert len(outcomes) == PAYMENTS
        assert set(outcomes.values()) == {TransactionState.CONFIRMED}
        assert max(coins.values()) == 1
        (received,) = await adapters[0].get_balances(intent.destination)
        assert received.amount == PAYMENTS * intent.amount
        assert not await target.reservations.held(target.chain, intent.source.address)
    finally:
        for adapter in adapters:
            await adapter.close()


@pytest.mark.parametrize("client", ["esplora"])
async def test_more_payments_than_coins(target: BitcoinChainTarget, bitcoin: BitcoinNode) -> None:
    """Of forty payments and ten coins, ten are built; the others are refused for want of funds and hold nothing."""
    intent = payment(target, 50_000)
    bitcoin.fund(intent.source.address, 60_000, 10)
    adapter = await target.adapter(target.local(0))
    try:
        results = await asyncio.gather(*(adapter.build_transfer(intent, {}) for _ in range(40)), return_exceptions=True)
        refused = [each for each in results if isinstance(each, BaseException)]
        assert len(refused) == 30
        assert {type(each) for each in refused} <= {InsufficientFunds, NonceConflict}
        for built in results:
            if not isinstance(built, BaseException):
                await adapter.discard(built)
        assert not await target.reservations.held(target.chain, intent.source.address)
    finally:
        await adapter.close()
