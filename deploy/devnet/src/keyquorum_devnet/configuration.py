"""The configuration of every process of a stack, written anew at each start from what the state folder holds."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from keyquorum_devnet.layout import CHAIN, COORDINATOR, GATEWAY, PARTIES, Layout, new_secret
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.solana.genesis import CHAIN_ID, NATIVE_ASSET
from keyquorum_devnet.toml import Value, dumps

PLUGINS: Final = ("keyquorum-sol",)
CODECS: Final = ("solana",)
LAMPORTS_PER_SOL: Final = 1_000_000_000
LIMIT_PER_TRANSACTION: Final = 100 * LAMPORTS_PER_SOL
LIMIT_PER_WINDOW: Final = 1_000 * LAMPORTS_PER_SOL
FEE_CEILING: Final = 1_000_000  # lamports

Hsm = Literal["soft", "softhsm"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a stack differs from the ordinary one."""

    hsm: Hsm = "soft"
    inspectable: bool = False  # processes of the same user may read a party's memory: for the memory scan alone
    allow_raw: bool = False  # new keys sign bytes that no codec explains
    rate_limits: bool = True  # a measurement would be a measurement of them
    log_level: str = "info"


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
    layout: Layout, name: str, *, port: int, options: Options, kek: Mapping[str, Value], pins: str
) -> dict[str, Any]:
    """``party.toml``; ``pins`` is TOML as ``keyquorum-signer codec`` prints it."""
    return {
        "node_id": name,
        "roster": "roster.toml",
        "identity_key": f"{name}.identity.seed",
        "listen": f"{HOST}:{port}",
        "codecs": tomllib.loads(pins)["codecs"],
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
        "plugins": {"allow": list(PLUGINS)},
        "telemetry": {"span_file": str(layout.spans(name))},
        "log": {"level": options.log_level},
        "chains": {
            CHAIN_ID: {
                "fee_ceiling": str(FEE_CEILING),
                "limits": [
                    {
                        "asset": NATIVE_ASSET,
                        "per_transaction": str(LIMIT_PER_TRANSACTION),
                        "per_window": str(LIMIT_PER_WINDOW),
                    }
                ],
                "settings": {
                    "rpc_url": f"http://{HOST}:{ports[CHAIN]}/",
                    "ws_url": f"ws://{HOST}:{ports[CHAIN]}/",
                    "name": "Solana on this machine",
                    "aliases": ["solana:devnet", "solana:localnet"],
                    "rebroadcast_interval_s": 1.0,
                    "poll_interval_s": 0.5,
                },
            }
        },
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
    pins: str,
) -> None:
    """Write every node's file."""
    tables = {COORDINATOR: coordinator(layout, ports[COORDINATOR], options), GATEWAY: gateway(layout, ports, options)}
    for name in PARTIES:
        tables[name] = party(
            layout, name, port=ports[name], options=options, kek=kek_table(layout, name, tokens.get(name)), pins=pins
        )
    for name, table in tables.items():
        layout.config(name).write_text(dumps(table), encoding="utf-8")
