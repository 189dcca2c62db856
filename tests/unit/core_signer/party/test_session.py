"""A session before its worker: what peers can make it keep."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyquorum_core_signer.party import session as module
from keyquorum_core_signer.party.session import PartySession

INDICES = {"party-1": 1, "party-2": 2, "party-3": 3}


@pytest.fixture
def session() -> PartySession:
    """Still deciding: no worker has been opened."""
    roster = SimpleNamespace(node=lambda node_id: SimpleNamespace(index=INDICES[node_id]))
    return PartySession(
        services=cast("Any", SimpleNamespace(roster=roster)),
        link=cast("Any", None),
        route=1,
        ordered=cast("Any", None),
        participants=tuple(INDICES),
        session_id=bytes(32),
        deadline_s=1.0,
        traceparent="",
    )


def test_a_peer_that_floods_does_not_crowd_out_the_others(session: PartySession) -> None:
    """Each peer has its own few places for what it says while we still decide."""
    for _ in range(1000):
        session.receive("party-2", b"flood")
    session.receive("party-3", b"first")
    assert (INDICES["party-3"], b"first") in session._early
    assert len(session._early) == module.EARLY_FRAMES_MAX + 1


def test_frames_larger_than_any_message_are_not_kept(session: PartySession) -> None:
    """What is kept before an intent is admitted is bounded in bytes as well."""
    session.receive("party-2", bytes(module.EARLY_FRAME_BYTES_MAX))
    session.receive("party-2", bytes(module.EARLY_FRAME_BYTES_MAX + 1))
    assert [len(frame) for _, frame in session._early] == [module.EARLY_FRAME_BYTES_MAX]


def test_strangers_are_not_heard(session: PartySession) -> None:
    """A node of the roster that takes no part has nothing to say."""
    session.participants = ("party-1", "party-2")
    session.receive("party-3", b"me too")
    assert session._early == []
