"""The configuration of every process of a stack, written anew at each start from what the state folder holds."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from keyquorum_devnet.engines import ENGINES, Engine
from keyquorum_devnet.layout import COORDINATOR, GATEWAY, PARTIES, Layout, new_secret
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.toml import Value, dumps

Hsm = Literal["soft", "softhsm"]


class BadAddition(Exception):
    """What a stack is to have beyond its own chains cannot be read; the text names the file."""


@dataclass(frozen=True, slots=True)
class Additions:
    """Plugins of others that a stack serves beside its own chains."""

    path: Path | None = None  # a folder made with pip install --target, which the gateway imports from as well
    plugins: tuple[str, ...] = ()  # distributions that the gateway allows
    codecs: tuple[str, ...] = ()  # that every party pins as they are in ``path``, or in our own environment
    chains: Path | None = None  # TOML with the [chains."…"] tables of gateway.toml

    def tables(self) -> dict[str, Any]:
        """The tables of ``chains``; :class:`BadAddition` if there are none."""
        if self.chains is None:
            return {}
        try:
            read = tomllib.loads(self.chains.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadAddition(f"{self.chains}: {error}") from None
        chains = read.pop("chains", None)
        if not isinstance(chains, dict) or read:
            raise BadAddition(f'{self.chains}: expected [chains."…"] tables and nothing else')
        return chains


@dataclass(frozen=True, slots=True)
class Options:
    """How a stack differs from the ordinary one."""

    hsm: Hsm = "soft"
    inspectable: bool = False  # processes of the same user may read a party's memory: for the memory scan alone
    allow_raw: bool = False  # new keys sign bytes that no codec explains
    rate_limits: bool = True  # a measurement would be a measurement of them
    log_level: str = "info"
    engines: tuple[Engine, ...] = ENGINES
    additions: Additions = Additions()


def kek_table(layout: Layout, name: str, token: Mapping[str, str] | None) -> dict[str, Value]:
    """A party's ``[kek]``: in its token if it has one, else under a passphrase."""
    if token is not None:
        return {
            "kind": "pkcs11",
            "module": token["module"],
            "token": f"pkcs11:token={token['token']};object=kek",
            "pin_file": token["pin_file"],
        }
    new_secret(layout.node(name) / "kek.passphrase")
    return {"kind": "soft", "passphrase_file": "kek.passphrase", "salt_file": "kek.salt"}


def party(
    layout: Layout, name: str, *, port: int, options: Options, kek: Mapping[str, Value], pins: Iterable[str]
) -> dict[str, Any]:
    """``party.toml``; ``pins`` are TOML as ``keyquorum-signer codec`` prints it."""
    return {
        "node_id": name,
        "roster": "roster.toml",
        "identity_key": f"{name}.identity.seed",
        "listen": f"{HOST}:{port}",
        "codecs": tomllib.loads("".join(pins)).get("codecs", []),
        "transport": {"certificate": f"{name}.transport.pem", "key": f"{name}.transport.key"},
        "store": {"path": "shares.db"},
        "kek": kek,
        "telemetry": {"span_file": str(layout.spans(name))},
        "hardening": {"allow_memory_inspection": options.inspectable},
        "log": {"level": options.log_level},
    }


def coordinator(layout: Layout, port: int, options: Options) -> dict[str, Any]:
    """``coordinator.toml``."""
    name = COORDINATOR
    return {
        "coordinator_id": name,
        "roster": "roster.toml",
        "listen": f"{HOST}:{port}",
        "transport": {"certificate": f"{name}.transport.pem", "key": f"{name}.transport.key"},
        "operations": {"path": "operations.db"},
        "telemetry": {"span_file": str(layout.spans(name))},
        "log": {"level": options.log_level},
    }


def gateway(layout: Layout, ports: Mapping[str, int], options: Options) -> dict[str, Any]:
    """``gateway.toml``."""
    name = GATEWAY
    new_secret(layout.node(name) / "pepper")
    if not layout.flags.exists():
        layout.flags.write_text('{"chains": {}}\n', encoding="utf-8")
    table: dict[str, Any] = {
        "server": {"listen": f"{HOST}:{ports[name]}"},
        "identity": {
            "gateway_id": name,
            "initiator_key_file": f"{name}.identity.seed",
            "tls_certificate_file": f"{name}.transport.pem",
            "tls_key_file": f"{name}.transport.key",
        },
        "roster": {"file": "roster.toml"},
        "coordinator": {"address": f"{HOST}:{ports[COORDINATOR]}", "coordinator_id": COORDINATOR},
        "state": {"file": "gateway.db"},
        "auth": {"pepper_file": "pepper"},
        "wallets": {"allow_raw": options.allow_raw},
        "plugins": {"allow": [*(engine.plugin for engine in options.engines), *options.additions.plugins]},
        "flags": {"file": layout.flags.name},
        "telemetry": {"span_file": str(layout.spans(name))},
        "log": {"level": options.log_level},
        "chains": {engine.chain: engine.table(ports[engine.name]) for engine in options.engines}
        | options.additions.tables(),
    }
    if not options.rate_limits:
        unlimited = {"per_key": 10_000_000, "per_tenant": 10_000_000}
        table["rate_limits"] = {"read": unlimited, "write": unlimited, "create": unlimited}
    return table


def write(
    layout: Layout,
    ports: Mapping[str, int],
    options: Options,
    tokens: Mapping[str, Mapping[str, str]],
    pins: Iterable[str],
) -> None:
    """Write every node's file."""
    tables = {COORDINATOR: coordinator(layout, ports[COORDINATOR], options), GATEWAY: gateway(layout, ports, options)}
    for name in PARTIES:
        tables[name] = party(
            layout, name, port=ports[name], options=options, kek=kek_table(layout, name, tokens.get(name)), pins=pins
        )
    for name, table in tables.items():
        layout.config(name).write_text(dumps(table), encoding="utf-8")
