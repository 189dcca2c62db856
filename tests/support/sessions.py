"""Sessions of party 1 under test, and the envelopes that its peers send it."""

from keyquorum_core_signer.protocols.errors import ProtocolAbort
from keyquorum_core_signer.protocols.rounds import Exchange, PartyId
from keyquorum_core_signer.runtime.session import AtCheckpoint, Failed, Session
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.envelope import TO_ALL, EnvelopeContext, seal_envelope
from support.toy_protocol import Commitment, Mask, context_of, identities, identity_of, toy_session

CTX = context_of(1, 3)
WIRE = EnvelopeContext(CTX.cell_id, CTX.protocol, CTX.suite, CTX.session_id, CTX.key_id, CTX.epoch, CTX.binding)
GOOD = plain.encode(Commitment(bytes(32)))


def envelope(sender=2, round_=1, recipient=TO_ALL, payload=GOOD, context=WIRE, signer=None) -> bytes:
    """What party ``sender`` would send party 1."""
    identity = identity_of(signer or sender)
    return seal_envelope(context, identity, round_=round_, sender=sender, recipient=recipient, payload=payload)


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
