"""A circuit breaker: a party that keeps failing is left alone, then tried by exactly one caller.

==========  ==========================================  =========================================================
state       what happens                                what follows
==========  ==========================================  =========================================================
closed      everybody is admitted                       ``failures_max`` consecutive failures: open
                                                        a success: the count starts again
open        nobody is admitted                          the time-out passed and somebody asks: half open
half open   the one who asked is admitted: the probe    it succeeds: closed, back-off forgotten
                                                        it fails: open, for twice as long, up to the maximum
                                                        it is cancelled: open, time-out passed: the next asks
==========  ==========================================  =========================================================

A cancellation proves nothing about the party and changes nothing else. What was admitted before the breaker opened
and ends after it says nothing new and is ignored. Time-outs get up to a quarter of jitter, so that the breakers of
several coordinators do not probe in step.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

_JITTER = 0.25


class BreakerState(enum.Enum):
    """Where a breaker stands; the value is what the metric shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Outcome(enum.Enum):
    """What using a party once showed."""

    SUCCESS = "it did its part"
    FAILURE = "it did not do its part"
    CANCELLED = "nothing was learnt about it"


class Permit:
    """Leave to use the party once. The first outcome that is reported counts; later ones are ignored."""

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[Outcome], None]) -> None:
        self._report: Callable[[Outcome], None] | None = report

    def settle(self, outcome: Outcome) -> None:
        """Report how it went."""
        report, self._report = self._report, None
        if report is not None:
            report(outcome)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open and for how long, in seconds."""

    failures_max: int = 3
    reset_s: float = 1.0
    reset_s_max: float = 30.0


class CircuitBreaker:
    """The breaker of one party. Single-threaded: all calls come from the coordinator's event loop."""

    def __init__(
        self,
        policy: BreakerPolicy,
        clock: Callable[[], float],
        rng: Callable[[], float],
        on_change: Callable[[BreakerState], None] = lambda _state: None,
    ) -> None:
        """``clock`` gives monotonic seconds, ``rng`` numbers in [0, 1) for jitter."""
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._reset_s = policy.reset_s
        self._retry_at = 0.0
        self._generation = 0

    @property
    def state(self) -> BreakerState:
        """The state as it was left by the last call."""
        return self._state

    def admits(self) -> bool:
        """Whether :meth:`admit` would give a permit now."""
        return self._state is BreakerState.CLOSED or (
            self._state is BreakerState.OPEN and self._clock() >= self._retry_at
        )

    def admit(self) -> Permit | None:
        """A permit to use the party, or None. Whoever gets one reports its outcome, whatever happens."""
        if not self.admits():
            return None
        if self._state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        return Permit(partial(self._settle, self._generation))

    def retry_in(self) -> float:
        """Seconds until a probe may be admitted; 0 where one may be now, or where only the probe under way can tell."""
        return max(0.0, self._retry_at - self._clock()) if self._state is BreakerState.OPEN else 0.0

    def _settle(self, generation: int, outcome: Outcome) -> None:
        if generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._settle_probe(outcome)
        elif outcome is Outcome.SUCCESS:
            self._failures = 0
        elif outcome is Outcome.FAILURE:
            self._failures += 1
            if self._failures >= self._policy.failures_max:
                self._open()

    def _settle_probe(self, outcome: Outcome) -> None:
        if outcome is Outcome.SUCCESS:
            self._reset_s = self._policy.reset_s
            self._enter(BreakerState.CLOSED)
        elif outcome is Outcome.FAILURE:
            self._reset_s = min(self._reset_s * 2, self._policy.reset_s_max)
            self._open()
        else:
            self._retry_at = self._clock()
            self._enter(BreakerState.OPEN)

    def _open(self) -> None:
        self._failures = 0
        self._retry_at = self._clock() + self._reset_s * (1 + _JITTER * self._rng())
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._on_change(state)
