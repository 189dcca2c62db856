"""Deposits and payments of watched addresses: each is told, none is lost between two streams, and dropped ones are taken back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from keyquorum_plugin_api.chain import ChainAdapter, ChainEvent
from keyquorum_plugin_api.codec import SignedTransaction, TransferIntent
from keyquorum_plugin_api.errors import InvalidAddress
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.optional import ReorganisingTarget
from keyquorum_plugin_api.testing.scenes import PATIENCE_S, amounts, confirmed, funded_intent, opened
from keyquorum_plugin_api.testing.target import ChainTarget

STEP_S = 0.1  # between two steps of the chain, while something is waited for
REFUSAL_S = 2.0  # within which a stream that cannot be is refused, instead of being silent


class EventConformance(Suite):
    """``stream_events``."""

    async def test_deposits_are_told_and_streams_resume(self, target: ChainTarget) -> None:
        """A deposit shows up; a stream that goes on behind it tells the next one, and the first one not again."""
        address = target.account(80).account.address
        async with opened(target) as adapter, asyncio.timeout(3 * PATIENCE_S):
            if not self.claims(adapter, "stream_events"):
                await self._unclaimed(adapter, address)
                return
            async with following(adapter, [address]) as seen:
                first = await self._deposit(target, address, target.amount, seen)
            await target.fund(address, 3 * target.amount)  # while nobody listens
            async with following(adapter, [address], first.cursor) as seen:
                await _until(target, seen, lambda event: event.amount == 3 * target.amount)
                again = [event for event in seen if (event.txid, event.amount) == (first.txid, first.amount)]
                assert again == []
                cursors = [first.cursor, *(event.cursor for event in seen)]
                assert len(set(cursors)) == len(cursors)
            async with following(adapter, [target.account(81).account.address], first.cursor) as seen:
                await target.advance()
                await asyncio.sleep(STEP_S)
                assert seen == []
            self.exercised("stream_events")

    async def test_payments_are_told_for_both_sides(self, target: ChainTarget) -> None:
        """What the source paid, fee included, and what the recipient got, with the transaction's id."""
        async with opened(target, 0) as adapter, asyncio.timeout(3 * PATIENCE_S):
            source, destination = (target.account(index).account.address for index in (0, 1))
            if not self.claims(adapter, "stream_events"):
                await self._unclaimed(adapter, source)
                return
            async with following(adapter, [source, destination]) as seen:
                await self._deposit(target, source, target.amount, seen)
                intent = await funded_intent(target, adapter)
                before = await amounts(adapter, intent)
                signed = await _paid(target, adapter, intent)
                after = await amounts(adapter, intent)
                moved = {source: after[0] - before[0], destination: after[1] - before[1]}

                def told() -> dict[str, int]:
                    mine = [event for event in seen if event.txid == signed.txid]
                    signs = [(event, -event.amount if event.removed else event.amount) for event in mine]
                    return {a: sum(amount for event, amount in signs if event.address == a) for a in moved}

                while told() != moved:
                    await target.advance()
                    await asyncio.sleep(STEP_S)
            self.exercised("stream_events")

    async def test_event_streams_can_be_left(self, target: ChainTarget) -> None:
        """Leaving one ends what it started; addresses that are none are refused."""
        address = target.account(0).account.address
        before = asyncio.all_tasks()
        async with opened(target) as adapter, asyncio.timeout(PATIENCE_S):
            if not self.claims(adapter, "stream_events"):
                await self._unclaimed(adapter, address)
                return
            with self.refused(InvalidAddress):
                await _first(adapter, address[:8])
            async with following(adapter, [address]):
                await asyncio.sleep(STEP_S)
            await adapter.get_balances(address)
        await asyncio.sleep(0)
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert not {task for task in left if "keyquorum" in task.get_name() or "stream_events" in repr(task)}

    async def test_dropped_deposits_are_taken_back(self, target: ChainTarget) -> None:
        """The block of a payment is dropped: its event is removed, and told again once another block holds it."""
        async with opened(target, 0) as adapter, asyncio.timeout(4 * PATIENCE_S):
            address = target.account(1).account.address
            if not self.claims(adapter, "stream_events"):
                await self._unclaimed(adapter, address)
                return
            if not isinstance(target, ReorganisingTarget):
                self.not_run("property:events-of-dropped-blocks", "the target cannot drop blocks (reorganise)")
                return
            intent = await funded_intent(target, adapter)
            async with following(adapter, [address]) as seen:
                await self._deposit(target, address, target.amount, seen)
                unsigned = await adapter.build_transfer(intent, {})
                signed = await adapter.sign(unsigned)
                await adapter.submit(signed)
                told = await _until(target, seen, lambda event: event.txid == signed.txid)
                assert (told.amount, told.removed) == (intent.amount, False)
                await target.reorganise()
                gone = await _until(target, seen, lambda event: event.txid == signed.txid and event.removed)
                assert (gone.amount, gone.block) == (told.amount, told.block)
                await adapter.submit(signed)
                at = seen.index(gone)
                await _until(target, seen, lambda event: event.txid == signed.txid and not event.removed, behind=at)

    async def _unclaimed(self, adapter: ChainAdapter, address: str) -> None:
        with self.unclaimed("stream_events"):
            await _first(adapter, address)

    async def _deposit(self, target: ChainTarget, address: str, amount: int, seen: list[ChainEvent]) -> ChainEvent:
        """Deposits until one is seen: a stream says nothing when it begins to listen."""
        while not seen:
            await target.fund(address, amount)
            await target.advance()
            await asyncio.sleep(STEP_S)
        event = seen[0]
        assert (event.address, event.asset, event.amount, event.removed) == (address, target.asset, amount, False)
        assert event.cursor
        assert event.block
        assert event.txid
        return event


@asynccontextmanager
async def following(adapter: ChainAdapter, addresses: list[str], cursor: str = "") -> AsyncIterator[list[ChainEvent]]:
    """What a stream of events tells, as a list that grows. A stream that fails, or ends, fails the test."""
    seen: list[ChainEvent] = []

    async def follow() -> None:
        async for event in adapter.stream_events(addresses, cursor):
            assert event.address in addresses
            seen.append(event)

    task = asyncio.create_task(follow())
    try:
        yield seen
        assert not task.done(), f"the stream of events ended: {task}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _first(adapter: ChainAdapter, address: str) -> None:
    """Wait for a first event that should never come, but not for long."""
    async with asyncio.timeout(REFUSAL_S):
        async for _ in adapter.stream_events([address]):
            return


async def _until(
    target: ChainTarget, seen: list[ChainEvent], wanted: Callable[[ChainEvent], bool], behind: int = -1
) -> ChainEvent:
    """The first wanted event behind a place of the list, after as many steps of the chain as it takes."""
    while not (found := [event for event in seen[behind + 1 :] if wanted(event)]):
        await target.advance()
        await asyncio.sleep(STEP_S)
    return found[0]


async def _paid(target: ChainTarget, adapter: ChainAdapter, intent: TransferIntent) -> SignedTransaction:
    unsigned = await adapter.build_transfer(intent, {})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    await confirmed(target, adapter, signed, unsigned)
    return signed
