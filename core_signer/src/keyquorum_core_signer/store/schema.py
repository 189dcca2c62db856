"""The tables of the embedded store, and the settings that its durability rests on.

``events``, ``audit`` and ``blobs`` are the truth and only grow, except that a destroyed share's blob goes. The read models
follow from the events and can be dropped and rebuilt.
"""

from pathlib import Path
from typing import Final

import apsw

from keyquorum_core_signer.store.limits import BUSY_TIMEOUT_MS, WAL_PAGES
from keyquorum_core_signer.store.ports import StoreCorrupt

APPLICATION_ID: Final = 0x4B515348  # "KQSH": what file(1) and we tell a share store by
SCHEMA_VERSION: Final = 2

LOG: Final = """
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    party TEXT NOT NULL,
    store_id BLOB NOT NULL,
    audit_key_check BLOB NOT NULL
) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    payload BLOB NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (stream, version)
) STRICT;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    action TEXT NOT NULL,
    operation BLOB NOT NULL,
    key BLOB NOT NULL,
    initiator BLOB NOT NULL,
    tenant BLOB NOT NULL,
    detail TEXT NOT NULL,
    event_hash BLOB NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
"""

READ_MODELS: Final = """
CREATE TABLE projected (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    watermark_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE operations (
    op_id TEXT NOT NULL UNIQUE,
    intent_hash BLOB NOT NULL,
    kind TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    initiator BLOB NOT NULL,
    nonce BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    admitted_ms INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE spends (
    key_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    op_id TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount BLOB NOT NULL,
    window_s INTEGER NOT NULL,
    PRIMARY KEY (key_id, at_ms, op_id, asset)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    wallet_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    scheme TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_of_user ON keys (user_id, key_id);
CREATE INDEX keys_of_wallet ON keys (wallet_id, key_id);
CREATE TABLE epochs (
    key_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL,
    op_id TEXT NOT NULL,
    statement BLOB NOT NULL,
    signatures BLOB NOT NULL,
    prepared_seq INTEGER NOT NULL,
    PRIMARY KEY (key_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX epochs_prepared ON epochs (prepared_seq) WHERE state = 'prepared';
CREATE TABLE shares (
    key_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kek_id TEXT NOT NULL,
    sealed_hash BLOB NOT NULL,
    PRIMARY KEY (key_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE bans (
    node_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    evidence_hash BLOB NOT NULL,
    banned_ms INTEGER NOT NULL,
    PRIMARY KEY (node_id, key_id)
) STRICT, WITHOUT ROWID;
INSERT INTO projected VALUES (1, 0, 0);
"""

PAIR_MODELS: Final = """
CREATE TABLE pairs (
    node_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    generation INTEGER NOT NULL,
    setup_id BLOB NOT NULL,
    living INTEGER NOT NULL,
    kek_id TEXT NOT NULL,
    sealed_hash BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (node_id, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE pair_checks (
    node_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    session_id BLOB NOT NULL,
    PRIMARY KEY (node_id, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE presignatures (
    presignature_id BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    path BLOB NOT NULL,
    node_ids BLOB NOT NULL,
    protocol TEXT NOT NULL,
    sealed_hash BLOB NOT NULL,
    stored_seq INTEGER NOT NULL,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX presignatures_of_key ON presignatures (key_id);
CREATE TABLE presignatures_gone (
    presignature_id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
"""
"""Since version 2. What was burned or voided is remembered for ever: no id comes into stock twice."""

READ_MODEL_TABLES: Final = (
    "projected",
    "operations",
    "spends",
    "keys",
    "epochs",
    "shares",
    "bans",
    "pairs",
    "pair_checks",
    "presignatures",
    "presignatures_gone",
)


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """The one connection that writes. A commit that returns is on the disk: WAL with ``synchronous=FULL``."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    mode = connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", 2)
    connection.pragma("secure_delete", 1)  # a destroyed blob does not stay in a free page
    connection.pragma("trusted_schema", 0)
    connection.pragma("cache_size", -16_000)
    connection.pragma("wal_autocheckpoint", WAL_PAGES)
    if mode != "wal" or connection.pragma("synchronous") != 2:
        raise StoreCorrupt(f"{path}: no write-ahead log on this file system")
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that cannot write; each of its statements sees one committed state."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("query_only", 1)
    connection.pragma("trusted_schema", 0)
    return connection


def is_empty(connection: apsw.Connection) -> bool:
    """Whether nothing was ever written."""
    return bool(connection.pragma("application_id") == 0 and connection.pragma("user_version") == 0) and not list(
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    )


def create(connection: apsw.Connection, party: str, store_id: bytes, audit_key_check: bytes) -> None:
    """Make the tables of a new store, all or none."""
    with connection:
        connection.execute(LOG)
        connection.execute(READ_MODELS + PAIR_MODELS)
        connection.execute("INSERT INTO store VALUES (1, ?, ?, ?)", (party, store_id, audit_key_check))
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)


def upgrade(connection: apsw.Connection) -> None:
    """Bring a store of an earlier version to this one, all or nothing. Its events are what they were."""
    if connection.pragma("application_id") == APPLICATION_ID and connection.pragma("user_version") == 1:
        with connection:
            connection.execute(PAIR_MODELS)
            connection.pragma("user_version", SCHEMA_VERSION)


def check(connection: apsw.Connection) -> None:
    """Refuse a file that is no store of this format, or that SQLite finds damaged; raises StoreCorrupt."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreCorrupt("the file is not a share store")
    if connection.pragma("user_version") != SCHEMA_VERSION:
        raise StoreCorrupt("the store is of another format version")
    if (found := connection.pragma("quick_check")) != "ok":
        raise StoreCorrupt(f"the database is damaged: {str(found).splitlines()[0]}")
