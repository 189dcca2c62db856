"""One thread that all calls to a key-encryption key go through, one after the other.

python-pkcs11 is not safe across threads, not even with a session for each; and scrypt has no place on an event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from keyquorum_core_signer.hsm.ports import HsmUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class KekThread:
    """A pool of exactly one thread that can be closed from any task."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kek")
        self._closed = False

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``call(*args)`` on the thread; raises HsmUnavailable once closed, and whatever the call raises."""
        if self._closed:
            raise HsmUnavailable("the key-encryption key is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: call(*args, **kwargs))

    async def close(self, last: Callable[[], None]) -> None:
        """Run ``last`` after all calls so far, then end the thread. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, last)
        finally:
            self._executor.shutdown(wait=False)
