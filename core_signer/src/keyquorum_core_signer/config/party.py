"""A party's configuration."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from keyquorum_core_signer.config.sections import Address, ConfigPath, Log, Name, Section, Telemetry, Transport


class Store(Section):
    """The share store; always written with ``synchronous=FULL``."""

    path: ConfigPath


class SoftKek(Section):
    """A key-encryption key derived from a passphrase: the embedded default, and not an HSM."""

    kind: Literal["soft"]
    passphrase_file: ConfigPath
    salt_file: ConfigPath


class Pkcs11Kek(Section):
    """A key-encryption key that stays in an HSM. Exactly one token must match."""

    kind: Literal["pkcs11"]
    module: ConfigPath
    token: Annotated[str, StringConstraints(pattern=r"^pkcs11:[\x21-\x7e]{1,512}\z")]  # RFC 7512 URI
    pin_file: ConfigPath


class CodecPin(Section):
    """A codec that this party's operator trusts to say what payloads do: exactly this artifact."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}\z")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
    path: ConfigPath | None = None  # a folder made with pip --target; by default the party's own environment
    workers: int = Field(default=1, ge=1, le=16)

    @property
    def digest(self) -> bytes:
        """``sha256`` as 32 bytes."""
        return bytes.fromhex(self.sha256)


class Workers(Section):
    """Processes that run protocol sessions; more than there are cores only costs memory."""

    count: int = Field(default=1, ge=1, le=64)


class PartyDeadlines(Section):
    """What a party waits for at most, in milliseconds."""

    session_ms: int = Field(default=20_000, ge=100, le=120_000)  # caps what a coordinator asks for
    codec_ms: int = Field(default=2_000, ge=10, le=30_000)
    shutdown_ms: int = Field(default=5_000, ge=100, le=60_000)


class PartyLimits(Section):
    """What a coordinator can make a party hold at once."""

    sessions: int = Field(default=128, ge=1, le=4096)
    nonces: int = Field(default=64, ge=1, le=4096)  # offered per link and not yet used


class PresignatureStock(Section):
    """How many ECDSA signatures are prepared ahead of time, for the paths that are signed for lately."""

    depth: int = Field(default=8, ge=0, le=1024)  # per path of a key and quorum; 0 prepares none
    idle_s: int = Field(default=600, ge=1, le=86_400)  # after its last signature a path is not prepared for any more
    cpu_share: float = Field(default=0.25, gt=0, le=1)  # of the time that preparing may take
    pools_per_peer: int = Field(default=256, ge=1, le=4096)  # that one peer may have this party keep


class Hardening(Section):
    """Protection of the process's memory; only a test that must look inside turns it off."""

    allow_memory_inspection: bool = False


class PartyConfig(Section):
    """One party: its own trust domain."""

    node_id: Name
    roster: ConfigPath
    identity_key: ConfigPath
    listen: Address
    reflection: bool = False  # gRPC reflection, for development
    transport: Transport
    store: Store
    kek: Annotated[SoftKek | Pkcs11Kek, Field(discriminator="kind")]
    codecs: tuple[CodecPin, ...] = Field(default=(), max_length=64)
    workers: Workers = Workers()
    deadlines: PartyDeadlines = PartyDeadlines()
    limits: PartyLimits = PartyLimits()
    presignatures: PresignatureStock = PresignatureStock()
    telemetry: Telemetry = Telemetry()
    hardening: Hardening = Hardening()
    log: Log = Log()

    @model_validator(mode="after")
    def _codecs_are_distinct(self) -> "PartyConfig":
        pins = [(codec.name, codec.version, codec.sha256) for codec in self.codecs]
        if len(set(pins)) != len(pins):
            raise ValueError("codecs: the same codec is pinned twice")
        return self

    def secret_files(self) -> tuple[ConfigPath, ...]:
        """Files that nobody else may read."""
        kek = self.kek
        own = (kek.passphrase_file,) if isinstance(kek, SoftKek) else (kek.pin_file,)
        return (self.identity_key, self.transport.key, *own)

    def public_files(self) -> tuple[ConfigPath, ...]:
        """Other files and folders that must be there before the party starts."""
        kek = self.kek
        own = (kek.salt_file,) if isinstance(kek, SoftKek) else (kek.module,)
        codecs = (codec.path for codec in self.codecs if codec.path is not None)
        return (self.roster, self.transport.certificate, *own, *codecs)
