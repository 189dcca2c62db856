"""The nodes of one network: each has to be of that network before it is believed, and one stands in for another."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from keyquorum_btc.network import NAMESPACE
from keyquorum_btc.node import BitcoinNode, BlockRef
from keyquorum_btc.transport import NoAnswer
from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.errors import ChainUnavailable

T = TypeVar("T")

CHAIN_CHECK_S = 60.0  # how long a node is believed to serve the network it served before
REST_S = 10.0  # for which a node that gave no answer is asked last
_REFERENCE_CHARS = 32  # of the genesis hash, in a CAIP-2 id


@dataclass(slots=True)
class _Peer:
    node: BitcoinNode
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    checked_at: float | None = None
    rests_until: float = 0.0


class Nodes:
    """One node, or one and another for when it is away. Every read raises :class:`ChainUnavailable` and nothing else."""

    def __init__(self, nodes: Sequence[BitcoinNode], chain: str, clock: Clock) -> None:
        self._peers = [_Peer(node) for node in nodes]
        self._chain = chain
        self._clock = clock
        self._tip: tuple[float, BlockRef] | None = None
        self._tip_lock = asyncio.Lock()

    async def ask(self, question: Callable[[BitcoinNode], Awaitable[T]]) -> T:
        """The first answer."""
        details = []
        for peer in self._order():
            try:
                await self._require_chain(peer)
                return await question(peer.node)
            except NoAnswer as error:
                peer.rests_until = self._clock.monotonic() + REST_S
                details.append(error.detail)
        raise ChainUnavailable(details[0])

    async def each(self) -> tuple[BitcoinNode, ...]:
        """The nodes that are of this network, at least one of them, to be handed something."""
        found, details = [], []
        for peer in self._order():
            try:
                await self._require_chain(peer)
                found.append(peer.node)
            except NoAnswer as error:
                details.append(error.detail)
        if not found:
            raise ChainUnavailable(details[0])
        return tuple(found)

    async def tip(self, max_age_s: float = 0.0) -> BlockRef:
        """The last block, as it was at most ``max_age_s`` before this call; concurrent callers share one request."""
        asked_at = self._clock.monotonic()
        async with self._tip_lock:
            if self._tip is None or self._tip[0] < asked_at - max_age_s:
                now = self._clock.monotonic()
                self._tip = (now, await self.ask(lambda node: node.tip()))
            return self._tip[1]

    async def health(self) -> Mapping[str, str]:
        """Facts about the node that answers; its network is checked anew."""
        for peer in self._peers:
            peer.checked_at = None
        tip = await self.tip()
        return {
            "genesis_hash": await self.ask(lambda node: node.genesis_hash()),
            "version": await self.ask(lambda node: node.version()),
            "height": str(tip.height),
            "tip": tip.hash,
        }

    def _order(self) -> list[_Peer]:
        now = self._clock.monotonic()
        return sorted(self._peers, key=lambda peer: peer.rests_until > now)

    async def _require_chain(self, peer: _Peer) -> None:
        async with peer.lock:
            if peer.checked_at is not None and self._clock.monotonic() - peer.checked_at <= CHAIN_CHECK_S:
                return
            genesis = await peer.node.genesis_hash()
            if f"{NAMESPACE}:{genesis[:_REFERENCE_CHARS]}" != self._chain:
                peer.checked_at = None
                raise NoAnswer("the node serves another network", acted=False)
            peer.checked_at = self._clock.monotonic()
