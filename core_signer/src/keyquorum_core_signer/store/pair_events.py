"""What happens to pair set-ups and presignatures, as the log keeps it. ``occasion`` makes the name of what recurs unique."""

from dataclasses import dataclass

from keyquorum_core_signer.wire.codec import hash_typed


@dataclass(frozen=True, slots=True)
class PairSetupStored:
    """Our half of a set-up is kept; an older one is gone."""

    node_id: str
    kind: str
    generation: int
    setup_id: bytes
    kek_id: str
    sealed_hash: bytes

    @property
    def stream(self) -> str:
        return f"pair/{self.node_id}"

    @property
    def event_id(self) -> str:
        return f"pair/{self.node_id}/{self.kind}/{self.generation}"


@dataclass(frozen=True, slots=True)
class PairSetupDestroyed:
    """No set-up with the peer is left, and nothing that was made with it."""

    node_id: str
    kind: str
    generation: int
    reason: str

    @property
    def stream(self) -> str:
        return f"pair/{self.node_id}"

    @property
    def event_id(self) -> str:
        return f"unpair/{self.node_id}/{self.kind}/{self.generation}"


@dataclass(frozen=True, slots=True)
class PairChecksBegun:
    """Checks of a session may be running from here on."""

    session_id: bytes
    pairs: tuple[tuple[str, str, bytes], ...]

    @property
    def stream(self) -> str:
        return "checks"

    @property
    def event_id(self) -> str:
        return f"checks/{self.session_id.hex()}"


@dataclass(frozen=True, slots=True)
class PairChecksEnded:
    """They are over."""

    session_id: bytes

    @property
    def stream(self) -> str:
        return "checks"

    @property
    def event_id(self) -> str:
        return f"checked/{self.session_id.hex()}"


@dataclass(frozen=True, slots=True)
class PeerCondemned:
    """A peer failed a check that no honest party fails: it is banned from everything, its set-ups are gone."""

    op_id: str
    node_id: str
    reason: str
    evidence_hash: bytes
    occasion: int

    @property
    def stream(self) -> str:
        return f"peer/{self.node_id}"

    @property
    def event_id(self) -> str:
        return f"condemn/{self.node_id}/{self.occasion}"


@dataclass(frozen=True, slots=True)
class PeerPardoned:
    """An operator lifted the ban."""

    node_id: str
    reason: str
    occasion: int

    @property
    def stream(self) -> str:
        return f"peer/{self.node_id}"

    @property
    def event_id(self) -> str:
        return f"pardon/{self.node_id}/{self.occasion}"


@dataclass(frozen=True, slots=True)
class PresignaturesKept:
    """Presignatures can be burned: id and hash of the envelope of each."""

    key_id: str
    epoch: int
    path: tuple[int, ...]
    node_ids: tuple[str, ...]
    protocol: str
    entries: tuple[tuple[bytes, bytes], ...]

    @property
    def stream(self) -> str:
        return f"presignatures/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"presign/{hash_typed('keyquorum/presignatures/v1', tuple(name for name, _ in self.entries)).hex()}"


@dataclass(frozen=True, slots=True)
class PresignaturesBurned:
    """Presignatures were used up for one session."""

    op_id: str
    session_id: bytes
    key_id: str
    presignature_ids: tuple[bytes, ...]

    @property
    def stream(self) -> str:
        return f"presignatures/{self.key_id}"

    @property
    def event_id(self) -> str:
        return f"burn/{self.session_id.hex()}"


@dataclass(frozen=True, slots=True)
class PresignaturesVoided:
    """Presignatures were destroyed unused: of a key, of a peer, by id, or all; ``below_epoch`` spares later ones, 0 none."""

    reason: str
    key_id: str
    node_id: str
    below_epoch: int
    presignature_ids: tuple[bytes, ...]
    occasion: int

    @property
    def stream(self) -> str:
        return "void"

    @property
    def event_id(self) -> str:
        return f"void/{self.occasion}"
