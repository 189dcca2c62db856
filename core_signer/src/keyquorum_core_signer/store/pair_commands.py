"""Commands about pair set-ups, the checks that can cost one, bans, and this node's own auxiliary secrets."""

from dataclasses import dataclass, field

from keyquorum_core_signer.store import checks, limits
from keyquorum_core_signer.store.commands import Command


@dataclass(frozen=True, slots=True)
class PairStored:
    """The set-up is the living one."""

    node_id: str
    kind: str
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class PairConflict:
    """There is, or was, a set-up of this generation or a higher one."""

    node_id: str
    kind: str
    generation: int


@dataclass(frozen=True, slots=True)
class PeerIsBanned:
    """Nothing is kept with a banned peer."""

    node_id: str


@dataclass(frozen=True, slots=True)
class StorePairSetup(Command[PairStored | PairConflict | PeerIsBanned]):
    """Keep our half of a set-up, in the place of an older one, which is destroyed with what was made of it.

    ``generation`` counts the set-ups of a pair from 1 and never comes back. ``sealed`` is an envelope.
    """

    node_id: str
    kind: str
    generation: int
    setup_id: bytes
    kek_id: str
    now_ms: int
    sealed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("node_id", "kind", "kek_id"):
            checks.check_id(name, getattr(self, name))
        checks.check_int("generation", self.generation, limits.GENERATION_BOUND, least=1)
        checks.check_hash("setup_id", self.setup_id)
        checks.check_bytes("sealed", self.sealed, limits.SEALED_BYTES_MAX)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class PairDestroyed:
    """No set-up with the peer is left."""

    node_id: str
    kind: str
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class DestroyPairSetup(Command[PairDestroyed]):
    """Destroy a set-up, whatever was made of it, and the note that its checks may be running."""

    node_id: str
    kind: str
    reason: str
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("node_id", self.node_id)
        checks.check_id("kind", self.kind)
        checks.check_text("reason", self.reason, limits.DETAIL_CHARS_MAX)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class ChecksBegun:
    """It is written down that the checks may be running."""

    repeat: bool = False


@dataclass(frozen=True, slots=True)
class PairUnavailable:
    """The named set-up is not the living one, another session's checks may be running in it, or the session's are over."""

    node_id: str


Pair = tuple[str, str, bytes]
"""Peer, kind, and id of the set-up."""


@dataclass(frozen=True, slots=True)
class BeginPairChecks(Command[ChecksBegun | PairUnavailable]):
    """Write down, before any check of a session runs, which pairs it could cost. All of them or none."""

    session_id: bytes
    pairs: tuple[Pair, ...]
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_hash("session_id", self.session_id)
        checks.check_count("pairs", self.pairs, limits.PAIRS_MAX, least=1)
        for node_id, kind, setup_id in self.pairs:
            checks.check_id("node_id", node_id)
            checks.check_id("kind", kind)
            checks.check_hash("setup_id", setup_id)
        if len({(node_id, kind) for node_id, kind, _ in self.pairs}) != len(self.pairs):
            raise ValueError("pairs: one is there twice")
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class ChecksEnded:
    """Nothing is pending for the session."""

    repeat: bool = False


@dataclass(frozen=True, slots=True)
class EndPairChecks(Command[ChecksEnded]):
    """The session's checks are over, and what they led to is done."""

    session_id: bytes
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_hash("session_id", self.session_id)
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """These set-ups were destroyed: peer and kind."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AbandonInterruptedChecks(Command[Abandoned]):
    """For the start of a process: whatever checks were running when the last one ended have no verdict any more."""

    now_ms: int

    def __post_init__(self) -> None:
        checks.check_time("now_ms", self.now_ms)


@dataclass(frozen=True, slots=True)
class BanLifted:
    """The peer may be worked with again; it has to be paired with anew."""

    node_id: str


@dataclass(frozen=True, slots=True)
class NotBanned:
    """There was nothing to lift."""

    node_id: str


@dataclass(frozen=True, slots=True)
class LiftBan(Command[BanLifted | NotBanned]):
    """An operator's decision, after the node was looked into or replaced. ``reason`` goes to the audit."""

    node_id: str
    reason: str
    now_ms: int

    def __post_init__(self) -> None:
        checks.check_id("node_id", self.node_id)
        checks.check_text("reason", self.reason, limits.DETAIL_CHARS_MAX)
        checks.check_time("now_ms", self.now_ms)
