"""A block that is dropped takes its transactions back with it, and the status follows: back, and forward again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_btc.coin import format_coins
from keyquorum_btc.psbt import read
from keyquorum_plugin_api.chain import ChainEvent, TransactionState, TransactionStatus
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import Expired, InvalidPayload, NonceConflict
from support.bitcoin_node import BitcoinNode
from support.bitcoin_target import CONFIRMATIONS, FINAL_CONFIRMATIONS, BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 20.0


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(target: BitcoinChainTarget) -> AsyncIterator[BitcoinAdapter]:
    adapter = await target.adapter(target.local(0))
    yield adapter
    await adapter.close()


@pytest.fixture
def intent(target: BitcoinChainTarget, bitcoin: BitcoinNode) -> TransferIntent:
    """An affordable payment."""
    source, destination = (target.account(index).account for index in (0, 1))
    bitcoin.fund(source.address, 100_000, 4)
    return TransferIntent(target.chain, source, destination.address, target.asset, 50_000)


async def test_status_goes_back_and_forward_again(
    adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """A confirmed transfer is dropped and forgotten by the node: it is sent again, mined again, and then final."""
    unsigned = await adapter.build_transfer(intent, {})
    txid = await adapter.submit(await adapter.sign(unsigned))
    seen: list[TransactionStatus] = []

    async def follow() -> None:
        async for status in adapter.stream_status(txid, unsigned):
            seen.append(status)  # noqa: PERF401 the test looks at it meanwhile

    async def until(state: TransactionState) -> None:
        while not seen or seen[-1].state is not state:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE_S):
        follower = asyncio.create_task(follow())
        await until(TransactionState.PENDING)
        bitcoin.mine(CONFIRMATIONS)
        await until(TransactionState.CONFIRMED)
        assert seen[-1].reversible
        bitcoin.reorg(CONFIRMATIONS, drop=[txid])
        await until(TransactionState.PENDING)
        await bitcoin.until_waiting(1)
        bitcoin.mine(FINAL_CONFIRMATIONS)
        await follower
    assert (seen[-1].state, seen[-1].reversible) == (TransactionState.CONFIRMED, False)
    states = [status.state for status in seen]
    assert states.index(TransactionState.CONFIRMED) < len(states) - 1 - states[::-1].index(TransactionState.PENDING)


async def test_double_spend_in_a_reorganisation_expires_the_transfer_once_it_is_deep(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """While the other transaction is shallow the transfer may come back, so nothing invites another payment until then."""
    unsigned = await adapter.build_transfer(intent, {})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    bitcoin.mine(CONFIRMATIONS)
    assert (await adapter.get_status(signed.txid, unsigned)).state is TransactionState.CONFIRMED
    other = await target.adapter(target.local(0))
    try:
        cancellation = target.codec.build_cancellation(
            intent.source, target.chain, {"coins": format_coins(read(unsigned.payload).coins), "fee": "900"}
        )
        rival = target.codec.combine(cancellation, await target.local(0).sign(cancellation))
        bitcoin.reorg(FINAL_CONFIRMATIONS - 2, drop=[signed.txid], include=[rival.raw.hex()])
        status = await other.get_status(signed.txid, unsigned)
        assert status.state is TransactionState.UNKNOWN
        assert rival.txid in status.detail
        bitcoin.mine()
        status = await other.get_status(signed.txid, unsigned)
        assert status.state is TransactionState.EXPIRED
        assert rival.txid in status.detail
        with pytest.raises(NonceConflict):
            await other.submit(signed)
        assert not await target.reservations.held(target.chain, intent.source.address)
    finally:
        await other.close()


async def test_dropped_events_are_taken_back_newest_first(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode
) -> None:
    """By the stream that told them, and told again from the blocks that come instead."""
    address = target.account(9).account.address
    async with asyncio.timeout(PATIENCE_S):
        stream = adapter.stream_events([address])
        await _listening(stream, bitcoin, address)
        bitcoin.fund(address, 20_000)
        bitcoin.fund(address, 30_000)
        told = [await anext(stream), await anext(stream)]
        assert [event.amount for event in told] == [20_000, 30_000]
        bitcoin.reorg(2)
        gone = [await anext(stream), await anext(stream)]
        assert [(event.amount, event.removed, event.block) for event in gone] == [
            (event.amount, True, event.block) for event in reversed(told)
        ]
        bitcoin.mine()
        again = [await anext(stream), await anext(stream)]
        assert {(event.txid, event.amount, event.removed) for event in again} == {
            (event.txid, event.amount, False) for event in told
        }
        await stream.aclose()
        for cursor, rest in (
            (gone[0].cursor, [gone[1], *again]),
            (gone[1].cursor, again),
            (again[0].cursor, again[1:]),
        ):
            resumed = adapter.stream_events([address], cursor)
            assert [await anext(resumed) for _ in rest] == rest
            await resumed.aclose()


async def _listening(stream: AsyncIterator[ChainEvent], bitcoin: BitcoinNode, address: str) -> None:
    """Deposits until the stream, which says nothing when it begins to listen, has told the last one."""
    told = asyncio.ensure_future(anext(stream))
    while not told.done():
        bitcoin.fund(address, 1_000)
        await asyncio.wait([told], timeout=0.1)
    while told.result().block != bitcoin.node.chain.tip.hash:
        told = asyncio.ensure_future(anext(stream))
        await told


async def test_cursors_of_others_are_refused(target: BitcoinChainTarget, adapter: BitcoinAdapter) -> None:
    """Text that is no cursor, and a cursor of a block that this chain never had."""
    address = target.account(9).account.address
    for cursor in ("0", "+1.ab.0.x", f"+1.{'0' * 64}.0.x y", f"+1.{'0' * 64}.-1.x", "x" * 100_000):
        with pytest.raises(InvalidPayload):
            await anext(adapter.stream_events([address], cursor))
    with pytest.raises(Expired):
        await anext(adapter.stream_events([address], f"+1.{'ab' * 32}.0.{address}"))
