"""What a party reports is cut to what may be passed on; what ends an operation is told from what does not."""

import pytest

from keyquorum_core_signer.coordinator.failures import Failure, most_specific
from keyquorum_core_signer.coordinator.states import State
from keyquorum_protos.signer.v1 import signer_pb2


@pytest.mark.parametrize(
    ("code", "retriable", "refuses"),
    [
        ("policy-denied", False, True),
        ("policy-denied", True, False),
        ("intent-invalid", False, True),
        ("scheme-unavailable", False, True),
        ("operation-conflict", False, True),
        ("some-later-code", False, True),
        ("protocol-abort", False, False),
        ("internal", False, False),
        ("key-not-found", False, False),
        ("overloaded", False, False),
        ("deadline-exceeded", False, False),
        ("quorum-unavailable", True, False),
    ],
)
def test_what_refuses_an_intent(code, retriable, refuses):
    """Codes about a party or a quorum never do, others do unless they may be retried."""
    assert Failure(code, "x", retriable=retriable).refuses_intent is refuses


def test_a_partys_words_are_cut():
    """Unknown nodes, control characters, endless text and codes that are none do not pass."""
    reported = signer_pb2.OperationError(
        code="Not A Code!", detail="a\x1b[31m\nb" + "x" * 10_000, culprits=["b", "z", "b", "a"], retriable=True
    )
    failure = Failure.from_party(reported, ["a", "b"])
    assert failure.code == "internal"
    assert failure.culprits == ("a", "b")
    assert failure.detail.startswith("a [31m b")
    assert failure.detail.isprintable()
    assert len(failure.detail) == 512
    assert failure.stage is None


@pytest.mark.parametrize("stage", [None, *State])
def test_the_wire_keeps_a_failure_as_it_is(stage):
    """Through OperationError and back."""
    failure = Failure("protocol-abort", "why", stage, ("party-1", "party-2"), retriable=True)
    assert Failure.from_proto(failure.to_proto()) == failure


def test_the_most_specific_failure_is_told():
    """A refused intent, then what names somebody, then the code that says most."""
    timeout = Failure("deadline-exceeded", "x")
    abort = Failure("protocol-abort", "x")
    named = Failure("deadline-exceeded", "x", culprits=("party-1",))
    refused = Failure("policy-denied", "x")
    assert most_specific([]) is None
    assert most_specific([timeout, abort]) is abort
    assert most_specific([abort, named, timeout]) is named
    assert most_specific([named, refused, abort]) is refused
