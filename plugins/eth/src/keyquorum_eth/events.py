"""What reaches and leaves watched addresses, block by block, and what a reorganisation takes back.

Coins: the value of each successful transaction, and for its sender the fee, also of a reverted one; so the events of an
address add up to its balance, but for coins that contracts send (those are no transactions, and only a tracing node sees
them). Tokens: the Transfer events of the configured tokens; anybody can deploy a contract that claims transfers, so others
are not looked at.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from keyquorum_eth.addresses import checksummed, parse_address
from keyquorum_eth.cursors import Cursor
from keyquorum_eth.heads import Heads
from keyquorum_eth.network import native_asset, token_asset
from keyquorum_eth.node import TRANSFER_TOPIC, EthereumNode
from keyquorum_eth.shapes import FullBlock, Log, Receipt
from keyquorum_plugin_api.chain import ChainEvent, Clock
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, Unsupported

ADDRESSES_MAX = 1_000
REMEMBERED_BLOCKS = 256  # that can be taken back; finality is at most some 100 blocks behind
OUTAGE_S_MAX = 60.0  # that a stream outlives its node


@dataclass(frozen=True, slots=True)
class Scanned:
    """A block whose events were told."""

    number: int
    block: str
    parent: str
    events: tuple[ChainEvent, ...] = ()


class EventReader:
    """Streams of events of one chain."""

    def __init__(self, node: EthereumNode, heads: Heads, clock: Clock, chain: str, tokens: Sequence[str]) -> None:
        self._node = node
        self._heads = heads
        self._clock = clock
        self._chain = chain
        self._tokens = [parse_address(token) for token in tokens]

    async def stream(self, addresses: Sequence[str], cursor: str) -> AsyncIterator[ChainEvent]:
        """Events from now on, or behind ``cursor``; :class:`Expired` where the chain no longer has the cursor's block."""
        if not 0 < len(addresses) <= ADDRESSES_MAX:
            raise Unsupported(f"1 to {ADDRESSES_MAX} addresses can be watched at a time")
        watched = frozenset(map(parse_address, addresses))
        told: deque[Scanned] = deque(maxlen=REMEMBERED_BLOCKS)
        if cursor:
            async for event in self._resumed(Cursor.parse(cursor), watched, told):
                yield event
        else:
            head = await self._node.head()
            told.append(Scanned(head.number, head.hash, head.parent))
        heard = self._clock.monotonic()
        async with self._heads.watch() as changed:
            while True:
                changed.clear()
                try:
                    async for event in self._caught_up(watched, told):
                        yield event
                    heard = self._clock.monotonic()
                except ChainUnavailable:
                    if self._clock.monotonic() - heard > OUTAGE_S_MAX:
                        raise
                await self._heads.pause(changed)

    async def _resumed(
        self, cursor: Cursor, watched: frozenset[bytes], told: deque[Scanned]
    ) -> AsyncIterator[ChainEvent]:
        """What is left of the cursor's own block."""
        block = await self._node.full_block(cursor.number)
        if block is None and (await self._node.head()).number < cursor.number:
            raise ChainUnavailable("the node has not come to the cursor's block yet")
        if block is None or block.hash != cursor.block:
            raise Expired(
                "the block of the cursor is not in the chain any more: read the balances anew and start from now"
            )
        scanned = await self._scanned(block, watched)
        told.append(scanned)
        for index, event in enumerate(scanned.events):
            if index > cursor.index:
                yield event

    async def _caught_up(self, watched: frozenset[bytes], told: deque[Scanned]) -> AsyncIterator[ChainEvent]:
        """Everything up to the chain's end, after whatever is no longer part of the chain was taken back."""
        while True:
            last = told[-1]
            following = await self._node.full_block(last.number + 1)
            if following is None or following.parent != last.block:
                here = await self._node.block(last.number)
                # Only another block in its place proves that a block was dropped: a node that is behind proves nothing.
                if here is None or here.hash == last.block:
                    return
                async for event in self._taken_back(told):
                    yield event
                continue
            scanned = await self._scanned(following, watched)
            told.append(scanned)
            for event in scanned.events:
                yield event

    async def _taken_back(self, told: deque[Scanned]) -> AsyncIterator[ChainEvent]:
        dropped = told.pop()
        if not told:
            raise Expired("a reorganisation went behind the beginning of this stream: read the balances anew")
        for index in range(len(dropped.events) - 1, -1, -1):
            place = Cursor(dropped.number, dropped.block, index - 1)
            if not index:
                place = Cursor(told[-1].number, told[-1].block)
            yield replace(dropped.events[index], cursor=str(place), removed=True)

    async def _scanned(self, block: FullBlock, watched: frozenset[bytes]) -> Scanned:
        coins = [each for each in block.transactions if each.sender in watched or each.to in watched]
        receipts = await self._node.receipts([each.hash for each in coins]) if coins else []
        moves: list[tuple[str, bytes, str, int]] = []
        for each, receipt in zip(coins, receipts, strict=True):
            settled = _of_block(receipt, block)
            value = each.value if settled.status else 0
            paid = value + settled.gas_used * settled.gas_price
            if each.sender in watched:
                moves.append((each.hash, each.sender, native_asset(self._chain), -paid))
            if each.to is not None and each.to in watched and value:
                moves.append((each.hash, each.to, native_asset(self._chain), value))
        if self._tokens:
            for log in await self._node.token_transfers(block.hash, self._tokens, sorted(watched)):
                moves += self._token_moves(log, block, watched)
        return Scanned(block.number, block.hash, block.parent, tuple(_events(block, moves)))

    def _token_moves(self, log: Log, block: FullBlock, watched: frozenset[bytes]) -> list[tuple[str, bytes, str, int]]:
        """The two sides of one Transfer event; nothing of an event that is none, whatever the node calls it."""
        if log.block != block.hash or log.contract not in self._tokens or len(log.data) != 32 or len(log.topics) != 3:
            raise ChainUnavailable("the node gives events that were not asked for")
        if log.topics[0] != TRANSFER_TOPIC:
            raise ChainUnavailable("the node gives events that were not asked for")
        amount = int.from_bytes(log.data, "big")
        source, destination = (bytes.fromhex(topic[-40:]) for topic in log.topics[1:])
        asset = token_asset(self._chain, log.contract)
        sides = [(source, -amount), (destination, amount)]
        return [(log.txid, party, asset, moved) for party, moved in sides if party in watched and moved]


def _of_block(receipt: Receipt | None, block: FullBlock) -> Receipt:
    if receipt is None or receipt.block != block.hash:
        raise ChainUnavailable("the block changed while it was read")
    return receipt


def _events(block: FullBlock, moves: Sequence[tuple[str, bytes, str, int]]) -> list[ChainEvent]:
    return [
        ChainEvent(
            cursor=str(Cursor(block.number, block.hash, index)),
            txid=txid,
            address=checksummed(party),
            asset=asset,
            amount=amount,
            block=str(block.number),
        )
        for index, (txid, party, asset, amount) in enumerate(moves)
    ]
