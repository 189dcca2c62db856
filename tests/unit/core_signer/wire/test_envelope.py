"""An envelope says one thing, in one place, by one sender; anything else about it is refused for its own reason."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.wire.envelope import (
    ENVELOPE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    ROUND_MAX,
    TO_ALL,
    BadSignature,
    EnvelopeContext,
    ForeignSession,
    MalformedEnvelope,
    Misaddressed,
    SpoofedSender,
    equivocation_evidence,
    open_envelope,
    peek_session,
    proves_equivocation,
    seal_envelope,
)
from keyquorum_core_signer.wire.identity import ENVELOPE_TAG, INTENT_TAG, IdentityKey
from keyquorum_protos.party.v1.envelope_pb2 import Envelope

ONE, TWO = (IdentityKey.from_seed(bytes([i]) * 32) for i in (1, 2))
CONTEXT = EnvelopeContext("cell", "frost/v1", "FROST-ED25519", b"\x05" * 32, "key_1", 1, b"\x06" * 32)


def seal(identity=ONE, context=CONTEXT, **changes) -> bytes:
    """An envelope from party 1."""
    return seal_envelope(context, identity, **({"round_": 2, "sender": 1, "recipient": 3, "payload": b"hi"} | changes))


def unseal(data: bytes, context=CONTEXT, **changes):
    """Open as party 3, out of party 1's channel."""
    return open_envelope(context, data, **({"me": 3, "peer": 1, "public": ONE.public} | changes))


def altered(data: bytes, **changes) -> bytes:
    """The same envelope with other fields and the old signature."""
    envelope = Envelope.FromString(data)
    for name, value in changes.items():
        setattr(envelope, name, value)
    return envelope.SerializeToString(deterministic=True)


@given(st.binary(max_size=100), st.integers(1, ROUND_MAX), st.sampled_from([TO_ALL, 3]))
def test_what_was_sealed_is_what_is_opened(payload, round_, recipient):
    """Everything that was said comes back, and the payload's hash with it."""
    message = unseal(seal(payload=payload, round_=round_, recipient=recipient))
    assert (message.round, message.sender, message.recipient, message.payload) == (round_, 1, recipient, payload)
    assert message.payload_hash == hashlib.sha256(payload).digest()
    assert message.without_payload().payload == b""


def test_sealing_is_deterministic():
    """The same message has the same bytes, so sending it twice is no second message."""
    assert seal() == seal()


@pytest.mark.parametrize(
    "changes",
    [
        {"cell_id": "cell-b"},
        {"protocol": "frost/v2"},
        {"suite": "FROST-secp256k1"},
        {"key_id": "key_2"},
        {"epoch": 2},
        {"binding": b"\x07" * 32},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_envelope_is_worth_nothing_in_another_context(changes):
    """Replayed into another cell, protocol, suite, key, epoch or intent, with the same session id, it has no signature."""
    with pytest.raises(BadSignature):
        unseal(seal(context=replace(CONTEXT, **changes)))


def test_envelope_of_another_session_is_foreign():
    """Another session's envelope is told apart before anything else is looked at, and blames nobody."""
    other = replace(CONTEXT, session_id=b"\x08" * 32)
    with pytest.raises(ForeignSession) as caught:
        unseal(seal(context=other))
    assert not caught.value.proven


def test_envelope_does_not_move_to_another_session():
    """Another session's id written over the old one leaves no valid signature."""
    with pytest.raises(BadSignature):
        unseal(altered(seal(context=replace(CONTEXT, session_id=b"\x08" * 32)), session_id=CONTEXT.session_id))


@pytest.mark.parametrize("changes", [{"round": 3}, {"recipient": TO_ALL}, {"payload": b"ho"}, {"signature": bytes(64)}])
def test_envelope_does_not_change(changes):
    """A message is not moved to another round, made public or rewritten."""
    with pytest.raises(BadSignature) as caught:
        unseal(altered(seal(), **changes))
    assert caught.value.proven


def test_sender_is_who_the_channel_says():
    """A party cannot pass on, or make up, what another one says: the channel's peer is compared, then the signature."""
    with pytest.raises(SpoofedSender):
        unseal(seal(), peer=2, public=TWO.public)
    with pytest.raises(BadSignature):
        unseal(seal(identity=TWO))
    with pytest.raises(BadSignature):
        unseal(altered(seal(), sender=2), peer=2, public=TWO.public)


def test_message_for_another_is_refused():
    """An envelope for party 2 is no message to party 3."""
    with pytest.raises(Misaddressed):
        unseal(seal(recipient=2))


def test_signature_for_another_purpose_is_refused():
    """The same bytes signed under another tag are no envelope."""
    statement = CONTEXT.digest + bytes(12) + bytes(32)
    envelope = altered(seal(), signature=ONE.sign(INTENT_TAG, statement))
    with pytest.raises(BadSignature):
        unseal(envelope)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        seal() + b"\x38\x01",
        seal() + seal(),
        seal()[:-1],
        altered(seal(), round=0),
        altered(seal(), round=ROUND_MAX + 1),
        altered(seal(), payload=bytes(PAYLOAD_BYTES_MAX + 1)),
        bytes(ENVELOPE_BYTES_MAX + 1),
    ],
    ids=["garbage", "unknown field", "twice", "truncated", "round 0", "round too high", "payload", "too large"],
)
def test_malformed_envelope_is_refused(data):
    """Bytes that are not the one encoding of an envelope in range are refused, and the sender did it."""
    with pytest.raises(MalformedEnvelope) as caught:
        unseal(data)
    assert caught.value.proven


@given(st.binary(max_size=300))
def test_garbage_is_never_an_envelope(data):
    """Any bytes are refused with a reason that proves something or with a foreign session."""
    with pytest.raises((MalformedEnvelope, ForeignSession)):
        unseal(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"round_": 0},
        {"round_": ROUND_MAX + 1},
        {"sender": 0},
        {"recipient": 1 << 16},
        {"recipient": 1},
        {"payload": bytes(PAYLOAD_BYTES_MAX + 1)},
    ],
)
def test_nobody_seals_what_nobody_opens(changes):
    """Our own mistakes are found before they are sent."""
    with pytest.raises(ValueError, match=r"range|oneself"):
        seal(**changes)


def test_session_is_peeked_without_trust():
    """Routing reads the session id of anything that parses and of nothing else."""
    assert peek_session(seal()) == CONTEXT.session_id
    assert peek_session(b"\xff") is None
    assert peek_session(b"") is None
    assert peek_session(bytes(ENVELOPE_BYTES_MAX + 1)) is None


def test_context_needs_whole_hashes():
    """A session id or a binding of another length is refused."""
    for name in ("session_id", "binding"):
        with pytest.raises(ValueError, match="32 bytes"):
            replace(CONTEXT, **{name: bytes(31)})


def test_equivocation_is_proven_without_the_payloads():
    """Two signed messages for one place convict their sender before anybody who knows the context and the key."""
    first, second = unseal(seal(payload=b"secret one")), unseal(seal(payload=b"secret two"))
    evidence = equivocation_evidence(first, second)
    assert proves_equivocation(CONTEXT, ONE.public, evidence)
    assert b"secret" not in evidence
    assert not proves_equivocation(CONTEXT, TWO.public, evidence)
    assert not proves_equivocation(replace(CONTEXT, cell_id="cell-b"), ONE.public, evidence)
    assert not proves_equivocation(CONTEXT, ONE.public, evidence[:-1])


@given(st.integers(0, 203), st.integers(0, 7))
def test_evidence_is_not_made_up(at, bit):
    """Whatever is changed in evidence, it convicts nobody."""
    evidence = bytearray(equivocation_evidence(unseal(seal(payload=b"a")), unseal(seal(payload=b"b"))))
    assert len(evidence) == 204
    assert proves_equivocation(CONTEXT, ONE.public, bytes(evidence))
    evidence[at] ^= 1 << bit
    assert not proves_equivocation(CONTEXT, ONE.public, bytes(evidence))


def test_saying_one_thing_twice_is_no_equivocation():
    """One message, given twice as evidence, convicts nobody."""
    message = unseal(seal())
    half = message.payload_hash + message.signature
    place = b"".join(n.to_bytes(4, "big") for n in (message.round, message.sender, message.recipient))
    assert not proves_equivocation(CONTEXT, ONE.public, place + half + half)
    with pytest.raises(AssertionError):
        equivocation_evidence(message, message)


def test_payload_does_not_show():
    """An opened message prints without its payload and signature."""
    text = repr(unseal(seal(payload=b"SECRET")))
    assert "SECRET" not in text
    assert "signature" not in text


def test_tags_are_different():
    """The purposes of signatures do not coincide."""
    assert ENVELOPE_TAG != INTENT_TAG
