"""What a party tells its worker processes, and what comes back: typed, canonical, and never pickled.

A job carries the sealed share and the one data key that opens it; the share itself exists in the clear only in the
worker that runs the session.
"""

from dataclasses import dataclass, field
from typing import Final

from keyquorum_core_signer.wire.codec import Codec, Limits

PAYLOAD_BYTES_MAX: Final = 16 * 1024  # of a protocol message: 16 parties' commitments are 1 KiB, 16 nonce pairs too

# An intent's messages at their largest, 16 of 64 KiB, and what surrounds them.
_codec = Codec({}, Limits(message_bytes=2 << 20))


@dataclass(frozen=True, slots=True)
class Seat:
    """A participant as a worker needs it: node id, Shamir index, Ed25519 identity key."""

    node_id: str
    index: int
    identity_key: bytes


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is told once, when it is spawned."""

    node_id: str
    identity_seed: bytes = field(repr=False)
    roster_toml: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShareKey:
    """Where a share version belongs, and the data key that seals it."""

    user_id: str
    key_id: str
    scheme: str
    epoch: int
    version: int
    kek_id: str
    wrapped_key: bytes
    data_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignJob:
    """Sign ``messages`` (bytes, path) with the share in ``sealed``."""

    session_id: bytes
    intent_hash: bytes
    participants: tuple[Seat, ...]
    threshold: int
    share_key: ShareKey
    sealed: bytes
    messages: tuple[tuple[bytes, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class CreateKeyJob:
    """Make a key as the intent bytes say; seal the share under ``share_key``."""

    session_id: bytes
    intent: bytes
    participants: tuple[Seat, ...]
    threshold: int
    share_key: ShareKey


@dataclass(frozen=True, slots=True)
class PreparedShare:
    """A share that is sealed and waits for its certificate: the content of key generation's checkpoint."""

    sealed: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class MadeSignatures:
    """The result of a SignJob, in the order of its messages."""

    signatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MadeKey:
    """The result of a CreateKeyJob: the certificate's bytes and everybody's signature, by node id."""

    statement: bytes
    signatures: tuple[tuple[str, bytes], ...]


Job = SignJob | CreateKeyJob


def encode(value: WorkerSetup | Job | PreparedShare | MadeSignatures | MadeKey) -> bytes:
    """Canonical bytes, preceded by one byte that says which job it is where there is a choice."""
    prefix = {SignJob: b"s", CreateKeyJob: b"c"}.get(type(value), b"")
    return prefix + _codec.encode(value)


def decode_job(data: bytes) -> Job:
    """A job from its bytes; ``DecodeError`` or ``KeyError`` for anything else."""
    kind: type[Job] = {b"s": SignJob, b"c": CreateKeyJob}[data[:1]]
    return _codec.decode(kind, data[1:])


def decode_setup(data: bytes) -> WorkerSetup:
    """Inverse of :func:`encode`."""
    return _codec.decode(WorkerSetup, data)


def decode_prepared(data: bytes) -> PreparedShare:
    """Inverse of :func:`encode`."""
    return _codec.decode(PreparedShare, data)


def decode_signatures(data: bytes) -> MadeSignatures:
    """Inverse of :func:`encode`."""
    return _codec.decode(MadeSignatures, data)


def decode_made_key(data: bytes) -> MadeKey:
    """Inverse of :func:`encode`."""
    return _codec.decode(MadeKey, data)
