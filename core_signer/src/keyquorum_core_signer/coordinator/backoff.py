"""How long to wait before the next attempt."""

from collections.abc import Callable


class Backoff:
    """Doubles from ``least_s`` to ``most_s``; each wait is drawn from the upper half, so that nobody acts in step."""

    def __init__(self, least_s: float, most_s: float, rng: Callable[[], float]) -> None:
        """``rng`` gives numbers in [0, 1)."""
        self._least_s = least_s
        self._most_s = most_s
        self._rng = rng
        self._next_s = least_s

    def next(self) -> float:
        """Seconds to wait now."""
        wait_s = self._next_s * (0.5 + 0.5 * self._rng())
        self._next_s = min(self._next_s * 2, self._most_s)
        return wait_s

    def reset(self) -> None:
        """Begin anew: things have been well for a while."""
        self._next_s = self._least_s
