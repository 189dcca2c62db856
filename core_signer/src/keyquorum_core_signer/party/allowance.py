"""How much of something may happen: a burst at once, and a steady rate after it."""


class Allowance:
    """A token bucket. Time is told to it; one that goes back gives nothing."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = float(burst)
        self._per_ms = per_s / 1000
        self._left = float(burst)
        self._seen_ms: int | None = None

    def take(self, now_ms: int) -> bool:
        """Whether it may happen once more."""
        if self._seen_ms is not None:
            self._left = min(self._burst, self._left + max(0, now_ms - self._seen_ms) * self._per_ms)
        self._seen_ms = now_ms
        if self._left < 1:
            return False
        self._left -= 1
        return True
