"""A notice that something changed, for any number of waiters."""

import asyncio


class Notice:
    """Wakes everybody who waits at the moment of :meth:`give`; later waiters wait for the next one.

    A waiter looks at the state it cares about before and after waiting, without awaiting anything in between, and so
    misses no change.
    """

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def give(self) -> None:
        """Wake the waiters."""
        waited_for, self._next = self._next, None
        if waited_for is not None and not waited_for.done():
            waited_for.set_result(None)

    async def wait(self) -> None:
        """Wait for the next change."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)  # one waiter's cancellation is not the others'
