"""Many callers, few requests: what is asked for while requests are under way goes out together in the next one.

Nothing waits for company: a lone caller's request leaves at once. An answer is never older than the question, as only
questions that have not left yet are joined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from keyquorum_plugin_api.errors import ChainUnavailable

K = TypeVar("K")
V = TypeVar("V")

UNDER_WAY_MAX = 4  # requests at a time


class Gatherer(Generic[K, V]):
    """Asks ``ask`` for at most ``keys_max`` keys at a time. ``ask`` answers for each key, or raises ChainUnavailable."""

    def __init__(self, ask: Callable[[list[K]], Awaitable[Mapping[K, V]]], *, keys_max: int) -> None:
        self._ask = ask
        self._keys_max = keys_max
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False

    async def get(self, *keys: K) -> list[V]:
        """The values of some keys."""
        if self._closed:
            raise ChainUnavailable("the adapter is closed")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._leave)
        for key in keys:
            if key not in self._waiting:
                self._waiting[key] = loop.create_future()
        wanted = [self._waiting[key] for key in keys]
        found = await asyncio.gather(*map(asyncio.shield, wanted), return_exceptions=True)
        values: list[V] = []
        for value in found:
            if isinstance(value, asyncio.CancelledError):
                raise ChainUnavailable("the adapter is closed")
            if isinstance(value, BaseException):
                raise value
            values.append(value)
        return values

    async def close(self) -> None:
        """End what is under way, and what waits."""
        self._closed = True
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()

    def _leave(self) -> None:
        while self._waiting and len(self._under_way) < UNDER_WAY_MAX and not self._closed:
            keys = list(self._waiting)[: self._keys_max]
            task = asyncio.create_task(
                self._fetch({key: self._waiting.pop(key) for key in keys}), name="keyquorum-sol-reads"
            )
            self._under_way.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._leave()

    async def _fetch(self, asked: dict[K, asyncio.Future[V]]) -> None:
        try:
            values = await self._ask(list(asked))
        except ChainUnavailable as error:
            for future in asked.values():
                future.set_exception(ChainUnavailable(error.detail))
                future.exception()  # whoever asked may have gone
        else:
            for key, future in asked.items():
                future.set_result(values[key])
        finally:
            for future in asked.values():
                future.cancel()  # nothing but for those that have no answer
