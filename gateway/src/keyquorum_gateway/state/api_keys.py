"""API keys: 256 random bits shown once, kept as an HMAC under a pepper that is not in the database.

Who steals the database can neither use a key nor test guesses. The digest is found by index: an attacker cannot steer
an HMAC under a key that they do not know, so the time of the look-up tells nothing about any stored key.
"""

import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import apsw

from keyquorum_gateway.identifiers import API_KEY, new_identifier

PREFIX: Final = "kq_"
_KEY_BYTES: Final = 32
_KEY_CHARS: Final = 43
PEPPER_BYTES_MIN: Final = 32


class Scope(StrEnum):
    """What a key may do. Scopes do not imply each other."""

    READ = "read"
    TRANSACT = "transact"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request."""

    key_id: str
    tenant_id: str
    scopes: frozenset[Scope]


def new_api_key() -> str:
    """A fresh key: ``kq_`` and 256 bits in unpadded base64url."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def has_key_form(text: str) -> bool:
    """Whether ``text`` can be a key at all."""
    return text.startswith(PREFIX) and len(text) == len(PREFIX) + _KEY_CHARS


def digest(pepper: bytes, key: str) -> bytes:
    """What is stored of a key."""
    return hmac.digest(pepper, key.encode(), "sha256")


def add(
    connection: apsw.Connection, *, tenant_id: str, name: str, scopes: Iterable[Scope], key_digest: bytes
) -> str | None:
    """Store a key; its id, or None where the same key is stored already."""
    key_id = new_identifier(API_KEY)
    connection.execute(
        "INSERT INTO api_keys (id, tenant_id, name, scopes, digest, created_ms) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (digest) DO NOTHING",
        (key_id, tenant_id, name, " ".join(sorted(set(scopes))), key_digest, time.time_ns() // 1_000_000),
    )
    return key_id if connection.changes() else None


def revoke(connection: apsw.Connection, key_id: str) -> bool:
    """Make a key useless; whether there was such a key in use."""
    connection.execute(
        "UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL",
        (time.time_ns() // 1_000_000, key_id),
    )
    return bool(connection.changes())


FIND: Final = "SELECT id, tenant_id, scopes, digest FROM api_keys WHERE digest = ? AND revoked_ms IS NULL"
LIST: Final = "SELECT id, tenant_id, name, scopes, created_ms, revoked_ms FROM api_keys ORDER BY id"


def principal_of(row: tuple[str, str, str, bytes]) -> Principal:
    """The caller that a row of :data:`FIND` stands for."""
    key_id, tenant_id, scopes, _ = row
    return Principal(key_id, tenant_id, frozenset(Scope(scope) for scope in scopes.split()))
