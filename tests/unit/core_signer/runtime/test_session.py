"""The session's rules, one by one, on a protocol whose right answers are known."""

import gc
import traceback
from dataclasses import replace

import pytest

from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, PartyId
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.runtime.session import (
    AtCheckpoint,
    Failed,
    Finished,
    Running,
    Session,
    SessionAbandoned,
    SessionBroken,
)
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.envelope import TO_ALL, EnvelopeContext, open_envelope, proves_equivocation
from keyquorum_core_signer.wire.envelope import seal_envelope as seal
from support.toy_protocol import (
    Commitment,
    Mask,
    Total,
    context_of,
    expected_total,
    identities,
    identity_of,
    toy_session,
)

CTX = context_of(1, 3)
WIRE = EnvelopeContext(CTX.cell_id, CTX.protocol, CTX.suite, CTX.session_id, CTX.key_id, CTX.epoch, CTX.binding)
GOOD = plain.encode(Commitment(bytes(32)))


def envelope(sender=2, round_=1, recipient=TO_ALL, payload=GOOD, context=WIRE, signer=None) -> bytes:
    """What party ``sender`` would send party 1."""
    identity = identity_of(signer or sender)
    return seal(context, identity, round_=round_, sender=sender, recipient=recipient, payload=payload)


def started(parties=3, limits=None) -> Session:
    """Party 1's session, waiting in round 1."""
    if limits is None:
        session = toy_session(1, parties)
    else:
        ctx = context_of(1, parties)
        session = Session(ctx, hand_over(Exchange(Mask(1))), plain, identity_of(1), identities(parties), limits=limits)
    session.start()
    return session


def hand_over(*steps):
    """A program that yields ``steps`` and returns what it was sent."""
    return (yield from _hand_over(list(steps), []))


def _hand_over(steps, answers):
    while steps:
        answers.append((yield steps.pop(0)))
    return answers


def session_of(program, parties=3) -> Session:
    """Party 1's session of any program."""
    return Session(context_of(1, parties), program, plain, identity_of(1), identities(parties))


def run_all(parties: int) -> dict[int, Session]:
    """Run everybody to the end in order."""
    sessions = {me: toy_session(me, parties) for me in range(1, parties + 1)}
    queue = [(me, out) for me, session in sessions.items() for out in session.start()]
    while queue or any(isinstance(s.status, AtCheckpoint) for s in sessions.values()):
        for me, session in sessions.items():
            if isinstance(session.status, AtCheckpoint):
                queue += [(me, out) for out in session.resume()]
        if queue:
            sender, out = queue.pop(0)
            queue += [(out.recipient, o) for o in sessions[out.recipient].receive(PartyId(sender), out.data)]
    return sessions


def failure(session: Session) -> Exception:
    """The error of a failed session."""
    assert isinstance(session.status, Failed), session.status
    return session.status.error


def blames(session: Session, *culprits: int) -> ProtocolAbort:
    """The session failed and names exactly these."""
    error = failure(session)
    assert isinstance(error, ProtocolAbort)
    assert error.culprits == culprits
    return error


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


def test_checkpoint_waits_for_the_host():
    """Nothing is sent before the host has said that the value is durable; messages are kept meanwhile."""
    sessions = {me: toy_session(me, 2) for me in (1, 2)}
    out = {me: s.start() for me, s in sessions.items()}
    second = [o for data in out[2] for o in sessions[1].receive(PartyId(2), data.data)]
    replies = [o for data in out[1] for o in sessions[2].receive(PartyId(1), data.data)]
    assert [o for data in second for o in sessions[2].receive(PartyId(1), data.data)] == []
    assert sessions[2].status == AtCheckpoint(expected_total(2))
    third_of_2 = sessions[2].resume()
    assert third_of_2
    for o in replies:
        assert sessions[1].receive(PartyId(2), o.data) == []
    assert isinstance(sessions[1].status, AtCheckpoint)
    for o in third_of_2:
        assert sessions[1].receive(PartyId(2), o.data) == []
    assert isinstance(sessions[1].status, AtCheckpoint)
    assert sessions[1].resume()
    assert sessions[1].status == Finished(expected_total(2))


def test_checkpoint_before_the_first_exchange():
    """A program may start with a checkpoint."""
    session = session_of(hand_over(Checkpoint("x"), Exchange(Mask(1))), parties=2)
    assert session.start() == []
    assert session.status == AtCheckpoint("x")
    assert len(session.resume()) == 1


def test_misuse_by_the_host_is_an_error_of_the_host():
    """Starting twice, or resuming what does not wait, raises and changes nothing."""
    session = started()
    with pytest.raises(ProtocolMisuse, match="once"):
        session.start()
    with pytest.raises(ProtocolMisuse, match="checkpoint"):
        session.resume()
    assert session.status == Running()


@pytest.mark.parametrize(
    "step",
    [
        Exchange(),
        Exchange(to_each={PartyId(2): Mask(1)}),
        Exchange(to_all=Mask(1), to_each={PartyId(4): Mask(1)}),
        Exchange(to_all=Mask(1), to_each={PartyId(1): Mask(1)}),
        Exchange(expect_all=Mask),
    ],
    ids=["silent", "not to everybody", "to a stranger", "to ourselves", "only listening"],
)
def test_program_that_is_silent_to_a_peer_is_refused(step):
    """The one-round rule, by which peers are blamed, holds only if every exchange sends something to every peer."""
    session = session_of(hand_over(step))
    assert session.start() == []
    assert isinstance(failure(session), ProtocolMisuse)


def test_program_without_end_is_cut_off():
    """A program with too many rounds is our mistake."""

    def endless():
        while True:
            yield Exchange(Mask(1))

    session = session_of(endless(), parties=1)
    session.start()
    assert isinstance(failure(session), ProtocolMisuse)


def test_program_may_finish_without_a_word():
    """A program without exchanges ends at once."""
    session = session_of(hand_over())
    assert session.start() == []
    assert session.status == Finished([])


@pytest.mark.parametrize("error", [ProtocolAbort("check", [PartyId(3)], b"proof"), EchoMismatch("agree")])
def test_protocol_errors_pass_through(error):
    """What the program proves is what the session reports."""

    def program():
        yield Exchange(Mask(1))
        raise error

    session = session_of(program(), parties=2)
    session.start()
    session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
    assert failure(session) is error


def test_unencodable_message_is_our_bug():
    """A program that sends what has no encoding fails without blaming anybody."""
    session = session_of(hand_over(Exchange(object())))
    assert session.start() == []
    assert isinstance(failure(session), SessionBroken)


def test_nothing_secret_is_left_in_a_failure():
    """The error of a program that broke on a secret has neither its text nor the frames that hold it."""

    def program():
        secret = "SECRET" + "-IN-A-FRAME"
        try:
            yield {}[secret]
        except KeyError as error:
            raise ValueError(f"{secret} is bad") from error

    session = session_of(program())
    session.start()
    error = failure(session)
    assert isinstance(error, SessionBroken)
    assert error.__traceback__ is error.__context__ is error.__cause__ is None
    assert "SECRET" not in "".join(traceback.format_exception(error)) + repr(session) + repr(session.status)


def test_protocol_error_loses_its_frames():
    """An abort raised beside a secret does not keep the frame alive either."""

    class Share:
        pass

    def program():
        share = Share()
        yield Exchange(Mask(1))
        raise ProtocolAbort(f"check of {type(share).__name__}", [PartyId(2)])

    session = session_of(program(), parties=2)
    session.start()
    session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
    assert failure(session).__traceback__ is None
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is Share]


@pytest.mark.parametrize("ending", ["abandon", "peer", "finish"])
def test_ended_session_lets_go_of_its_program(ending):
    """However a session ends, the program is closed, so that its own wiping runs, and its frame is gone."""
    wiped = []

    class Nonce:
        pass

    def program():
        nonce = Nonce()
        try:
            yield Exchange(Mask(1))
        finally:
            wiped.append(type(nonce))

    session = session_of(program(), parties=2)
    session.start()
    match ending:
        case "abandon":
            session.abandon("deadline")
            assert isinstance(failure(session), SessionAbandoned)
        case "peer":
            session.receive(PartyId(2), b"\xff")
        case "finish":
            session.receive(PartyId(2), envelope(payload=plain.encode(Mask(1))))
            assert isinstance(session.status, Finished)
    assert wiped == [Nonce]
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is Nonce]


def test_program_that_clings_is_reported():
    """A program that does not stop when closed is our bug, and the session is over all the same."""

    def program():
        while True:
            try:
                yield Exchange(Mask(1))
            except GeneratorExit:
                yield Exchange(Mask(2))

    session = session_of(program())
    session.start()
    session.abandon("deadline")
    assert isinstance(failure(session), SessionBroken)


@pytest.mark.parametrize("ending", ["finished", "failed"])
def test_ended_session_ignores_everything(ending):
    """Nothing moves a session that has ended."""
    session = run_all(2)[1] if ending == "finished" else started(2)
    if ending == "failed":
        session.receive(PartyId(2), b"\xff")
    status = session.status
    assert session.receive(PartyId(2), envelope()) == []
    assert session.receive(PartyId(2), b"\xff") == []
    assert session.start() == session.resume() == []
    session.abandon("again")
    assert session.status is status
    assert session.waiting_for == ()


def test_results_and_checkpoints_do_not_show():
    """Statuses and sessions print without what they hold."""
    assert "123456789" not in repr(AtCheckpoint(123456789)) + repr(Finished(123456789))
    assert repr(started()) == "Session(0000000000000000, party 1, round 1, Running)"


def test_every_peer_needs_a_pinned_key():
    """A session is not made without all identity keys."""
    with pytest.raises(KeyError):
        Session(context_of(1, 3), hand_over(), plain, identity_of(1), identities(2))
