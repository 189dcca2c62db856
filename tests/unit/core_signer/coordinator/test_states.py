"""Every pair of state and trigger, against a picture of the machine that is drawn here a second time."""

import itertools

import pytest

from keyquorum_core_signer.coordinator.states import (
    TERMINAL,
    TRANSITIONS,
    IllegalTransition,
    LateProgress,
    Stage,
    State,
    Trigger,
)
from keyquorum_protos.signer.v1 import signer_pb2

PICTURE = """
KEY_SHARE    KEY_LOCATED   PREPARE_SIGN
KEY_SHARE    REFUSED       FAILED
KEY_SHARE    GIVE_UP       FAILED
PREPARE_SIGN ADMITTED      SIGN_ROUND1
PREPARE_SIGN RESULTS_IN    VERIFY
PREPARE_SIGN DEADLINE      TIMEOUT
PREPARE_SIGN PARTY_LOST    TIMEOUT
PREPARE_SIGN PARTY_FAILED  RECOVERY
PREPARE_SIGN REFUSED       FAILED
PREPARE_SIGN GIVE_UP       FAILED
SIGN_ROUND1  ROUND_DONE    SIGN_ROUND2
SIGN_ROUND1  RESULTS_IN    VERIFY
SIGN_ROUND1  DEADLINE      TIMEOUT
SIGN_ROUND1  PARTY_LOST    TIMEOUT
SIGN_ROUND1  PARTY_FAILED  RECOVERY
SIGN_ROUND1  REFUSED       FAILED
SIGN_ROUND1  GIVE_UP       FAILED
SIGN_ROUND2  ROUND_DONE    SIGN_ROUND2
SIGN_ROUND2  RESULTS_IN    VERIFY
SIGN_ROUND2  DEADLINE      TIMEOUT
SIGN_ROUND2  PARTY_LOST    TIMEOUT
SIGN_ROUND2  PARTY_FAILED  RECOVERY
SIGN_ROUND2  REFUSED       FAILED
SIGN_ROUND2  GIVE_UP       FAILED
VERIFY       VERIFIED      COMPLETE
VERIFY       PARTY_FAILED  RECOVERY
VERIFY       REFUSED       FAILED
VERIFY       GIVE_UP       FAILED
TIMEOUT      RETRY         RECOVERY
TIMEOUT      GIVE_UP       FAILED
RECOVERY     RETRY         PREPARE_SIGN
RECOVERY     GIVE_UP       FAILED
FAILED       REOPENED      KEY_SHARE
"""
EXPECTED = {(State[a], Trigger[b]): State[c] for a, b, c in (row.split() for row in PICTURE.strip().splitlines())}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)), ids=lambda value: value.name)
def test_every_pair(state, trigger):
    """A pair leads where the picture says, or cannot happen."""
    stage = Stage(state, 10.0)
    if (state, trigger) in EXPECTED:
        following = stage.after(trigger, now=5.0, deadline=20.0)
        assert stage.allows(trigger)
        assert following.state is EXPECTED[state, trigger]
        assert following.deadline == (None if following.terminal else 20.0)
    else:
        assert not stage.allows(trigger)
        with pytest.raises(IllegalTransition):
            stage.after(trigger, now=5.0, deadline=20.0)


def test_the_table_holds_nothing_else():
    """The table and the picture are the same set."""
    assert dict(TRANSITIONS) == EXPECTED


def test_every_operation_can_end_from_everywhere():
    """From every state a terminal state is reached, and giving up is always possible where something is waited for."""
    for state in State:
        reached, frontier = {state}, [state]
        while frontier:
            current = frontier.pop()
            for (source, _), target in TRANSITIONS.items():
                if source is current and target not in reached:
                    reached.add(target)
                    frontier.append(target)
        assert reached & TERMINAL
        if state not in TERMINAL:
            assert TRANSITIONS[state, Trigger.GIVE_UP] is State.FAILED


def test_complete_is_for_ever():
    """Nothing leads out of COMPLETE, and only the same intent sent again leads out of FAILED."""
    assert [trigger for state, trigger in TRANSITIONS if state is State.COMPLETE] == []
    assert [trigger for state, trigger in TRANSITIONS if state is State.FAILED] == [Trigger.REOPENED]


def test_only_verification_completes():
    """There is one way into COMPLETE."""
    assert [pair for pair, target in TRANSITIONS.items() if target is State.COMPLETE] == [
        (State.VERIFY, Trigger.VERIFIED)
    ]


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        (State.KEY_SHARE, Trigger.KEY_LOCATED),
        (State.PREPARE_SIGN, Trigger.ADMITTED),
        (State.SIGN_ROUND1, Trigger.ROUND_DONE),
        (State.SIGN_ROUND2, Trigger.ROUND_DONE),
    ],
)
def test_progress_behind_the_deadline_is_refused(state, trigger):
    """At the deadline progress still counts, behind it it does not."""
    stage = Stage(state, 10.0)
    assert stage.after(trigger, now=10.0, deadline=20.0).state is EXPECTED[state, trigger]
    with pytest.raises(LateProgress):
        stage.after(trigger, now=10.001, deadline=20.0)


def test_failures_and_results_are_taken_however_late():
    """What ends or recovers an operation has no deadline, and what was made was made."""
    for (state, trigger), target in EXPECTED.items():
        if target in (State.FAILED, State.TIMEOUT, State.RECOVERY, State.VERIFY, State.COMPLETE):
            assert Stage(state, 10.0).after(trigger, now=1e9, deadline=2e9).state is target


def test_values_are_those_of_the_wire():
    """A state is written to gateways as the number that the proto gives its name."""
    assert {f"OPERATION_STATE_{state.name}": state.value for state in State} == {
        name: number for name, number in signer_pb2.OperationState.items() if number
    }
