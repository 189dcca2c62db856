"""What happened: the store's events, as they are written to the log and replayed into the read models.

An event's name (``event_id``) is unique for ever and follows from what it says, so the log itself cannot hold two intents
for one (initiator, nonce) or two statements for one (key, epoch), whatever a read model has lost or forgotten.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from keyquorum_core_signer.store.commands import NodeSignature, Spend
from keyquorum_core_signer.store.pair_events import (
    PairChecksBegun,
    PairChecksEnded,
    PairSetupDestroyed,
    PairSetupStored,
    PeerCondemned,
    PeerPardoned,
    PresignaturesBurned,
    PresignaturesKept,
    PresignaturesVoided,
)
from keyquorum_core_signer.wire.codec import hash_typed, plain


@dataclass(frozen=True, slots=True)
class OperationAdmitted:
    """(initiator, nonce) was bound to an intent, and what it spends was reserved."""

    op_id: str
    intent_hash: bytes
    kind: str
    tenant_id: str
    key_id: str
    initiator: bytes
    nonce: bytes
    valid_until_ms: int
    spends: tuple[Spend, ...]

    @property
    def stream(self) -> str:
        return f"operation/{self.op_id}"

    @property
    def event_id(self) -> str:
        return admission_id(self.initiator, self.nonce)


@dataclass(frozen=True, slots=True)
class OperationReadmitted:
    """An operation reserved again, in the place of what it had reserved; ``attempt`` is the version of its stream."""

    op_id: str
    attempt: int
    spends: tuple[Spend, ...]

    @property
    def stream(self) -> str:
        return f"operation/{self.op_id}"

    @property
    def event_id(self) -> str:
        return f"readmit/{self.op_id}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class OperationEmitted:
    """The operation's last message has left."""

    op_id: str

    @property
    def stream(self) -> str:
        return f"operation/{self.op_id}"

    @property
    def event_id(self) -> str:
        return f"emit/{self.op_id}"


@dataclass(frozen=True, slots=True)
class OperationReleased:
    """The operation's reservation was given back; ``attempt`` as in OperationReadmitted."""

    op_id: str
    attempt: int

    @property
    def stream(self) -> str:
        return f"operation/{self.op_id}"

    @property
    def event_id(self) -> str:
        return f"release/{self.op_id}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class SharePrepared:
    """A sealed share was stored. The log holds its hash; the envelope itself can be destroyed."""

    op_id: str
    key_id: str
    epoch: int
    version: int
    wallet_id: str
    user_id: str
    tenant_id: str
    scheme: str
    kek_id: str
    statement: bytes
    sealed_hash: bytes

    @property
    def stream(self) -> str:
        return f"key/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"prepare/{self.key_id}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class EpochActivated:
    """All parties' signatures are on the epoch's statement."""

    key_id: str
    epoch: int
    statement_hash: bytes
    signatures: tuple[NodeSignature, ...]

    @property
    def stream(self) -> str:
        return f"key/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"activate/{self.key_id}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class ShareUpdated:
    """A share's envelope was replaced by another of the same share."""

    key_id: str
    epoch: int
    version: int
    kek_id: str
    sealed_hash: bytes

    @property
    def stream(self) -> str:
        return f"key/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"update/{self.key_id}/{self.epoch}/{self.version}"


@dataclass(frozen=True, slots=True)
class SharesDeleted:
    """The shares of all epochs up to ``through_epoch`` were destroyed."""

    op_id: str
    key_id: str
    through_epoch: int

    @property
    def stream(self) -> str:
        return f"key/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"delete/{self.key_id}/{self.through_epoch}"


@dataclass(frozen=True, slots=True)
class PeerBanned:
    """A peer proved hostile; an empty ``key_id`` bans it from everything."""

    op_id: str
    node_id: str
    key_id: str
    reason: str
    evidence_hash: bytes

    @property
    def stream(self) -> str:
        return f"peer/{self.node_id}"

    @property
    def event_id(self) -> str:
        return f"ban/{self.node_id}/{self.key_id}"


@dataclass(frozen=True, slots=True)
class OperationsPruned:
    """Operations whose validity ended before the watermark were forgotten."""

    watermark_ms: int

    @property
    def stream(self) -> str:
        return "store"

    @property
    def event_id(self) -> str:
        return f"prune/{self.watermark_ms}"


Event: TypeAlias = (
    OperationAdmitted
    | OperationReadmitted
    | OperationEmitted
    | OperationReleased
    | SharePrepared
    | EpochActivated
    | ShareUpdated
    | SharesDeleted
    | PeerBanned
    | OperationsPruned
    | PairSetupStored
    | PairSetupDestroyed
    | PairChecksBegun
    | PairChecksEnded
    | PeerCondemned
    | PeerPardoned
    | PresignaturesKept
    | PresignaturesBurned
    | PresignaturesVoided
)

KINDS: Final[dict[str, type[Event]]] = {
    "operation-admitted": OperationAdmitted,
    "operation-readmitted": OperationReadmitted,
    "operation-emitted": OperationEmitted,
    "operation-released": OperationReleased,
    "share-prepared": SharePrepared,
    "epoch-activated": EpochActivated,
    "share-updated": ShareUpdated,
    "shares-deleted": SharesDeleted,
    "peer-banned": PeerBanned,
    "operations-pruned": OperationsPruned,
    "pair-setup-stored": PairSetupStored,
    "pair-setup-destroyed": PairSetupDestroyed,
    "pair-checks-begun": PairChecksBegun,
    "pair-checks-ended": PairChecksEnded,
    "peer-condemned": PeerCondemned,
    "peer-pardoned": PeerPardoned,
    "presignatures-kept": PresignaturesKept,
    "presignatures-burned": PresignaturesBurned,
    "presignatures-voided": PresignaturesVoided,
}
"""Names as they stand in the log, which outlives our class names."""

_NAMES: Final = {cls: name for name, cls in KINDS.items()}


def admission_id(initiator: bytes, nonce: bytes) -> str:
    """The name of the one admission that (initiator, nonce) can ever have."""
    return f"admit/{hash_typed('keyquorum/operation/v1', initiator, nonce).hex()}"


def kind_of(event: Event) -> str:
    """The event's name in the log."""
    return _NAMES[type(event)]


def encode(event: Event) -> bytes:
    """Canonical bytes."""
    return plain.encode(event)


def decode(kind: str, payload: bytes) -> Event:
    """The event that a row of the log holds; raises DecodeError (a ValueError) or KeyError for anything else."""
    event: Event = plain.decode(KINDS[kind], payload)
    return event
