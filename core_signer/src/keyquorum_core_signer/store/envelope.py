"""The envelope that a share is stored in: pure functions, for the worker process that holds the share and its DEK.

A share version has a data-encryption key (DEK) of its own, which the envelope carries wrapped by the party's KEK. The share is
encrypted by AES-256-GCM (NIST SP 800-38D) under HKDF-SHA-256 (RFC 5869) of the DEK; key and additional data both cover the
canonical encoding of the :class:`ShareContext`. So a row that is moved to another key, user, party, epoch or version
does not open, whoever moved it.

Nothing here touches a database, a KEK or a clock.
"""

import os
from dataclasses import dataclass, field
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyquorum_core_signer.wire.codec import DecodeError, Length, hash_typed, plain

FORMAT = "keyquorum/share/v1"
DEK_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class EnvelopeError(Exception):
    """Proves that an envelope is not what this party sealed for the context: damaged, tampered with, moved, or of another
    DEK. Which of these cannot be told apart. The text holds nothing of the content."""


@dataclass(frozen=True, slots=True)
class ShareContext:
    """What a share is, and where it belongs."""

    party: str
    user_id: str
    key_id: str
    scheme: str
    epoch: int
    version: int  # of the envelope within the epoch, from 1: raised when the same share is sealed anew
    kek_id: str


@dataclass(frozen=True, slots=True)
class Header:
    """What an envelope says about itself in clear. Believed only once :func:`open_sealed` has checked it."""

    context: ShareContext
    wrapped_dek: bytes


@dataclass(frozen=True, slots=True)
class _Envelope:
    format: str
    context: ShareContext
    wrapped_dek: bytes
    nonce: Annotated[bytes, Length(NONCE_BYTES)]
    ciphertext: bytes = field(repr=False)


def seal(dek: bytes, wrapped_dek: bytes, context: ShareContext, plaintext: bytes) -> bytes:
    """An envelope of ``plaintext``, readable by whoever can unwrap ``wrapped_dek`` to ``dek`` (32 bytes)."""
    nonce = os.urandom(NONCE_BYTES)
    ciphertext = AESGCM(_data_key(dek, context)).encrypt(nonce, plaintext, _additional(context, wrapped_dek))
    return plain.encode(_Envelope(FORMAT, context, wrapped_dek, nonce, ciphertext))


def read_header(blob: bytes) -> Header:
    """What ``blob`` says about itself; raises EnvelopeError if it is no envelope."""
    envelope = _decode(blob)
    return Header(envelope.context, envelope.wrapped_dek)


def open_sealed(dek: bytes, expected: ShareContext, blob: bytes) -> bytes:
    """The plaintext of ``blob``, if it was sealed for exactly ``expected``; raises EnvelopeError."""
    envelope = _decode(blob)
    if envelope.context != expected:
        raise EnvelopeError("the envelope belongs to another share")
    additional = _additional(expected, envelope.wrapped_dek)
    try:
        return AESGCM(_data_key(dek, expected)).decrypt(envelope.nonce, envelope.ciphertext, additional)
    except InvalidTag:
        raise EnvelopeError("the envelope does not open") from None


def _decode(blob: bytes) -> _Envelope:
    try:
        envelope = plain.decode(_Envelope, blob)
    except DecodeError:
        raise EnvelopeError("not an envelope") from None
    if envelope.format != FORMAT or len(envelope.ciphertext) < TAG_BYTES:
        raise EnvelopeError("not an envelope of a known format")
    return envelope


def _additional(context: ShareContext, wrapped_dek: bytes) -> bytes:
    return plain.encode((FORMAT, context, wrapped_dek))


def _data_key(dek: bytes, context: ShareContext) -> bytes:
    if len(dek) != DEK_BYTES:
        raise ValueError(f"a DEK has {DEK_BYTES} bytes")
    info = hash_typed("keyquorum/share-data-key/v1", FORMAT, context)
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(dek)
