"""The gateway's configuration: one TOML file, unknown keys refused, secrets by file path only.

``KEYQUORUM_GATEWAY__SECTION__KEY=value`` overrides one key; the value is read as TOML where it is TOML, else as text.
Relative paths are relative to the configuration file. deploy/config/gateway.sample.toml explains every key.
"""

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

OVERRIDE_PREFIX: Final = "KEYQUORUM_GATEWAY__"
_SECRET_BYTES_MAX: Final = 64 * 1024

Amount = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$")]
CaipChain = Annotated[str, StringConstraints(pattern=r"^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$")]
CaipAsset = Annotated[
    str, StringConstraints(pattern=r"^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}/[-a-z0-9]{3,8}:[-.%a-zA-Z0-9/]+$")
]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ConfigError(Exception):
    """The configuration cannot be used; the text tells the operator where and why."""


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerConfig(Section):
    """Where and how REST is served."""

    listen: str = "127.0.0.1:8080"
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    body_bytes_max: int = Field(default=64 * 1024, ge=1024, le=4 * 1024 * 1024)
    wait_s: float = Field(default=10, ge=0, le=60)
    wait_s_max: float = Field(default=30, ge=0, le=120)
    shutdown_s: float = Field(default=10, ge=0, le=120)

    @property
    def host(self) -> str:
        """The address part of ``listen``."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port part of ``listen``; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])

    @model_validator(mode="after")
    def _never_plaintext_off_loopback(self) -> Self:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("listen is not HOST:PORT")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        if self.tls_certificate_file is None and not _is_loopback(self.host):
            raise ValueError("without TLS the gateway listens on loopback only")
        return self


class IdentityConfig(Section):
    """Who this gateway is towards the coordinator and the parties."""

    gateway_id: str
    initiator_key_file: Path
    tls_certificate_file: Path
    tls_key_file: Path


class RosterConfig(Section):
    """The pinned roster."""

    file: Path


class CoordinatorConfig(Section):
    """The cell's coordinator; its certificate is pinned by the roster."""

    address: str
    coordinator_id: str
    create_key_s: float = Field(default=30, gt=0, le=600)
    sign_s: float = Field(default=20, gt=0, le=600)


class StateConfig(Section):
    """The gateway's own database."""

    file: Path


class AuthConfig(Section):
    """How API keys are recognised."""

    pepper_file: Path


class IntentsConfig(Section):
    """How long an intent stays valid after it was made."""

    gateway_validity_s: int = Field(default=60, ge=1, le=3600)
    client_validity_s: int = Field(default=300, ge=1, le=24 * 3600)


class WalletsConfig(Section):
    """How new keys are shared. Without a threshold: the majority of the roster's nodes."""

    threshold: int | None = Field(default=None, ge=2, le=16)
    allow_raw: bool = False


class PluginsConfig(Section):
    """Which distributions may bring chains and codecs into this process."""

    allow: tuple[str, ...] = ()


class FlagsConfig(Section):
    """The file of chain flags. Without one, ``enabled`` and ``tenants`` of each chain are all there is."""

    file: Path | None = None


class LimitConfig(Section):
    """A default limit on one asset in the policy of a new key; amounts in minor units."""

    asset: CaipAsset
    per_transaction: Amount
    per_window: Amount
    window_s: int = Field(default=24 * 3600, ge=1, le=366 * 24 * 3600)

    @model_validator(mode="after")
    def _window_holds_a_transaction(self) -> Self:
        if int(self.per_transaction) > int(self.per_window):
            raise ValueError("per_transaction is more than per_window")
        return self


class ChainConfig(Section):
    """One chain. ``settings`` is handed to the adapter as it is."""

    enabled: bool = True
    tenants: tuple[str, ...] = ()
    fee_ceiling: Amount
    limits: tuple[LimitConfig, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)


class RateConfig(Section):
    """Requests allowed per window to one API key, and to all keys of its tenant together."""

    per_key: int = Field(ge=1)
    per_tenant: int = Field(ge=1)
    window_s: int = Field(default=60, ge=1, le=3600)


class RateLimitsConfig(Section):
    """One budget per class of route."""

    read: RateConfig = RateConfig(per_key=6000, per_tenant=30000)
    write: RateConfig = RateConfig(per_key=1200, per_tenant=6000)
    create: RateConfig = RateConfig(per_key=120, per_tenant=600)


class TelemetryConfig(Section):
    """Where traces and metrics go."""

    service_name: str = "keyquorum-gateway"
    otlp_endpoint: str = ""
    otlp_insecure: bool = False
    span_file: Path | None = None
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    metrics_public: bool = False


class LogConfig(Section):
    """How much is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class GatewayConfig(Section):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    identity: IdentityConfig
    roster: RosterConfig
    coordinator: CoordinatorConfig
    state: StateConfig
    auth: AuthConfig
    intents: IntentsConfig = IntentsConfig()
    wallets: WalletsConfig = WalletsConfig()
    plugins: PluginsConfig = PluginsConfig()
    flags: FlagsConfig = FlagsConfig()
    chains: dict[CaipChain, ChainConfig] = Field(default_factory=dict)
    rate_limits: RateLimitsConfig = RateLimitsConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    log: LogConfig = LogConfig()


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> GatewayConfig:
    """Read, override and validate; :class:`ConfigError` names the file and every wrong key."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for name, value in sorted(environ.items()):
        if name.startswith(OVERRIDE_PREFIX):
            _override(tree, name, value)
    try:
        config = GatewayConfig.model_validate(tree)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}:\n  " + "\n  ".join(lines)) from None
    resolved: GatewayConfig = _resolve_paths(config, path.resolve().parent)
    return resolved


def read_secret(path: Path) -> bytes:
    """The bytes of a secret's file, without the line end; refuses one that others may read."""
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path}: holds a secret, but others may read it (chmod 600 {path})")
        with path.open("rb") as file:
            data = file.read(_SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > _SECRET_BYTES_MAX:
        raise ConfigError(f"{path}: too long for a secret")
    return data.rstrip(b"\r\n")


def read_hex_secret(path: Path, length: int) -> bytes:
    """A secret of ``length`` bytes, kept as hex; the error never quotes it."""
    try:
        secret = bytes.fromhex(read_secret(path).decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise ConfigError(f"{path}: not hexadecimal") from None
    if len(secret) != length:
        raise ConfigError(f"{path}: {length} bytes in hexadecimal are expected")
    return secret


def _override(tree: dict[str, Any], name: str, value: str) -> None:
    *sections, key = name.removeprefix(OVERRIDE_PREFIX).lower().split("__")
    table: Any = tree
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: {section} is not a section")
    try:
        table[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = value


def _resolve_paths(section: Any, base: Path) -> Any:
    """The same section with every path made absolute."""
    changes: dict[str, Any] = {}
    for field in type(section).model_fields:
        value = getattr(section, field)
        if isinstance(value, Path):
            changes[field] = base / value.expanduser()
        elif isinstance(value, Section):
            changes[field] = _resolve_paths(value, base)
    return section.model_copy(update=changes)
