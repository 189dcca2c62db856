"""What a session does with what arrives, rule by rule, on a protocol whose right answers are known."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.protocols.rounds import Exchange, PartyId
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.runtime.session import (
    Finished,
    Running,
)
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.envelope import TO_ALL, open_envelope, proves_equivocation
from support.sessions import GOOD, WIRE, blames, envelope, hand_over, run_all, session_of, started
from support.toy_protocol import (
    Commitment,
    Mask,
    Total,
    expected_total,
    identity_of,
    toy_session,
)


@pytest.mark.parametrize("parties", [1, 2, 3, 5])
def test_everybody_gets_the_right_result(parties):
    """Whatever the number of parties, all finish with the sum."""
    for session in run_all(parties).values():
        assert session.status == Finished(expected_total(parties))
        assert session.round == session.rounds_completed == 3


def test_broadcast_is_one_envelope_and_private_ones_differ():
    """In a round with both, everybody gets the same signed bytes to all, and an envelope of its own."""
    out = toy_session(1, 3).start()
    to_all = out[:2]
    assert [o.recipient for o in out] == [2, 3, 2, 3]
    assert to_all[0].data == to_all[1].data
    for o in out:
        opened = open_envelope(WIRE, o.data, me=o.recipient, peer=1, public=identity_of(1).public)
        assert opened.recipient == (TO_ALL if o in to_all else o.recipient)
        assert plain.decode(Commitment if o in to_all else Mask, opened.payload)


def test_sessions_are_deterministic():
    """The same calls give the same bytes."""
    assert toy_session(2, 3).start() == toy_session(2, 3).start()


def test_session_waits_for_everybody():
    """Until all messages of a round are in, nothing is sent, and who is missing is known."""
    sessions = {me: toy_session(me, 3) for me in (1, 2, 3)}
    out = {me: s.start() for me, s in sessions.items()}
    assert sessions[1].waiting_for == (2, 3)
    mine = [(sender, o.data) for sender in (2, 3) for o in out[sender] if o.recipient == 1]
    for sender, data in mine[:-1]:
        assert sessions[1].receive(PartyId(sender), data) == []
    assert sessions[1].waiting_for == (3,)
    assert sessions[1].rounds_completed == 0
    assert sessions[1].receive(PartyId(3), mine[-1][1])
    assert (sessions[1].round, sessions[1].rounds_completed) == (2, 1)


def test_message_may_come_one_round_early():
    """A peer that is ahead is heard when we get there; even before we have started."""
    sessions = {me: toy_session(me, 2) for me in (1, 2)}
    out = sessions[2].start()
    for o in out:
        assert sessions[1].receive(PartyId(2), o.data) == []
    answer = sessions[1].start()
    assert sessions[1].round == 2
    assert len(answer) == 3


def test_message_two_rounds_early_is_impossible():
    """Nobody can have begun round 3 when we have not sent round 2."""
    session = started()
    session.receive(PartyId(2), envelope(round_=3))
    assert "cannot have begun" in blames(session, 2).step


def test_duplicates_are_nothing():
    """The same envelope again, in its round, a later one or an earlier one, changes nothing."""
    session = started()
    first = envelope()
    for _ in range(3):
        assert session.receive(PartyId(2), first) == []
    early = envelope(round_=2, payload=b"whatever")
    for _ in range(3):
        assert session.receive(PartyId(2), early) == []
    assert session.status == Running()


@pytest.mark.parametrize("round_", [1, 2], ids=["current round", "next round"])
@pytest.mark.parametrize("recipient", [TO_ALL, 1], ids=["to all", "private"])
def test_conflict_is_equivocation_with_evidence(round_, recipient):
    """Two different messages in one place convict their sender to anybody."""
    session = started()
    payloads = [plain.encode(Mask(i) if recipient else Commitment(bytes([i]) * 32)) for i in (1, 2)]
    for payload in payloads:
        session.receive(PartyId(3), envelope(3, round_, recipient, payload))
    error = blames(session, 3)
    assert proves_equivocation(WIRE, identity_of(3).public, error.evidence)
    assert not proves_equivocation(WIRE, identity_of(2).public, error.evidence)


def test_conflict_with_a_finished_round_is_equivocation_too():
    """A second version is evidence even when the first has been used."""
    sessions = {me: toy_session(me, 2) for me in (1, 2)}
    sessions[1].start()
    for o in sessions[2].start():
        sessions[1].receive(PartyId(2), o.data)
    assert sessions[1].round == 2
    sessions[1].receive(PartyId(2), envelope(2, 1, TO_ALL, plain.encode(Commitment(b"\x01" * 32)), context=WIRE))
    assert "two different messages" in blames(sessions[1], 2).step


def test_private_and_public_message_of_one_round_do_not_conflict():
    """Kinds are different places."""
    session = started()
    session.receive(PartyId(2), envelope())
    session.receive(PartyId(2), envelope(recipient=1, payload=plain.encode(Mask(5))))
    assert session.status == Running()
    assert session.waiting_for == (3,)


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (envelope(signer=3), "not signed"),
        (envelope(sender=3), "not the peer"),
        (envelope(recipient=3), "another party"),
        (envelope(context=replace(WIRE, cell_id="cell-b")), "not signed"),
        (envelope(context=replace(WIRE, key_id="key_other")), "not signed"),
        (envelope(payload=b"{"), "does not decode"),
        (envelope(payload=plain.encode(Total(1))), "does not decode"),
        (envelope(payload=GOOD + b"\x00"), "does not decode"),
        (b"\xff\xff", "parse"),
        (b"", "out of range"),
    ],
    ids=[
        "signed by another",
        "another's name",
        "for another",
        "another cell",
        "another key",
        "garbage",
        "another type",
        "trailing byte",
        "no envelope",
        "nothing",
    ],
)
def test_bad_message_fails_the_session_and_names_its_sender(data, step):
    """Whatever an honest party does not send, the authenticated peer that sent it is named."""
    session = started()
    assert session.receive(PartyId(2), data) == []
    assert step in blames(session, 2).step


def test_envelope_of_another_session_is_ignored():
    """An old envelope of the same peer, handed to the wrong session, proves nothing against the peer."""
    session = started()
    session.receive(PartyId(2), envelope(context=replace(WIRE, session_id=b"\x01" * 32)))
    assert session.status == Running()
    assert session.waiting_for == (2, 3)


@pytest.mark.parametrize("stranger", [4, 0, 1], ids=["not in the session", "nobody", "ourselves"])
def test_strangers_are_ignored(stranger):
    """Who is not a peer in the session cannot end it."""
    session = started()
    session.receive(PartyId(stranger), envelope())
    session.receive(PartyId(stranger), b"\xff")
    assert session.status == Running()


def test_kind_that_the_round_does_not_have_is_refused():
    """A private message where all speak openly is refused, now or when its round comes."""
    session = session_of(hand_over(Exchange(Mask(1)), Exchange(Mask(2))), parties=2)
    session.start()
    session.receive(PartyId(2), envelope(recipient=1, payload=plain.encode(Mask(1))))
    assert "kind" in blames(session, 2).step
    session = session_of(hand_over(Exchange(Mask(1)), Exchange(Mask(2))), parties=2)
    session.start()
    session.receive(PartyId(2), envelope(round_=2, recipient=1, payload=plain.encode(Mask(1))))
    session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
    assert "kind" in blames(session, 2).step


def test_early_messages_are_all_judged_and_all_culprits_named():
    """When a round opens on several bad messages, everybody who sent one is named."""
    session = session_of(hand_over(Exchange(Mask(1)), Exchange(Mask(2))))
    session.start()
    for party in (2, 3):
        session.receive(PartyId(party), envelope(party, 2, payload=b"nonsense"))
    for party in (2, 3):
        session.receive(PartyId(party), envelope(party, payload=plain.encode(Mask(1))))
    blames(session, 2, 3)


def test_flood_is_cut_off():
    """A peer that repeats itself without end is named before it costs more."""
    session = started(limits=SessionLimits(envelopes_per_peer_max=5))
    for _ in range(5):
        session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
    assert session.status == Running()
    session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
    assert "more envelopes" in blames(session, 2).step


def test_payload_over_the_protocols_own_limit_is_refused():
    """A protocol with small messages may say so."""
    session = started(limits=SessionLimits(payload_bytes_max=10))
    session.receive(PartyId(2), envelope(payload=b"x" * 11))
    assert "larger" in blames(session, 2).step
