"""Whose turn it is in a pair: sessions that check transfers use a pair's set-up one after the other.

A wrong guess at a transfer secret shows a bit of it, and costs the guesser the pair. Sessions in parallel would show a
bit each before the first verdict is in. So each waits until it is first in all of its pairs, in the order in which they
came; a coordinator starts sessions in one order at all parties, so that they do not wait for each other crosswise.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress


class Turn:
    """A place in the queues of some pairs."""

    def __init__(self, turns: "Turns", peers: tuple[str, ...]) -> None:
        self._turns = turns
        self.peers = peers
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self, seconds: float) -> bool:
        """Whether the turn came in that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.come)
        return self.come.done()

    def give_up(self) -> None:
        """Leave all queues; calling it again does nothing."""
        self._turns.leave(self)


class Turns:
    """The queues of all pairs of a party, over all of its links."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Turn]] = {}

    def queue(self, peers: Iterable[str]) -> Turn:
        """Stand in line with every one of ``peers``."""
        turn = Turn(self, tuple(peers))
        for peer in turn.peers:
            self._queues.setdefault(peer, deque()).append(turn)
        self._call(turn)
        return turn

    def take(self, peers: Iterable[str]) -> Turn | None:
        """A turn that has come, or None: whoever asks others to wait for it does not wait itself."""
        names = tuple(peers)
        return None if any(self._queues.get(peer) for peer in names) else self.queue(names)

    def leave(self, turn: Turn) -> None:
        """End a turn, and call whoever is next."""
        for peer in turn.peers:
            queue = self._queues.get(peer)
            if queue is None or turn not in queue:
                continue
            queue.remove(turn)
            if queue:
                self._call(queue[0])
            else:
                del self._queues[peer]

    def _call(self, turn: Turn) -> None:
        if not turn.come.done() and all(self._queues[peer][0] is turn for peer in turn.peers):
            turn.come.set_result(None)
