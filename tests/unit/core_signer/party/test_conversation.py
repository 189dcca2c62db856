"""A conversation before its worker: what peers can make a party keep."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyquorum_core_signer.party import conversation as module
from keyquorum_core_signer.party.conversation import Conversation

INDICES = {"party-1": 1, "party-2": 2, "party-3": 3}
PAYLOAD_BYTES = 100


@pytest.fixture
def conversation() -> Conversation:
    """Still deciding: no worker has been opened."""
    roster = SimpleNamespace(node=lambda node_id: SimpleNamespace(index=INDICES[node_id]))
    return Conversation(
        pool=cast("Any", None),
        roster=cast("Any", roster),
        participants=tuple(INDICES),
        send_peer=lambda _node, _frame: True,
        payload_bytes_max=PAYLOAD_BYTES,
    )


def test_a_peer_that_floods_does_not_crowd_out_the_others(conversation: Conversation) -> None:
    """Each peer has its own few places for what it says while we still decide."""
    for _ in range(1000):
        conversation.receive("party-2", b"flood")
    conversation.receive("party-3", b"first")
    assert (INDICES["party-3"], b"first") in conversation._early
    assert len(conversation._early) == module.EARLY_FRAMES_MAX + 1


def test_frames_larger_than_any_message_are_not_kept(conversation: Conversation) -> None:
    """What is kept before an intent is admitted is bounded in bytes as well."""
    largest = PAYLOAD_BYTES + module.ENVELOPE_BYTES
    conversation.receive("party-2", bytes(largest))
    conversation.receive("party-2", bytes(largest + 1))
    assert [len(frame) for _, frame in conversation._early] == [largest]


def test_strangers_are_not_heard(conversation: Conversation) -> None:
    """A node of the roster that takes no part has nothing to say."""
    conversation.participants = ("party-1", "party-2")
    conversation.receive("party-3", b"me too")
    assert conversation._early == []
