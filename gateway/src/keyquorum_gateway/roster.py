"""The pinned roster, as the gateway reads it: whose signatures prove a key, and which tenants may have keys.

The file is written by this gateway's operator and never served over the network. Its hash covers what is believed (the
cell, the nodes' identity keys, the tenants' root keys), not addresses or TLS certificates.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from keyquorum_gateway.identity import verify

ROSTER_TAG: Final = "keyquorum/roster/v1"

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Frame: TypeAlias = "int | bytes | str | tuple[_Frame, ...]"


class RosterError(Exception):
    """The roster file cannot be used; the text is for the operator."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Node(_Entry):
    """A party."""

    node_id: _Name
    index: int = Field(ge=1, le=2**16 - 1)
    identity_key: _Key
    identity_certificate: str
    transport_certificate: str
    address: str


class Coordinator(_Entry):
    """A coordinator and the TLS certificate that it is pinned to."""

    coordinator_id: _Name
    transport_certificate: str


class Gateway(_Entry):
    """A gateway and its TLS certificate."""

    gateway_id: _Name
    transport_certificate: str


class Tenant(_Entry):
    """A tenant and the Ed25519 keys that may order keys for it."""

    tenant_id: _Name
    root_keys: tuple[_Key, ...] = Field(min_length=1)


class _File(_Entry):
    version: int = Field(ge=1, le=1)
    cell_id: _Name
    nodes: tuple[Node, ...] = Field(min_length=2, max_length=16)
    coordinators: tuple[Coordinator, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    tenants: tuple[Tenant, ...] = ()


class Roster:
    """Who is believed. Nodes ascend by index."""

    def __init__(self, file: _File) -> None:
        self.cell_id: Final = file.cell_id
        self.nodes: Final = tuple(sorted(file.nodes, key=lambda node: node.index))
        self._coordinators = {entry.coordinator_id: entry.transport_certificate for entry in file.coordinators}
        self._tenants = {entry.tenant_id: frozenset(map(bytes.fromhex, entry.root_keys)) for entry in file.tenants}
        self._identities = {node.node_id: bytes.fromhex(node.identity_key) for node in file.nodes}
        self._indices = {node.node_id: node.index for node in file.nodes}
        for what, values in (
            ("node ids", [node.node_id for node in file.nodes]),
            ("indices", [node.index for node in file.nodes]),
            ("identity keys", [node.identity_key for node in file.nodes]),
            ("tenants", [tenant.tenant_id for tenant in file.tenants]),
        ):
            if len(set(values)) != len(values):
                raise RosterError(f"{what}: an entry occurs twice")
        self.roster_hash: Final = hashlib.sha256(
            _encode(
                (
                    ROSTER_TAG,
                    file.version,
                    file.cell_id,
                    tuple((node.node_id, node.index, self._identities[node.node_id]) for node in self.nodes),
                    tuple((tenant, tuple(sorted(keys))) for tenant, keys in sorted(self._tenants.items())),
                )
            )
        ).digest()

    @classmethod
    def load(cls, path: Path) -> "Roster":
        """Read a roster file; :class:`RosterError` says what is wrong with it."""
        try:
            return cls(_File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))))
        except OSError as error:
            raise RosterError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RosterError(f"{path}: not TOML: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise RosterError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def index_of(self, node_id: str) -> int | None:
        """The Shamir index of a node."""
        return self._indices.get(node_id)

    def pins(self, node_id: str, index: int, identity_key: bytes) -> bool:
        """Whether the roster has exactly this node."""
        return (self._indices.get(node_id), self._identities.get(node_id)) == (index, identity_key)

    def has_tenant(self, tenant_id: str) -> bool:
        """Whether the tenant is enrolled."""
        return tenant_id in self._tenants

    def is_root_key(self, tenant_id: str, public_key: bytes) -> bool:
        """Whether the key may order keys for the tenant."""
        return public_key in self._tenants.get(tenant_id, frozenset())

    def coordinator_certificate(self, coordinator_id: str) -> str:
        """The PEM certificate that a coordinator is pinned to; :class:`RosterError` if it is not in the roster."""
        try:
            return self._coordinators[coordinator_id]
        except KeyError:
            raise RosterError(f"coordinator {coordinator_id} is not in the roster") from None

    def signed_by(self, node_id: str, tag: str, data: bytes, signature: bytes) -> bool:
        """Whether a pinned node signed ``data`` for the purpose ``tag``; false for an unknown node."""
        identity = self._identities.get(node_id)
        return identity is not None and verify(identity, tag, data, signature)


def _encode(value: _Frame) -> bytes:
    """The canonical encoding of the core signer's wire codec: kind, length in 4 bytes, body; tuples nest."""
    if isinstance(value, int):
        return _frame(b"i", value.to_bytes((value.bit_length() + 7) // 8, "big"))
    if isinstance(value, str):
        return _frame(b"s", value.encode())
    if isinstance(value, bytes):
        return _frame(b"b", value)
    items: Sequence[Any] = value
    return _frame(b"(", b"".join(map(_encode, items)))


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "big") + body
