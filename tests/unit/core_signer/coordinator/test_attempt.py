"""A session as the coordinator sees it: when it moves, when it ends, and what it says about whom."""

import asyncio

import pytest

from keyquorum_core_signer.coordinator import attempt as attempt_module
from keyquorum_core_signer.coordinator.attempt import Attempt
from keyquorum_core_signer.coordinator.breaker import Outcome
from keyquorum_core_signer.coordinator.states import LateProgress
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.signer.v1 import signer_pb2

A, B, C = NODES = ("a", "b", "c")
DONE = party_pb2.SessionResult(signatures=[b"s"])


def failed(code="internal", *, retriable=True, culprits=()):
    error = signer_pb2.OperationError(code=code, retriable=retriable, culprits=culprits)
    return party_pb2.SessionResult(error=error)


def make(nodes=NODES, *, patient=False, on_round=None):
    rounds = []
    attempt = Attempt(nodes, patient=patient, on_round=on_round or rounds.append)
    return attempt, rounds


def outcomes(attempt):
    return {node: (outcome.name, demerits) for node, (outcome, demerits) in attempt.outcomes().items()}


async def test_a_round_counts_when_all_have_finished_it():
    """The slowest decides, every round is told once, and skipped reports are filled in."""
    attempt, rounds = make()
    for node in (A, B):
        attempt.on_progress(node, 0)
        attempt.on_progress(node, 1)
    assert rounds == []
    attempt.on_progress(C, 1)
    assert rounds == [0, 1]
    attempt.on_progress(C, 1)
    attempt.on_progress(C, 0)
    assert rounds == [0, 1]


@pytest.mark.parametrize("reported", [-1, 65, 2**32 - 1])
async def test_absurd_rounds_are_ignored(reported):
    """A party does not make us count to four billion."""
    attempt, rounds = make((A, B))
    attempt.on_progress(A, 2)
    attempt.on_progress(B, reported)
    assert rounds == []


async def test_who_is_done_holds_nobody_up():
    """A result stands for all rounds; with the last one the session ends."""
    attempt, rounds = make()
    attempt.on_result(A, DONE)
    attempt.on_progress(B, 0)
    attempt.on_progress(C, 0)
    assert rounds == [0]
    attempt.on_result(B, DONE)
    assert not attempt.ended.done()
    attempt.on_result(C, DONE)
    assert attempt.ended.done()
    assert not attempt.incomplete
    assert outcomes(attempt) == dict.fromkeys(NODES, ("SUCCESS", 0))


async def test_a_loss_ends_the_session_and_blames_the_lost():
    """Nothing is learnt about the others."""
    attempt, _ = make()
    attempt.on_progress(A, 1)
    attempt.on_lost(B, "gone")
    assert attempt.ended.done()
    assert attempt.unfinished == (A, C)
    assert outcomes(attempt) == {A: ("CANCELLED", 0), B: ("FAILURE", 1), C: ("CANCELLED", 0)}


async def test_an_accusation_is_a_demerit_for_both_sides():
    """Whoever accuses may lie; names that take no part do not count."""
    attempt, _ = make()
    attempt.on_result(A, failed("protocol-abort", culprits=["b", "z"]))
    assert attempt.failures[A].culprits == ("b",)
    assert outcomes(attempt) == {A: ("FAILURE", 1), B: ("FAILURE", 1), C: ("CANCELLED", 0)}


async def test_a_refused_intent_is_nobodys_failure():
    """A party that applies its policy does its part."""
    attempt, _ = make()
    attempt.on_result(A, failed("policy-denied", retriable=False))
    assert outcomes(attempt) == {A: ("SUCCESS", 0), B: ("CANCELLED", 0), C: ("CANCELLED", 0)}


async def test_not_reaching_another_party_is_no_failure_of_its_own():
    """But it makes for a worse choice this time."""
    attempt, _ = make()
    attempt.on_result(A, failed("quorum-unavailable"))
    assert outcomes(attempt)[A] == ("CANCELLED", 1)


async def test_when_time_is_over_those_least_far_are_the_first_suspects():
    """Of the others that are not done each might still hold the session up."""
    attempt, _ = make(("a", "b", "c", "d"))
    attempt.on_progress(A, 1)
    attempt.on_progress(B, 0)
    attempt.on_result("d", DONE)
    attempt.expire()
    assert attempt.ended.done()
    assert outcomes(attempt) == {
        A: ("FAILURE", 1),
        B: ("FAILURE", 1),
        C: ("FAILURE", 2),
        "d": ("SUCCESS", 0),
    }


async def test_it_ends_by_its_timer():
    """At its deadline, if nothing else ends it before."""
    attempt, _ = make()
    attempt.expire_at(asyncio.get_running_loop().time() + 0.02)
    await attempt.ended
    assert attempt.expired
    attempt.close()


async def test_progress_that_is_too_late_ends_it():
    """The operation's guard decides, and a link's reader does not suffer from it."""

    def late(_round):
        raise LateProgress

    attempt, _ = make((A, B), on_round=late)
    attempt.on_progress(A, 0)
    attempt.on_progress(B, 0)
    assert attempt.expired


async def test_nothing_counts_after_the_end():
    """Late answers change neither results nor blame."""
    attempt, rounds = make()
    attempt.on_lost(A, "gone")
    attempt.on_progress(B, 0)
    attempt.on_result(B, DONE)
    attempt.on_result(C, failed())
    attempt.on_lost(C, "gone too")
    attempt.expire()
    assert (rounds, attempt.results, attempt.failures, list(attempt.lost), attempt.expired) == ([], {}, {}, [A], False)


class TestPatience:
    """Making a key: from the second round on a failure is not the end at once."""

    async def test_before_anything_is_stored_a_failure_ends_it(self):
        """Nobody can have a certificate yet."""
        attempt, _ = make(patient=True)
        attempt.on_progress(A, 1)
        attempt.on_lost(B, "gone")
        assert attempt.ended.done()
        assert not attempt.prepared

    async def test_afterwards_the_others_get_a_moment(self, monkeypatch):
        """A certificate that arrives within it counts."""
        monkeypatch.setattr(attempt_module, "LAGGARD_S", 0.05)
        attempt, _ = make(patient=True)
        attempt.on_progress(A, 2)
        attempt.on_lost(B, "gone")
        assert attempt.prepared
        assert not attempt.ended.done()
        attempt.on_result(A, DONE)
        await attempt.ended
        assert list(attempt.results) == [A]
        assert not attempt.expired
        attempt.close()

    async def test_when_all_have_ended_nobody_is_waited_for(self):
        """Results, losses and failures all count as ends."""
        attempt, _ = make(patient=True)
        attempt.on_result(A, DONE)
        attempt.on_lost(B, "gone")
        assert not attempt.ended.done()
        attempt.on_result(C, failed())
        assert attempt.ended.done()
        attempt.close()


def test_outcomes_are_the_breakers():
    """The three that a permit takes."""
    assert {outcome.name for outcome in Outcome} == {"SUCCESS", "FAILURE", "CANCELLED"}
