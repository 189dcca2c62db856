"""Signed envelopes: one protocol message, and proof of who said it, where, when and to whom.

The signature covers the whole context of the session (cell, protocol, suite, session, key, epoch, intent) and of the
message (round, sender, recipient), so that an envelope says nothing anywhere else. It covers the payload by its hash, so
that two envelopes can be held against their sender without showing what a private message held.

Two things vouch for the sender, and both are checked: the channel that the envelope came out of, which proves it to us,
and the signature, which proves it to everybody. The field inside is only compared.
"""

import hashlib
import struct
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from google.protobuf.message import DecodeError

from keyquorum_core_signer.wire.codec import hash_typed
from keyquorum_core_signer.wire.identity import ENVELOPE_TAG, SIGNATURE_BYTES, IdentityKey, verify
from keyquorum_protos.party.v1.envelope_pb2 import Envelope

TO_ALL: Final = 0
"""The recipient of a message whose same bytes go to everybody; no party has this index."""

SESSION_ID_BYTES: Final = 32
BINDING_BYTES: Final = 32
PAYLOAD_BYTES_MAX: Final = 1 << 20  # the codec's own bound; the largest message today is under 100 KB
ENVELOPE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 256  # the other fields take 130
ROUND_MAX: Final = 64  # a presigning protocol with its set-up has ten
PARTY_MAX: Final = (1 << 16) - 1  # the roster's own bound

_CONTEXT_TAG: Final = "keyquorum/envelope-context/v1"
_HEADER: Final = struct.Struct(">III32s")  # round, sender, recipient, SHA-256 of the payload
_EVIDENCE: Final = struct.Struct(f">III32s{SIGNATURE_BYTES}s32s{SIGNATURE_BYTES}s")


class EnvelopeError(Exception):
    """Base of the reasons not to take an envelope. Given that the channel named its peer rightly, ``proven`` tells
    whether the reason proves that this peer sent what no honest party sends. The text holds nothing of the payload.
    """

    proven: ClassVar[bool] = True


class MalformedEnvelope(EnvelopeError):
    """Proves that the channel's peer sent bytes that are no envelope, or that are too large."""


class ForeignSession(EnvelopeError):
    """Proves nothing: the envelope is for another session, and whoever handed it to this one mixed them up."""

    proven = False


class SpoofedSender(EnvelopeError):
    """Proves that the channel's peer sent an envelope under another party's name."""


class Misaddressed(EnvelopeError):
    """Proves that the channel's peer sent us an envelope that is for somebody else."""


class BadSignature(EnvelopeError):
    """Proves to us, by the channel, that the peer sent an envelope that it had not signed for this context."""


@dataclass(frozen=True, slots=True)
class EnvelopeContext:
    """Where envelopes are valid: everything about a session that all its parties share."""

    cell_id: str
    protocol: str
    suite: str
    session_id: bytes  # 32 bytes
    key_id: str
    epoch: int
    binding: bytes  # 32 bytes
    digest: bytes = field(init=False, repr=False)  # all of the above; every signature starts with it

    def __post_init__(self) -> None:
        if len(self.session_id) != SESSION_ID_BYTES or len(self.binding) != BINDING_BYTES:
            raise ValueError("a session id and a binding have 32 bytes each")
        fields = (self.cell_id, self.protocol, self.suite, self.session_id, self.key_id, self.epoch, self.binding)
        object.__setattr__(self, "digest", hash_typed(_CONTEXT_TAG, *fields))


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """An opened envelope: all that was said, and the signature on it."""

    round: int
    sender: int
    recipient: int  # TO_ALL, or whom it is for
    payload: bytes = field(repr=False)
    payload_hash: bytes
    signature: bytes = field(repr=False)

    def without_payload(self) -> "SignedMessage":
        """What is left to keep for evidence once the payload was used."""
        return replace(self, payload=b"")


def seal_envelope(
    context: EnvelopeContext, identity: IdentityKey, *, round_: int, sender: int, recipient: int, payload: bytes
) -> bytes:
    """Sign a message and give the envelope's bytes; ValueError for what nobody would accept."""
    if not (1 <= round_ <= ROUND_MAX and 1 <= sender <= PARTY_MAX and TO_ALL <= recipient <= PARTY_MAX):
        raise ValueError("a round or a party index out of range")
    if sender == recipient or len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError("a message to oneself, or too large a payload")
    statement = _statement(context, round_, sender, recipient, hashlib.sha256(payload).digest())
    return Envelope(
        session_id=context.session_id,
        round=round_,
        sender=sender,
        recipient=recipient,
        payload=payload,
        signature=identity.sign(ENVELOPE_TAG, statement),
    ).SerializeToString(deterministic=True)


def peek_session(data: bytes) -> bytes | None:
    """Which session an envelope says it is for, to find that session; None if it does not parse. Proves nothing."""
    if len(data) > ENVELOPE_BYTES_MAX:
        return None
    try:
        session_id = Envelope.FromString(data).session_id
    except DecodeError:
        return None
    return session_id if len(session_id) == SESSION_ID_BYTES else None


def open_envelope(context: EnvelopeContext, data: bytes, *, me: int, peer: int, public: bytes) -> SignedMessage:
    """Open what came out of the channel with party ``peer``, whose pinned identity key is ``public``.

    Raises the :class:`EnvelopeError` that says what is wrong with it.
    """
    envelope = _parse(data)
    if envelope.session_id != context.session_id:
        raise ForeignSession("for another session")
    if envelope.sender != peer:
        raise SpoofedSender("its sender is not the peer of the channel")
    if envelope.recipient not in (TO_ALL, me):
        raise Misaddressed("for another party")
    payload_hash = hashlib.sha256(envelope.payload).digest()
    statement = _statement(context, envelope.round, envelope.sender, envelope.recipient, payload_hash)
    if not verify(public, ENVELOPE_TAG, statement, envelope.signature):
        raise BadSignature("not signed by its sender for this session")
    return SignedMessage(
        envelope.round, envelope.sender, envelope.recipient, envelope.payload, payload_hash, envelope.signature
    )


def equivocation_evidence(first: SignedMessage, second: SignedMessage) -> bytes:
    """Two signed hashes where there must be one: 204 bytes that anybody with the context can check.

    Both messages are of one round, sender and recipient, and have different payloads.
    """
    assert (first.round, first.sender, first.recipient) == (second.round, second.sender, second.recipient)
    assert first.payload_hash != second.payload_hash
    place = (first.round, first.sender, first.recipient)
    return _EVIDENCE.pack(*place, first.payload_hash, first.signature, second.payload_hash, second.signature)


def proves_equivocation(context: EnvelopeContext, public: bytes, evidence: bytes) -> bool:
    """Whether ``evidence`` shows that the owner of ``public`` signed two different messages for one place."""
    if len(evidence) != _EVIDENCE.size:
        return False
    round_, sender, recipient, hash_1, signature_1, hash_2, signature_2 = _EVIDENCE.unpack(evidence)
    return hash_1 != hash_2 and all(
        verify(public, ENVELOPE_TAG, _statement(context, round_, sender, recipient, digest), signature)
        for digest, signature in ((hash_1, signature_1), (hash_2, signature_2))
    )


def _statement(context: EnvelopeContext, round_: int, sender: int, recipient: int, payload_hash: bytes) -> bytes:
    """What is signed; every part has a fixed length, so it is injective."""
    return context.digest + _HEADER.pack(round_, sender, recipient, payload_hash)


def _parse(data: bytes) -> Envelope:
    """The envelope with these bytes, if they are its one encoding."""
    if len(data) > ENVELOPE_BYTES_MAX:
        raise MalformedEnvelope("larger than an envelope may be")
    try:
        envelope = Envelope.FromString(data)
    except DecodeError:
        raise MalformedEnvelope("the bytes do not parse") from None
    envelope.DiscardUnknownFields()
    if envelope.SerializeToString(deterministic=True) != data:
        raise MalformedEnvelope("the bytes are not the canonical encoding")
    if not 1 <= envelope.round <= ROUND_MAX or len(envelope.payload) > PAYLOAD_BYTES_MAX:
        raise MalformedEnvelope("a round or a payload out of range")
    return envelope
