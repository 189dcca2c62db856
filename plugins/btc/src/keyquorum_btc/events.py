"""Deposits and payments of watched addresses, block by block, and taken back where a block is dropped.

A stream walks the best chain. Where the block that it stands in is no longer part of it, it walks back along that block's
branch, taking back what was told, until it stands in the chain again. A cursor names block and place, so that a stream can
be resumed anywhere, in the middle of a block and on a dropped branch, too. One event is told per transaction and address:
what the address received less what it paid, fee included.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

from keyquorum_btc.cursor import Position
from keyquorum_btc.network import native_asset
from keyquorum_btc.node import BlockHeader, ChainTransaction
from keyquorum_btc.nodes import Nodes
from keyquorum_plugin_api.chain import ChainEvent, Clock
from keyquorum_plugin_api.errors import ChainUnavailable, Expired

ADDRESSES_MAX = 10_000  # watched by one stream
BLOCKS_REMEMBERED = 256  # whose events can be taken back where the node has thrown the block away
OUTAGE_S_MAX = 60.0  # that a stream outlives its node


class EventStream:
    """One stream. ``scripts``: watched addresses by the scriptPubKey that they stand for."""

    def __init__(
        self, nodes: Nodes, clock: Clock, chain: str, scripts: Mapping[bytes, str], *, poll_interval_s: float
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._asset = native_asset(chain)
        self._scripts = scripts
        self._poll_interval_s = poll_interval_s
        self._told: OrderedDict[str, tuple[BlockHeader, tuple[ChainEvent, ...]]] = OrderedDict()  # by block hash
        self._resumed = False  # from a cursor
        self._heard = clock.monotonic()

    async def follow(self, cursor: str) -> AsyncIterator[ChainEvent]:
        """Events behind ``cursor``, or from the next block on; without end."""
        if cursor:
            position = Position.parse(cursor)
            self._resumed = True
            block = await self._block_of(position)
            for event in await self._left(block, position):
                yield event
            if position.removed:
                block = await self._before(block)
        else:
            block = await self._require_header((await self._nodes.tip()).hash)
        while True:
            try:
                following = await self._next(block)
                events = () if following is None else await self._step(block, following)
                self._heard = self._clock.monotonic()
            except ChainUnavailable:
                if self._clock.monotonic() - self._heard > OUTAGE_S_MAX:
                    raise
                following, events = None, ()
            for event in events:
                yield event
            if following is None:
                await self._clock.sleep(self._poll_interval_s)
            else:
                block = following

    async def _block_of(self, position: Position) -> BlockHeader:
        block = await self._header(position.block)
        if block is None or block.height != position.height:
            raise Expired("the node no longer knows the block of the cursor")
        await self._known_events(block)
        return block

    async def _left(self, block: BlockHeader, position: Position) -> Sequence[ChainEvent]:
        """What is left of the block that a cursor points into: the events behind it or, taking back, before it."""
        events = await self._events(block)
        if position.removed:
            return [event for event in self._taken_back(block) if _place(event) < position.place]
        current = await self._header(block.hash)
        if current is not None and current.in_best_chain:
            return [event for event in events if _place(event) > position.place]
        self._remember(block, tuple(event for event in events if _place(event) <= position.place))
        return []

    async def _step(self, block: BlockHeader, following: BlockHeader) -> Sequence[ChainEvent]:
        """What a step tells: forward, the events of the next block; back, that those of this one are taken back."""
        if following.height > block.height:
            return await self._events(following)
        if self._resumed:  # what an earlier stream has told is taken back, too
            await self._known_events(block)
        return self._taken_back(block)

    async def _next(self, block: BlockHeader) -> BlockHeader | None:
        """The block after ``block``, or the one before it if ``block`` was dropped; None at the tip."""
        current = await self._header(block.hash)
        if current is None or not current.in_best_chain:
            return await self._before(block)
        following = await self._nodes.ask(lambda node: node.block_hash(block.height + 1))
        if following is None:
            return None
        header = await self._require_header(following)
        # Between the two answers the chain may have changed: the next look will tell.
        return header if header.previous == block.hash else None

    async def _before(self, block: BlockHeader) -> BlockHeader:
        known = self._told.get(block.previous)
        found = await self._header(block.previous)
        if found is not None:
            return found
        if known is not None:
            return known[0]
        raise Expired("the node no longer knows the branch that was followed")

    async def _known_events(self, block: BlockHeader) -> None:
        """Read a block's events; :class:`Expired` if it was dropped and the node has thrown it away."""
        try:
            await self._events(block)
        except ChainUnavailable:
            current = await self._header(block.hash)
            if current is not None and current.in_best_chain:
                raise
            raise Expired("a block was dropped that was told of, and the node no longer has it") from None

    async def _events(self, block: BlockHeader) -> tuple[ChainEvent, ...]:
        known = self._told.get(block.hash)
        if known is not None:
            return known[1]
        transactions = await self._nodes.ask(lambda node: node.block_transactions(block))
        events = tuple(
            event for index, found in enumerate(transactions) for event in self._events_of(block, index, found)
        )
        self._remember(block, events)
        return events

    def _remember(self, block: BlockHeader, events: tuple[ChainEvent, ...]) -> None:
        self._told[block.hash] = (block, events)
        if len(self._told) > BLOCKS_REMEMBERED:
            self._told.popitem(last=False)

    def _events_of(self, block: BlockHeader, index: int, found: ChainTransaction) -> list[ChainEvent]:
        moved: dict[str, int] = {}
        for output in found.outputs:
            if (address := self._scripts.get(output.script)) is not None:
                moved[address] = moved.get(address, 0) + output.amount
        for each in found.inputs:
            if each.spent is None:
                raise ChainUnavailable("the node does not tell what a transaction spends")
            if (address := self._scripts.get(each.spent.script)) is not None:
                moved[address] = moved.get(address, 0) - each.spent.amount
        return [
            ChainEvent(
                cursor=str(Position(block.height, block.hash, index, address)),
                txid=found.txid,
                address=address,
                asset=self._asset,
                amount=moved[address],
                block=block.hash,
            )
            for address in sorted(moved)
            if moved[address]
        ]

    def _taken_back(self, block: BlockHeader) -> list[ChainEvent]:
        """The events of a dropped block, last one first."""
        _, events = self._told.pop(block.hash, (block, ()))
        taken = []
        for event in reversed(events):
            index, address = _place(event)
            cursor = str(Position(block.height, block.hash, index, address, removed=True))
            taken.append(
                ChainEvent(cursor, event.txid, event.address, event.asset, event.amount, event.block, removed=True)
            )
        return taken

    async def _header(self, block_hash: str) -> BlockHeader | None:
        return await self._nodes.ask(lambda node: node.header(block_hash))

    async def _require_header(self, block_hash: str) -> BlockHeader:
        found = await self._header(block_hash)
        if found is None:
            raise ChainUnavailable("the node does not know its own tip")
        return found


def _place(event: ChainEvent) -> tuple[int, str]:
    return Position.parse(event.cursor).place
