"""The orchestration state machine: where an operation stands, and what may happen next.

``KEY_SHARE → PREPARE_SIGN → SIGN_ROUND1 → SIGN_ROUND2 → VERIFY → COMPLETE`` is the whole of a good day. Whatever goes
wrong with a quorum leads through ``TIMEOUT`` and ``RECOVERY`` back to ``PREPARE_SIGN``, with the same intent; whatever
is wrong with the intent, or has taken too long, ends in ``FAILED``. The names are those of signing; a key is made in
the same states.

A transition that is not in :data:`TRANSITIONS` cannot be taken: asking for one is our own bug and raises. Every state
that waits for somebody has a deadline, and :meth:`Stage.after` refuses progress that arrives behind it. Results are
no progress in that sense: they imply the rounds before them, whether or not those were reported, and a key that exists
or a signature that was made is not undone by the clock.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


class State(enum.IntEnum):
    """Where an operation stands; the values are those of the wire's OperationState."""

    KEY_SHARE = 1
    PREPARE_SIGN = 2
    SIGN_ROUND1 = 3
    SIGN_ROUND2 = 4
    VERIFY = 5
    COMPLETE = 6
    TIMEOUT = 7
    RECOVERY = 8
    FAILED = 9


class Trigger(enum.Enum):
    """What happened to an operation."""

    KEY_LOCATED = "the key's certificate is known, or a key is to be made"
    ADMITTED = "every party of the quorum admitted the intent"
    ROUND_DONE = "every party of the quorum finished the round"
    RESULTS_IN = "as many results are in as are needed"
    VERIFIED = "the result holds"
    DEADLINE = "the state took too long"
    PARTY_LOST = "the link to a party of the quorum broke"
    PARTY_FAILED = "a party of the quorum failed, in a way that another quorum may not"
    RETRY = "there is time left for another quorum"
    GIVE_UP = "there is no time left, or no quorum to be had, or we are stopping"
    REFUSED = "the intent itself was refused"
    REOPENED = "the same intent was sent again after a failure that may be retried"


TERMINAL: Final = frozenset({State.COMPLETE, State.FAILED})
PROGRESS: Final = frozenset({Trigger.KEY_LOCATED, Trigger.ADMITTED, Trigger.ROUND_DONE})

_TABLE: Final[Mapping[State, Mapping[Trigger, State]]] = {
    State.KEY_SHARE: {
        Trigger.KEY_LOCATED: State.PREPARE_SIGN,
        Trigger.REFUSED: State.FAILED,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.PREPARE_SIGN: {
        Trigger.ADMITTED: State.SIGN_ROUND1,
        Trigger.RESULTS_IN: State.VERIFY,
        Trigger.DEADLINE: State.TIMEOUT,
        Trigger.PARTY_LOST: State.TIMEOUT,
        Trigger.PARTY_FAILED: State.RECOVERY,
        Trigger.REFUSED: State.FAILED,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.SIGN_ROUND1: {
        Trigger.ROUND_DONE: State.SIGN_ROUND2,
        Trigger.RESULTS_IN: State.VERIFY,
        Trigger.DEADLINE: State.TIMEOUT,
        Trigger.PARTY_LOST: State.TIMEOUT,
        Trigger.PARTY_FAILED: State.RECOVERY,
        Trigger.REFUSED: State.FAILED,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.SIGN_ROUND2: {
        Trigger.ROUND_DONE: State.SIGN_ROUND2,
        Trigger.RESULTS_IN: State.VERIFY,
        Trigger.DEADLINE: State.TIMEOUT,
        Trigger.PARTY_LOST: State.TIMEOUT,
        Trigger.PARTY_FAILED: State.RECOVERY,
        Trigger.REFUSED: State.FAILED,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.VERIFY: {
        Trigger.VERIFIED: State.COMPLETE,
        Trigger.PARTY_FAILED: State.RECOVERY,
        Trigger.REFUSED: State.FAILED,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.TIMEOUT: {
        Trigger.RETRY: State.RECOVERY,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.RECOVERY: {
        Trigger.RETRY: State.PREPARE_SIGN,
        Trigger.GIVE_UP: State.FAILED,
    },
    State.COMPLETE: {},
    State.FAILED: {
        Trigger.REOPENED: State.KEY_SHARE,
    },
}

TRANSITIONS: Final[Mapping[tuple[State, Trigger], State]] = MappingProxyType(
    {(state, trigger): following for state, row in _TABLE.items() for trigger, following in row.items()}
)


class IllegalTransition(Exception):
    """Proves a bug of ours: something was reported to an operation that cannot happen in its state."""

    def __init__(self, state: State, trigger: Trigger) -> None:
        self.state = state
        self.trigger = trigger
        super().__init__(f"{trigger.name} in {state.name}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A state and the monotonic second until which it may last; None for a terminal state."""

    state: State
    deadline: float | None

    @property
    def terminal(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in TERMINAL

    def late(self, now: float) -> bool:
        """Whether the state has lasted too long."""
        return self.deadline is not None and now > self.deadline

    def allows(self, trigger: Trigger) -> bool:
        """Whether the table has a transition for it."""
        return (self.state, trigger) in TRANSITIONS

    def after(self, trigger: Trigger, now: float, deadline: float) -> "Stage":
        """The stage that follows; ``deadline`` is until when it may last.

        Progress behind the present deadline is not progress: :class:`LateProgress` is raised, and the caller reports
        DEADLINE instead. Raises :class:`IllegalTransition` for what is not in the table.
        """
        following = TRANSITIONS.get((self.state, trigger))
        if following is None:
            raise IllegalTransition(self.state, trigger)
        if trigger in PROGRESS and self.late(now):
            raise LateProgress
        return Stage(following, None if following in TERMINAL else deadline)


class LateProgress(Exception):
    """Proves that a state's deadline had passed when its progress was reported."""
