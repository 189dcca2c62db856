"""What a party tells its worker processes, and what comes back: typed, canonical, and never pickled.

A job carries what is sealed and the one data key that opens it; what is inside exists in the clear only in the worker
that runs the session.
"""

from dataclasses import dataclass, field
from typing import Final, TypeVar

from keyquorum_core_signer.wire.codec import Bytes32, Codec, Limits

# An intent's messages at their largest, 16 of 64 KiB, or its presignatures; and what surrounds them.
_codec = Codec({}, Limits(message_bytes=3 << 20))

T = TypeVar("T")


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
class SessionTerms:
    """Where a session stands; all of it enters every hash and signature of the session.

    ``binding`` is the hash of what ordered it: an intent, or what the parties of a presigning agreed on.
    """

    session_id: bytes
    participants: tuple[Seat, ...]
    threshold: int
    key_id: str
    epoch: int
    binding: bytes


@dataclass(frozen=True, slots=True)
class ShareKey:
    """Where something sealed belongs, and the data key that seals it: a share version, one half of a pair set-up."""

    user_id: str
    key_id: str
    scheme: str
    epoch: int
    version: int
    kek_id: str
    wrapped_key: bytes
    data_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored thing and what opens it."""

    key: ShareKey
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PairHalf:
    """Our half of the set-up with the party at Shamir index ``peer``."""

    peer: int
    setup_id: Bytes32
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class SignJob:
    """FROST: sign ``messages`` (bytes, path)."""

    terms: SessionTerms
    share: Sealed
    messages: tuple[tuple[bytes, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class CreateKeyJob:
    """Make a key as the intent bytes say; seal the share under ``share_key``."""

    terms: SessionTerms
    intent: bytes
    share_key: ShareKey


@dataclass(frozen=True, slots=True)
class PairJob:
    """DKLs23: agree with the one other participant on set-up number ``generation``; seal our half under ``share_key``."""

    terms: SessionTerms
    generation: int
    share_key: ShareKey


@dataclass(frozen=True, slots=True)
class EcdsaSignJob:
    """DKLs23: sign ``messages`` (digest, path) without presignatures."""

    terms: SessionTerms
    share: Sealed
    halves: tuple[PairHalf, ...]
    messages: tuple[tuple[bytes, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class PresignJob:
    """DKLs23: make ``count`` presignatures for one path; seal each under ``share_key``."""

    terms: SessionTerms
    share: Sealed
    halves: tuple[PairHalf, ...]
    path: tuple[int, ...]
    count: int
    share_key: ShareKey


@dataclass(frozen=True, slots=True)
class PresignatureUse:
    """One presignature, burned already, and what to sign with it."""

    presignature_id: Bytes32
    sealed: bytes = field(repr=False)
    path: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class OnlineJob:
    """DKLs23: sign with presignatures that ``share_key`` opens. Needs no share."""

    terms: SessionTerms
    uses: tuple[PresignatureUse, ...]
    share_key: ShareKey


@dataclass(frozen=True, slots=True)
class PreparedShare:
    """A share that is sealed and waits for its certificate: the content of key generation's checkpoint."""

    sealed: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class MadeHalf:
    """The content of pairing's checkpoint: our half, sealed."""

    setup_id: Bytes32
    sealed: bytes


@dataclass(frozen=True, slots=True)
class PendingPairs:
    """The content of presigning's checkpoint: checks of these set-ups are about to run."""

    setup_ids: tuple[tuple[int, Bytes32], ...]  # peer's Shamir index, id


@dataclass(frozen=True, slots=True)
class MadePresignatures:
    """The result of a PresignJob: id and sealed content of each."""

    presignatures: tuple[tuple[Bytes32, bytes], ...]


@dataclass(frozen=True, slots=True)
class MadeSignatures:
    """The result of signing, in the order of the messages."""

    signatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MadeKey:
    """The result of a CreateKeyJob: the certificate's bytes and everybody's signature, by node id."""

    statement: bytes
    signatures: tuple[tuple[str, bytes], ...]


Job = SignJob | CreateKeyJob | PairJob | EcdsaSignJob | PresignJob | OnlineJob
Made = PreparedShare | MadeHalf | PendingPairs | MadePresignatures | MadeSignatures | MadeKey

_KINDS: Final[dict[bytes, type[Job]]] = {
    b"s": SignJob,
    b"c": CreateKeyJob,
    b"p": PairJob,
    b"e": EcdsaSignJob,
    b"r": PresignJob,
    b"o": OnlineJob,
}
_PREFIXES: Final[dict[type, bytes]] = {kind: prefix for prefix, kind in _KINDS.items()}


def encode(value: WorkerSetup | Job | Made) -> bytes:
    """Canonical bytes, preceded by one byte that says which job it is where there is a choice."""
    return _PREFIXES.get(type(value), b"") + _codec.encode(value)


def decode_job(data: bytes) -> Job:
    """A job from its bytes; ``DecodeError`` or ``KeyError`` for anything else."""
    return _codec.decode(_KINDS[data[:1]], data[1:])


def decode(kind: type[T], data: bytes) -> T:
    """Inverse of :func:`encode` for what is no job."""
    return _codec.decode(kind, data)
