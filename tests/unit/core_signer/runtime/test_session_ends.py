"""How sessions pause and end, and what they leave behind."""

import gc
import traceback

import pytest

from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, PartyId
from keyquorum_core_signer.runtime.session import (
    AtCheckpoint,
    Finished,
    Running,
    Session,
    SessionAbandoned,
    SessionBroken,
)
from keyquorum_core_signer.wire.codec import plain
from support.sessions import envelope, failure, hand_over, run_all, session_of, started
from support.toy_protocol import (
    Mask,
    context_of,
    expected_total,
    identities,
    identity_of,
    toy_session,
)


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
