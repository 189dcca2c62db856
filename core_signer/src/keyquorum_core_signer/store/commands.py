"""Commands to the share store, and what each can come out as.

A command is data; ``ShareStore.execute`` returns its outcome after the commit. Outcomes that are no success are values,
not exceptions: a caller has to look at them, and each of them has left its audit row.

Every command carries ``now_ms``, the caller's clock, and mostly ``op_id``, the operation it belongs to. Executing an equal
command again does nothing twice and returns the same outcome with ``repeat=True``. A malformed command cannot be made: its
constructor raises ValueError.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from keyquorum_core_signer.store import checks, limits

O_co = TypeVar("O_co", covariant=True)


class KeyState(StrEnum):
    """Where a key stands in this store."""

    PREPARED = "prepared"  # a share is stored, and this party has promised so
    ACTIVE = "active"  # all parties have signed its certificate
    DELETED = "deleted"  # no share is left; the id is never used again


class OperationState(StrEnum):
    """Where an operation's reservation stands."""

    RESERVED = "reserved"  # admitted; its last message may have left
    EMITTED = "emitted"  # its last message has left: the reservation stands for ever
    RELEASED = "released"  # ended before its last message; nothing is reserved


@dataclass(frozen=True, slots=True)
class Command(Generic[O_co]):
    """Base of all commands; the parameter is the type of the outcome."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What to reserve: ``amount`` of ``asset`` where this party lets ``window_cap`` out in any ``window_s`` seconds."""

    asset: str
    amount: int
    window_cap: int
    window_s: int

    def __post_init__(self) -> None:
        checks.check_text("asset", self.asset, limits.ASSET_CHARS_MAX)
        checks.check_int("amount", self.amount, limits.AMOUNT_BOUND)
        checks.check_int("window_cap", self.window_cap, limits.AMOUNT_BOUND)
        checks.check_int("window_s", self.window_s, limits.WINDOW_S_MAX + 1, least=1)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The operation id now belongs to this intent, and what it spends is reserved, once."""

    op_id: str
    state: OperationState
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was asked contradicts what is recorded for ever: another intent under the same (initiator, nonce), another
    statement for the same key and epoch. ``recorded`` is the hash of what stands."""

    subject: str
    recorded: bytes


@dataclass(frozen=True, slots=True)
class Expired:
    """The operation's validity is over, judged at ``judged_at_ms``: the clock's high-water mark or the pruning watermark."""

    op_id: str
    judged_at_ms: int


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """``requested`` on top of ``reserved`` is more than ``window_cap`` of ``asset`` in the window."""

    op_id: str
    asset: str
    window_cap: int
    reserved: int
    requested: int


@dataclass(frozen=True, slots=True)
class KeyUnavailable:
    """The key is not in the state that the command needs; ``state`` is None for a key that is not known."""

    key_id: str
    state: KeyState | None


AdmitOutcome: TypeAlias = Admitted | Conflict | Expired | LimitExceeded | KeyUnavailable


class OperationKind(StrEnum):
    """What an operation does with its key."""

    CREATE_KEY = "create_key"  # the key must not exist yet
    SIGN = "sign"  # the key must be active


@dataclass(frozen=True, slots=True)
class AdmitOperation(Command[AdmitOutcome]):
    """Bind (initiator, nonce) to one intent hash for ever, and reserve what it spends, atomically.

    Executed again it reserves nothing twice: what it spends moves to now, if today's window has room for it.
    ``intent_hash``, ``initiator`` and ``nonce`` are 32 bytes each. Must be committed before anything secret is used.
    """

    op_id: str
    intent_hash: bytes
    kind: OperationKind
    tenant_id: str
    key_id: str
    initiator: bytes
    nonce: bytes
    valid_until_ms: int
    now_ms: int
    spends: tuple[Spend, ...] = ()

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_hash("intent_hash", self.intent_hash)
        if type(self.kind) is not OperationKind:
            raise ValueError("kind: not an OperationKind")
        checks.check_id("tenant_id", self.tenant_id)
        checks.check_id("key_id", self.key_id)
        checks.check_hash("initiator", self.initiator)
        checks.check_hash("nonce", self.nonce)
        checks.check_int("valid_until_ms", self.valid_until_ms, limits.VALID_UNTIL_MS_BOUND)
        checks.check_time("now_ms", self.now_ms)
        checks.check_count("spends", self.spends, limits.SPENDS_MAX)
        if len({spend.asset for spend in self.spends}) != len(self.spends):
            raise ValueError("spends: an asset is there twice")


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """No reservation is held for the operation: it was never admitted here, was given back, or is forgotten."""

    op_id: str


@dataclass(frozen=True, slots=True)
class Marked:
    """The fact is recorded."""

    op_id: str
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class MarkEmitted(Command[Marked | NotAdmitted]):
    """Record that the operation's last message has left. For the record only: see ``ShareStore.claim_emission``."""

    op_id: str
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing is reserved for the operation any more."""

    op_id: str
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class NotReleasable:
    """The operation's last message left, or may have: its reservation stays until the window has passed."""

    op_id: str


@dataclass(frozen=True, slots=True)
class ReleaseReservation(Command[Released | NotReleasable]):
    """Give back what an operation reserved; only while this process knows that its last message never left."""

    op_id: str
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The share is durable; the party may now sign the statement."""

    key_id: str
    epoch: int
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class StorePreparedShare(Command[Prepared | Conflict | KeyUnavailable | NotAdmitted]):
    """GenerateShares: keep a sealed share of a key that no other party has promised yet.

    ``statement`` is the unsigned key certificate, byte for byte. One (key, epoch) has one statement for ever, because
    the party's signature on it promises this very share. ``sealed`` is an envelope as ``store.envelope.seal`` makes.
    """

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
    now_ms: int
    sealed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("op_id", "key_id", "wallet_id", "tenant_id", "scheme", "kek_id"):
            checks.check_id(name, getattr(self, name))
        checks.check_user("user_id", self.user_id)
        checks.check_epoch("epoch", self.epoch)
        checks.check_int("version", self.version, 2, least=1)  # a share starts with its first envelope
        checks.check_bytes("statement", self.statement, limits.STATEMENT_BYTES_MAX)
        checks.check_bytes("sealed", self.sealed, limits.SEALED_BYTES_MAX)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class NodeSignature:
    """One party's signature on a statement."""

    node_id: str
    signature: bytes

    def __post_init__(self) -> None:
        checks.check_id("node_id", self.node_id)
        checks.check_bytes("signature", self.signature, limits.SIGNATURE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Activated:
    """The key is usable at this epoch."""

    key_id: str
    epoch: int
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class ActivateEpoch(Command[Activated | Conflict | KeyUnavailable]):
    """Make a prepared epoch the active one. The caller has verified that all parties' signatures are on ``statement``."""

    key_id: str
    epoch: int
    statement: bytes
    signatures: tuple[NodeSignature, ...]
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("key_id", self.key_id)
        checks.check_epoch("epoch", self.epoch)
        checks.check_bytes("statement", self.statement, limits.STATEMENT_BYTES_MAX)
        checks.check_count("signatures", self.signatures, limits.SIGNATURES_MAX, least=1)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Updated:
    """The share's envelope was replaced."""

    key_id: str
    epoch: int
    version: int
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class UpdateShare(Command[Updated | Conflict | KeyUnavailable]):
    """Replace a share's envelope by ``version``, one above the stored one: the same share under another KEK generation."""

    key_id: str
    epoch: int
    version: int
    kek_id: str
    now_ms: int
    sealed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        checks.check_id("key_id", self.key_id)
        checks.check_epoch("epoch", self.epoch)
        checks.check_epoch("version", self.version)
        checks.check_id("kek_id", self.kek_id)
        checks.check_bytes("sealed", self.sealed, limits.SEALED_BYTES_MAX)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Deleted:
    """No share of these epochs is left; ``state`` is what the key is now."""

    key_id: str
    state: KeyState
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class DeleteShares(Command[Deleted | KeyUnavailable]):
    """Destroy the shares of all epochs up to ``through_epoch``. Destroying the newest one deletes the key."""

    op_id: str
    key_id: str
    through_epoch: int
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_id("key_id", self.key_id)
        checks.check_epoch("through_epoch", self.through_epoch)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Banned:
    """The peer is banned, and stays so over restarts."""

    node_id: str
    key_id: str
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class BanPeer(Command[Banned]):
    """Never again run a session over ``key_id`` with ``node_id``; an empty ``key_id`` bans it from everything.

    ``evidence_hash`` is 32 bytes: the hash of what proves the fault.
    """

    op_id: str
    node_id: str
    key_id: str
    reason: str
    evidence_hash: bytes
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("op_id", self.op_id)
        checks.check_id("node_id", self.node_id)
        checks.check_id("key_id", self.key_id, optional=True)
        checks.check_text("reason", self.reason, limits.DETAIL_CHARS_MAX)
        checks.check_hash("evidence_hash", self.evidence_hash)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Pruned:
    """Operations that ended before ``watermark_ms`` are forgotten by the read model, and refused for ever."""

    watermark_ms: int
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class PruneOperations(Command[Pruned]):
    """Raise the watermark to ``before_ms``, never above the clock's high-water mark, and drop what expired below it."""

    before_ms: int
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_time("before_ms", self.before_ms)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The audit row is durable."""


@dataclass(frozen=True, slots=True)
class RecordDenial(Command[Recorded]):
    """Leave an audit row for something that was refused outside the store. Changes nothing else.

    ``code`` is one of OperationError's; ``rule`` and ``detail`` hold no identifier in clear. Unknown subjects are empty.
    """

    op_id: str
    code: str
    rule: str
    tenant_id: str
    key_id: str
    initiator: bytes
    now_ms: int
    detail: str = ""

    def __post_init__(self) -> None:
        for name in ("op_id", "tenant_id", "key_id"):
            checks.check_id(name, getattr(self, name), optional=True)
        checks.check_hash("initiator", self.initiator, optional=True)
        checks.check_text("code", self.code, limits.CODE_CHARS_MAX)
        checks.check_text("rule", self.rule, limits.CODE_CHARS_MAX)
        checks.check_text("detail", self.detail, limits.DETAIL_CHARS_MAX)
        checks.check_time("now_ms", self.now_ms)
