"""A notice that something changed, for any number of waiters."""

import asyncio


class Notice:
    """Wakes everybody who waits at the moment of :meth:`give`; later waiters wait for the next one.

    A waiter looks at the state it cares about before and after waiting, without awaiting anything in between, and so
    misses no change.
    """

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def give(self) -> None:
        """Wake the waiters."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next change."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
