"""The tables, and how an older file becomes a newer one. ``user_version`` is the number of steps taken."""

from typing import Final

import apsw

_FIRST: Final = """
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE TABLE wallets (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    initiation TEXT NOT NULL,
    initiator_key BLOB NOT NULL,
    chains TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX wallets_of_tenant ON wallets (tenant_id, id);
CREATE INDEX wallets_of_user ON wallets (tenant_id, user_id, id);

CREATE TABLE wallet_keys (
    id TEXT PRIMARY KEY,
    wallet_id TEXT NOT NULL REFERENCES wallets (id),
    scheme TEXT NOT NULL,
    certificate BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (wallet_id, scheme)
) STRICT;

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    wallet_id TEXT NOT NULL REFERENCES wallets (id),
    key_id TEXT NOT NULL REFERENCES wallet_keys (id),
    chain TEXT NOT NULL,
    position INTEGER NOT NULL,
    address TEXT NOT NULL,
    public_key BLOB NOT NULL,
    attestation BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (wallet_id, chain, position)
) STRICT;
CREATE INDEX accounts_of_tenant ON accounts (tenant_id, id);

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    document TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX operations_of_tenant ON operations (tenant_id, id);
CREATE INDEX operations_open ON operations (id) WHERE state IN ('running', 'awaiting_initiator');

CREATE TABLE operation_events (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    first INTEGER NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (operation_id, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE transactions (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    operation_id TEXT NOT NULL,
    external_id TEXT,
    state TEXT NOT NULL,
    document TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (tenant_id, external_id)
) STRICT;
CREATE INDEX transactions_of_tenant ON transactions (tenant_id, id);
CREATE INDEX transactions_of_account ON transactions (account_id, id);
CREATE INDEX transactions_open ON transactions (id) WHERE state IN ('signed', 'submitted');

CREATE TABLE idempotency (
    tenant_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    operation_id TEXT NOT NULL,
    state TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

CREATE TABLE reservations (
    chain TEXT NOT NULL,
    account TEXT NOT NULL,
    item TEXT NOT NULL,
    owner TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (chain, account, item)
) STRICT, WITHOUT ROWID;
"""

_REPLACEMENTS: Final = """
ALTER TABLE transactions ADD COLUMN replaces TEXT;
ALTER TABLE transactions ADD COLUMN followed INTEGER NOT NULL DEFAULT 0;
UPDATE transactions SET followed = 1 WHERE state IN ('signed', 'submitted');
DROP INDEX transactions_open;
CREATE INDEX transactions_followed ON transactions (id) WHERE followed = 1;
CREATE INDEX transactions_replacing ON transactions (replaces, id) WHERE replaces IS NOT NULL;
"""

_STEPS: Final = (_FIRST, _REPLACEMENTS)


class SchemaTooNew(Exception):
    """The file was written by a newer gateway."""


def migrate(connection: apsw.Connection) -> None:
    """Bring a database to the newest schema, each step in a transaction of its own."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        version = int(connection.pragma("user_version"))
        if version > len(_STEPS):
            raise SchemaTooNew(f"the database has schema {version}, this gateway knows {len(_STEPS)}")
        for step in _STEPS[version:]:
            connection.execute(step)
        connection.pragma("user_version", len(_STEPS))
    connection.execute("COMMIT")
