"""Many callers, few requests: what is asked for while requests are under way goes out together in the next one.

Nothing waits for company: a lone caller's request leaves at once. An answer is never older than the question, as only
questions that have not left yet are joined.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
        self._waiting: dict[K, list[asyncio.Future[V]]] = {}  # one for each caller, who may go
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False

    async def get(self, *keys: K) -> list[V]:
        """The values of some keys."""
        if self._closed:
            raise ChainUnavailable("the adapter is closed")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._leave)
        wanted: list[asyncio.Future[V]] = []
        for key in keys:
            wanted.append(loop.create_future())
            self._waiting.setdefault(key, []).append(wanted[-1])
        return [await future for future in wanted]

    async def close(self) -> None:
        """End what is under way, and what waits."""
        self._closed = True
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        _fail(self._waiting, "the adapter is closed")
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

    async def _fetch(self, asked: dict[K, list[asyncio.Future[V]]]) -> None:
        try:
            values = await self._ask(list(asked))
            for key, futures in asked.items():
                for future in futures:
                    if not future.done():
                        future.set_result(values[key])
        except ChainUnavailable as error:
            _fail(asked, error.detail)
        finally:
            _fail(asked, "the adapter is closed")  # nothing but for those that have no answer


def _fail(asked: Mapping[K, Iterable[asyncio.Future[V]]], detail: str) -> None:
    for futures in asked.values():
        for future in futures:
            if not future.done():
                future.set_exception(ChainUnavailable(detail))
                future.exception()  # whoever asked may wait for another one, or have gone
