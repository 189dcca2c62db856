"""The roster: whom a party, a coordinator or a gateway believes, written by its own operator into a file.

Nothing served over the network ever changes a roster. Its hash covers what is believed (the cell, the nodes' identity
keys, the tenants' root keys) and not how they are reached (addresses and TLS certificates, which each operator may
replace alone).
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.errors import IntentError, RosterError
from keyquorum_core_signer.intents.limits import PARTIES_MAX, THRESHOLD_MIN
from keyquorum_core_signer.intents.tables import Table, normalize_certificate, parse_toml
from keyquorum_core_signer.wire.certificates import CertificateError, check_identity_certificate
from keyquorum_core_signer.wire.codec import hash_typed
from keyquorum_core_signer.wire.identity import verify

ROSTER_TAG = "keyquorum/roster/v1"
ROSTER_VERSION = 1

_INDEX_MAX = (
    2**16 - 1
)  # an index is never given twice, so a cell that outlives its nodes needs more than it has parties
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Node:
    """A party: its Shamir index, the Ed25519 key that it is believed by, and how to reach it."""

    node_id: str
    index: int
    identity_key: bytes
    identity_certificate: str  # PEM, self-signed by the identity key; anchors the pairwise channels
    transport_certificate: str  # PEM, self-signed; its name is the node id
    address: str  # host:port


@dataclass(frozen=True, slots=True)
class Coordinator:
    """A coordinator, believed only to be the peer of a link."""

    coordinator_id: str
    transport_certificate: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway, believed only to be the peer of a call."""

    gateway_id: str
    transport_certificate: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and the Ed25519 keys that may order new keys for it."""

    tenant_id: str
    root_keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is believed. Construction raises RosterError unless everything in it is consistent.

    Nodes are kept in ascending order of index, everything else in order of id, so that equal rosters are equal.
    """

    cell_id: str
    nodes: tuple[Node, ...]
    coordinators: tuple[Coordinator, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    roster_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: node.index)))
        object.__setattr__(self, "coordinators", tuple(sorted(self.coordinators, key=lambda c: c.coordinator_id)))
        object.__setattr__(self, "gateways", tuple(sorted(self.gateways, key=lambda g: g.gateway_id)))
        tenants = (Tenant(tenant.tenant_id, tuple(sorted(tenant.root_keys))) for tenant in self.tenants)
        object.__setattr__(self, "tenants", tuple(sorted(tenants, key=lambda tenant: tenant.tenant_id)))
        try:
            _check(self)
        except IntentError as error:
            raise RosterError(error.detail) from None
        object.__setattr__(self, "roster_hash", _roster_hash(self))

    @classmethod
    def load(cls, path: Path) -> "Roster":
        """Read a roster file; raises RosterError with a line for the operator."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RosterError(f"{path}: {error.strerror}") from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, source: str = "roster") -> "Roster":
        """Read a roster's TOML bytes; ``source`` names them in errors."""
        try:
            return _from_table(parse_toml(data, "roster"))
        except RosterError as error:
            raise RosterError(f"{source}: {error.detail}") from None

    def dump(self) -> str:
        """The roster as TOML; :meth:`parse` gives back an equal one."""
        return _to_toml(self)

    def node(self, node_id: str) -> Node:
        """The node of that id; KeyError if there is none."""
        found = self.find_node(node_id)
        if found is None:
            raise KeyError(node_id)
        return found

    def find_node(self, node_id: str) -> Node | None:
        """The node of that id, if there is one."""
        return next((node for node in self.nodes if node.node_id == node_id), None)

    def node_at(self, index: int) -> Node:
        """The node of that Shamir index; KeyError if there is none."""
        for node in self.nodes:
            if node.index == index:
                return node
        raise KeyError(index)

    def find_tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant of that id, if there is one."""
        return next((tenant for tenant in self.tenants if tenant.tenant_id == tenant_id), None)

    def find_coordinator(self, coordinator_id: str) -> Coordinator | None:
        """The coordinator of that id, if there is one."""
        return next((entry for entry in self.coordinators if entry.coordinator_id == coordinator_id), None)

    def find_gateway(self, gateway_id: str) -> Gateway | None:
        """The gateway of that id, if there is one."""
        return next((entry for entry in self.gateways if entry.gateway_id == gateway_id), None)

    def verify(self, node_id: str, tag: str, data: bytes, signature: bytes) -> bool:
        """Whether the pinned node ``node_id`` signed ``data`` for the purpose ``tag``; False for an unknown node."""
        node = self.find_node(node_id)
        return node is not None and verify(node.identity_key, tag, data, signature)


def _roster_hash(roster: Roster) -> bytes:
    return hash_typed(
        ROSTER_TAG,
        ROSTER_VERSION,
        roster.cell_id,
        tuple((node.node_id, node.index, node.identity_key) for node in roster.nodes),
        tuple((tenant.tenant_id, tenant.root_keys) for tenant in roster.tenants),
    )


def _check(roster: Roster) -> None:
    fields.name(roster.cell_id, "cell_id")
    fields.count(roster.nodes, THRESHOLD_MIN, PARTIES_MAX, "nodes")
    for node in roster.nodes:
        what = f"node {node.node_id}"
        fields.exactly(node.identity_key, fields.KEY_BYTES, f"{what}: identity_key")
        if not 1 <= node.index <= _INDEX_MAX:
            raise RosterError(f"{what}: index is 1 to {_INDEX_MAX}")
        _check_identity(node, what)
        _check_address(node.address, what)
    for tenant in roster.tenants:
        fields.name(tenant.tenant_id, "tenant_id")
        if not tenant.root_keys:
            raise RosterError(f"tenant {tenant.tenant_id}: without root keys nobody can order a key")
        for key in tenant.root_keys:
            fields.exactly(key, fields.KEY_BYTES, f"tenant {tenant.tenant_id}: root_keys")
        fields.distinct(tenant.root_keys, f"tenant {tenant.tenant_id}: root_keys")
    peers = [
        *((node.node_id, node.transport_certificate) for node in roster.nodes),
        *((entry.coordinator_id, entry.transport_certificate) for entry in roster.coordinators),
        *((entry.gateway_id, entry.transport_certificate) for entry in roster.gateways),
    ]
    for name, pem in peers:
        _check_transport(fields.name(name, "id"), pem)
    fields.distinct((name for name, _ in peers), "ids of nodes, coordinators and gateways")
    fields.distinct((pem for _, pem in peers), "transport certificates")
    fields.distinct((node.index for node in roster.nodes), "indices")
    fields.distinct((node.identity_key for node in roster.nodes), "identity keys")
    fields.distinct((node.address for node in roster.nodes), "addresses")
    fields.distinct((tenant.tenant_id for tenant in roster.tenants), "tenants")


def _check_identity(node: Node, what: str) -> None:
    if normalize_certificate(node.identity_certificate, f"{what}: identity_certificate") != node.identity_certificate:
        raise RosterError(f"{what}: identity_certificate is not in its one spelling")
    try:
        check_identity_certificate(node.identity_certificate, node.node_id, node.identity_key)
    except CertificateError as error:
        raise RosterError(f"{what}: {error}") from None


def _check_transport(name: str, pem: str) -> None:
    if normalize_certificate(pem, f"{name}: transport_certificate") != pem:
        raise RosterError(f"{name}: transport_certificate is not in its one spelling")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise RosterError(f"{name}: transport_certificate has no name") from None
    if names.get_values_for_type(x509.DNSName) != [name]:
        raise RosterError(f"{name}: transport_certificate is for another name")


def _check_address(address: str, what: str) -> None:
    host, separator, port = address.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise RosterError(f"{what}: address is host:port")
    if _HOST.fullmatch(host):
        return
    try:
        ipaddress.IPv6Address(host[1:-1] if host.startswith("[") and host.endswith("]") else "")
    except ValueError:
        raise RosterError(f"{what}: address is host:port") from None


def _from_table(table: Table) -> Roster:
    if table.integer("version") != ROSTER_VERSION:
        raise RosterError(f"roster.version: only {ROSTER_VERSION} is known")
    cell_id = table.text("cell_id")
    nodes, coordinators, gateways, tenants = [], [], [], []
    for entry in table.tables("nodes"):
        nodes.append(
            Node(
                node_id=entry.text("node_id"),
                index=entry.integer("index"),
                identity_key=entry.key_bytes("identity_key"),
                identity_certificate=entry.certificate("identity_certificate"),
                transport_certificate=entry.certificate("transport_certificate"),
                address=entry.text("address"),
            )
        )
        entry.finish()
    for entry in table.tables("coordinators"):
        coordinators.append(Coordinator(entry.text("coordinator_id"), entry.certificate("transport_certificate")))
        entry.finish()
    for entry in table.tables("gateways"):
        gateways.append(Gateway(entry.text("gateway_id"), entry.certificate("transport_certificate")))
        entry.finish()
    for entry in table.tables("tenants"):
        tenants.append(Tenant(entry.text("tenant_id"), entry.keys_bytes("root_keys")))
        entry.finish()
    table.finish()
    return Roster(cell_id, tuple(nodes), tuple(coordinators), tuple(gateways), tuple(tenants))


def _to_toml(roster: Roster) -> str:
    """Write TOML. Every string was checked to hold neither a quote nor a backslash, so none needs escaping."""
    lines = [f"version = {ROSTER_VERSION}", f'cell_id = "{roster.cell_id}"']

    def table(name: str, entries: Mapping[str, str | int | Sequence[str]]) -> None:
        lines.extend(["", f"[[{name}]]"])
        for key, value in entries.items():
            if isinstance(value, int):
                lines.append(f"{key} = {value}")
            elif not isinstance(value, str):
                quoted = ", ".join(f'"{item}"' for item in value)
                lines.append(f"{key} = [{quoted}]")
            elif "\n" in value:
                lines.append(f'{key} = """\n{value}"""')
            else:
                lines.append(f'{key} = "{value}"')

    for node in roster.nodes:
        table(
            "nodes",
            {
                "node_id": node.node_id,
                "index": node.index,
                "identity_key": node.identity_key.hex(),
                "address": node.address,
                "identity_certificate": node.identity_certificate,
                "transport_certificate": node.transport_certificate,
            },
        )
    for coordinator in roster.coordinators:
        entry = {"coordinator_id": coordinator.coordinator_id}
        table("coordinators", entry | {"transport_certificate": coordinator.transport_certificate})
    for gateway in roster.gateways:
        entry = {"gateway_id": gateway.gateway_id}
        table("gateways", entry | {"transport_certificate": gateway.transport_certificate})
    for tenant in roster.tenants:
        table("tenants", {"tenant_id": tenant.tenant_id, "root_keys": [key.hex() for key in tenant.root_keys]})
    return "\n".join(lines) + "\n"
