"""What stands reserved per key and asset in a rolling window, without adding up the window at every admission.

The ``spends`` table is the truth; this is a sum over it that moves along. It belongs to the writer's thread, sees what the
current transaction has written, and is dropped whenever a transaction is not committed.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from keyquorum_core_signer.store.limits import WINDOWS_CACHED_MAX

Load: TypeAlias = Callable[[str, str, int], Iterable[tuple[int, int]]]
"""``load(key_id, asset, after_ms)``: (at_ms, amount) of every reservation later than ``after_ms``, in order of time."""


@dataclass(slots=True)
class _Window:
    length_ms: int
    total: int = 0
    entries: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, at_ms: int, amount: int) -> None:
        self.entries.append((at_ms, amount))
        self.total += amount

    def expire(self, now_ms: int) -> None:
        while self.entries and self.entries[0][0] <= now_ms - self.length_ms:
            self.total -= self.entries.popleft()[1]


class SpendingWindows:
    """Sums of the windows in use. Time never goes back here: callers pass the high-water mark."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._windows: OrderedDict[tuple[str, str], dict[int, _Window]] = OrderedDict()

    def reserved(self, key_id: str, asset: str, window_s: int, now_ms: int) -> int:
        """What is reserved in the ``window_s`` seconds before ``now_ms``."""
        windows = self._windows.setdefault((key_id, asset), {})
        self._windows.move_to_end((key_id, asset))
        if window_s not in windows:
            windows[window_s] = self._loaded(key_id, asset, window_s, now_ms)
            if len(self._windows) > WINDOWS_CACHED_MAX:
                self._windows.popitem(last=False)
        window = windows[window_s]
        window.expire(now_ms)
        return window.total

    def add(self, key_id: str, asset: str, at_ms: int, amount: int) -> None:
        """A reservation was written."""
        for window in self._windows.get((key_id, asset), {}).values():
            window.add(at_ms, amount)

    def forget_key(self, key_id: str) -> None:
        """Reservations of the key were taken back; its sums are made again when they are next asked for."""
        for place in [place for place in self._windows if place[0] == key_id]:
            del self._windows[place]

    def clear(self) -> None:
        """What was written has been rolled back."""
        self._windows.clear()

    def _loaded(self, key_id: str, asset: str, window_s: int, now_ms: int) -> _Window:
        window = _Window(1000 * window_s)
        for at_ms, amount in self._load(key_id, asset, now_ms - window.length_ms):
            window.add(at_ms, amount)
        return window
