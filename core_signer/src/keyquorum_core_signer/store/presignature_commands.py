"""Commands about presignatures: kept until one is burned for a signature, or all are void."""

from dataclasses import dataclass, field

from keyquorum_core_signer.store import checks, limits
from keyquorum_core_signer.store.commands import Command, KeyUnavailable, NotAdmitted
from keyquorum_core_signer.store.pair_commands import PairUnavailable, PeerIsBanned

Entry = tuple[bytes, bytes]
"""Id (32 bytes) and envelope."""


@dataclass(frozen=True, slots=True)
class PresignaturesStored:
    """They can be burned."""

    count: int


@dataclass(frozen=True, slots=True)
class PresignatureConflict:
    """One of the ids is there already, or was: what is burned or voided does not come back."""

    presignature_id: bytes


@dataclass(frozen=True, slots=True)
class PoolFull:
    """There are as many as the store keeps, or keeps for one path and quorum of a key."""

    count: int


@dataclass(frozen=True, slots=True)
class StorePresignatures(
    Command[PresignaturesStored | KeyUnavailable | PeerIsBanned | PairUnavailable | PresignatureConflict | PoolFull]
):
    """Keep presignatures of one path of a key's active epoch, for signatures by exactly ``node_ids``."""

    key_id: str
    epoch: int
    path: tuple[int, ...]
    node_ids: tuple[str, ...]
    protocol: str
    now_ms: int
    entries: tuple[Entry, ...] = field(repr=False)

    def __post_init__(self) -> None:
        checks.check_id("key_id", self.key_id)
        checks.check_epoch("epoch", self.epoch)
        checks.check_count("path", self.path, limits.PATH_ELEMENTS_MAX)
        for element in self.path:
            checks.check_int("path", element, limits.PATH_ELEMENT_BOUND)
        checks.check_count("node_ids", self.node_ids, limits.SIGNATURES_MAX, least=2)
        for node_id in self.node_ids:
            checks.check_id("node_ids", node_id)
        if len(set(self.node_ids)) != len(self.node_ids):
            raise ValueError("node_ids: one is there twice")
        checks.check_id("protocol", self.protocol)
        checks.check_count("entries", self.entries, limits.PRESIGNATURES_AT_ONCE_MAX, least=1)
        for presignature_id, sealed in self.entries:
            checks.check_hash("presignature_id", presignature_id)
            checks.check_bytes("sealed", sealed, limits.PRESIGNATURE_BYTES_MAX)
        if any(len(set(column)) != len(self.entries) for column in zip(*self.entries, strict=True)):
            raise ValueError("entries: an id or an envelope is there twice")
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Burned:
    """The envelopes, in the order asked for. They are not in the store any more, and are given to nobody again."""

    sealed: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresignatureUnavailable:
    """None was burned: this one is not here, not any more, or of another key."""

    presignature_id: bytes


@dataclass(frozen=True, slots=True)
class BurnPresignatures(Command[Burned | PresignatureUnavailable | NotAdmitted]):
    """Use presignatures up for one session of an admitted operation, all or none.

    The one command that is not the same when it is executed again: what is burned is unavailable, to a repeat as well.
    """

    op_id: str
    session_id: bytes
    presignature_ids: tuple[bytes, ...]
    key_id: str
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_hash("session_id", self.session_id)
        checks.check_count("presignature_ids", self.presignature_ids, limits.PRESIGNATURES_AT_ONCE_MAX, least=1)
        for presignature_id in self.presignature_ids:
            checks.check_hash("presignature_ids", presignature_id)
        if len(set(self.presignature_ids)) != len(self.presignature_ids):
            raise ValueError("presignature_ids: an id is there twice")
        checks.check_id("key_id", self.key_id)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Voided:
    """So many presignatures were destroyed."""

    count: int


@dataclass(frozen=True, slots=True)
class VoidPresignatures(Command[Voided]):
    """Destroy presignatures unused: of a key, of a peer, by their ids, or, with nothing named, all."""

    reason: str
    now_ms: int
    key_id: str = ""
    node_id: str = ""
    presignature_ids: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        checks.check_count("presignature_ids", self.presignature_ids, limits.PRESIGNATURES_AT_ONCE_MAX)
        for presignature_id in self.presignature_ids:
            checks.check_hash("presignature_ids", presignature_id)
        checks.check_text("reason", self.reason, limits.DETAIL_CHARS_MAX)
        checks.check_id("key_id", self.key_id, optional=True)
        checks.check_id("node_id", self.node_id, optional=True)
        checks.check_time("now_ms", self.now_ms)
