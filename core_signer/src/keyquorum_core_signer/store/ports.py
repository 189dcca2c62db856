"""The share store of one party, as the party sees it. Engines implement it; nothing here names one.

Rules that every engine keeps:

* A command is acknowledged only once it is durable. One transaction writes the event, the read models and the audit
  row, or nothing: no audit row, no signature.
* A caller that gets :class:`OutcomeUnknown` reads (``get_operation``, ``get_key``) or executes the same command again,
  which is a repeat if it had been applied. It never assumes.
* Reads do not queue behind writes.
* Time is ``max(now_ms, high-water mark)``; the mark is durable, so a clock that is set back revives nothing.

Emission. A reservation may be given back only if the operation's last message never left. That is decided in the memory
of the process that admitted the operation: :meth:`ShareStore.claim_emission` must say yes before the message is sent, and a
release is refused from then on. What another process, or this one before a crash, has admitted counts as emitted. So the way
that leads to a signature costs one durable write, the admission, and no crash can lead to a release after an emission.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TypeVar

from keyquorum_core_signer.store.commands import (
    Command,
    Expired,
    KeyState,
    NodeSignature,
    NotAdmitted,
    OperationState,
)

Outcome = TypeVar("Outcome")


class StoreError(Exception):
    """Base of what the store cannot do. Outcomes of commands are not errors; they are returned."""


class StoreUnavailable(StoreError):
    """Says that nothing was written, and why: closed, disk full, or no longer trusted after a failed write."""


class StoreBusy(StoreUnavailable):
    """Says that too many commands wait; nothing was written."""


class OutcomeUnknown(StoreError):
    """Says that the engine failed while committing. The command was applied, or not: read before doing anything else."""


class StoreOwned(StoreError):
    """Proves that another process has this store open."""


class StoreCorrupt(StoreError):
    """Proves that the store is not what this party wrote: damaged, tampered with, of another party or of another format."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the read model knows it. ``signatures`` are empty until it is active."""

    key_id: str
    wallet_id: str
    user_id: str
    tenant_id: str
    scheme: str
    state: KeyState
    epoch: int
    op_id: str  # of the operation that made it
    statement: bytes  # serialized key certificate of ``epoch``
    signatures: tuple[NodeSignature, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class StoredShare:
    """A share's envelope, opened only with the DEK that its header holds wrapped."""

    key_id: str
    epoch: int
    version: int
    kek_id: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An admitted operation."""

    op_id: str
    intent_hash: bytes
    kind: str
    tenant_id: str
    key_id: str
    initiator: bytes
    nonce: bytes
    valid_until_ms: int
    admitted_ms: int
    state: OperationState


@dataclass(frozen=True, slots=True)
class Spending:
    """What stands reserved of one asset by one key in the window that was asked for."""

    asset: str
    reserved: int


@dataclass(frozen=True, slots=True)
class Ban:
    """A peer that is not worked with any more; ``key_id`` is empty if over no key at all."""

    node_id: str
    key_id: str
    reason: str
    evidence_hash: bytes
    banned_ms: int


@dataclass(frozen=True, slots=True)
class PairSetupRecord:
    """Where a pair stands: ``pending`` is the session whose checks may be running, or empty."""

    node_id: str
    kind: str
    generation: int
    setup_id: bytes
    living: bool
    since_ms: int
    pending: bytes


@dataclass(frozen=True, slots=True)
class StoredPairSetup:
    """Our half of a living set-up; its envelope's header holds what it was sealed under."""

    node_id: str
    kind: str
    generation: int
    setup_id: bytes
    kek_id: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresignatureRecord:
    """One that is in stock."""

    presignature_id: bytes
    key_id: str
    epoch: int
    path: tuple[int, ...]
    node_ids: tuple[str, ...]
    protocol: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event of the log. ``hash`` covers all other fields, ``previous`` is the hash of the event before."""

    seq: int
    stream: str
    version: int
    event_id: str
    kind: str
    at_ms: int
    payload: bytes
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One audit row. Identifiers are pseudonyms: HMAC-SHA-256 under the store's own key.

    ``event_hash`` is that of the event it reports, empty for a denial. Rows are hash-chained as events are.
    """

    seq: int
    at_ms: int
    action: str
    operation: bytes
    key: bytes
    initiator: bytes
    tenant: bytes
    detail: str
    event_hash: bytes
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class StoreHead:
    """Where the log stands: whoever remembers a head can tell a rolled-back store. ``seq`` is 0 for an empty one."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The last message may leave; from now on the operation's reservation stands."""

    op_id: str


class ShareStore(ABC):
    """One party's share store, open and owned by this process. All methods belong to one event loop."""

    @abstractmethod
    async def execute(self, command: Command[Outcome]) -> Outcome:
        """Apply ``command`` and return its outcome once it is durable.

        Raises StoreBusy and StoreUnavailable (nothing was written), and OutcomeUnknown.
        A cancelled call may still be applied.
        """

    @abstractmethod
    def claim_emission(self, op_id: str, now_ms: int) -> Claimed | Expired | NotAdmitted:
        """Ask, immediately before the last-round message leaves, whether it may. No I/O, never waits.

        Expired if the intent's validity is over by now; NotAdmitted if the reservation was given back, or if this process
        never admitted the operation. Claiming twice is allowed: a replaced quorum runs the same intent again.
        """

    @property
    @abstractmethod
    def healthy(self) -> bool:
        """Whether the store accepts writes. Once false it stays so: the process has to open it anew."""

    @abstractmethod
    def time_ms(self, now_ms: int) -> int:
        """``now_ms``, or the high-water mark if the clock has fallen behind it: what expiry has to be judged by."""

    @abstractmethod
    async def get_key(self, key_id: str) -> KeyRecord | None:
        """A key in any state."""

    @abstractmethod
    async def get_share(self, key_id: str, epoch: int | None = None) -> StoredShare | None:
        """The newest version of a key's share; of the active epoch by default, or None if that is not active."""

    @abstractmethod
    async def list_keys(
        self, *, user_id: str | None = None, wallet_id: str | None = None, after: str = "", limit: int = 100
    ) -> tuple[KeyRecord, ...]:
        """Keys in ascending order of key id, those after ``after``; of one user or wallet if asked."""

    @abstractmethod
    async def prepared_keys(self, limit: int = 100) -> tuple[KeyRecord, ...]:
        """Keys whose share is stored but whose certificate is not complete, oldest first."""

    @abstractmethod
    async def get_operation(self, op_id: str) -> OperationRecord | None:
        """An operation; None once it has been pruned."""

    @abstractmethod
    async def spending(self, key_id: str, asset: str, window_s: int, now_ms: int) -> Spending:
        """What the key has reserved of the asset in the last ``window_s`` seconds."""

    @abstractmethod
    async def bans(self) -> tuple[Ban, ...]:
        """All bans."""

    @abstractmethod
    async def pair_setups(self) -> tuple[PairSetupRecord, ...]:
        """Every pair that ever was, in the order of node and kind."""

    @abstractmethod
    async def get_pair_setup(self, node_id: str, kind: str) -> StoredPairSetup | None:
        """Our half of a living set-up."""

    @abstractmethod
    async def presignatures(self, key_id: str = "") -> tuple[PresignatureRecord, ...]:
        """What is in stock, oldest first; of one key if asked."""

    @abstractmethod
    async def events(self, after: int = 0, limit: int = 100) -> tuple[EventRecord, ...]:
        """Events with a seq above ``after``, in order."""

    @abstractmethod
    async def audit(self, after: int = 0, limit: int = 100) -> tuple[AuditRecord, ...]:
        """Audit rows with a seq above ``after``, in order."""

    @abstractmethod
    async def head(self) -> StoreHead:
        """The newest event's place and hash."""

    @abstractmethod
    async def projection_lag(self) -> int:
        """How many events the read models are behind the log; 0 for an engine that projects in the transaction."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted, then give the store up. Closing twice does nothing."""
