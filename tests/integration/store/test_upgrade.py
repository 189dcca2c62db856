"""A store of the first version, made by the tables of that time, is brought up to date when it is opened."""

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store.ports import StoreCorrupt
from keyquorum_core_signer.store.presignature_commands import PresignaturesStored
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.faulty_disk import RecordingDisk, power_cuts
from support.share_store import NOW_MS, PARTY, admission, make_key, open_store, pair_setup, presignatures

FIRST_VERSION = """
CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), party TEXT NOT NULL, store_id BLOB NOT NULL,
    audit_key_check BLOB NOT NULL) STRICT;
CREATE TABLE events (seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
    event_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, at_ms INTEGER NOT NULL, payload BLOB NOT NULL,
    previous BLOB NOT NULL, hash BLOB NOT NULL, UNIQUE (stream, version)) STRICT;
CREATE TABLE audit (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, action TEXT NOT NULL, operation BLOB NOT NULL,
    key BLOB NOT NULL, initiator BLOB NOT NULL, tenant BLOB NOT NULL, detail TEXT NOT NULL, event_hash BLOB NOT NULL,
    previous BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE blobs (hash BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE projected (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL,
    watermark_ms INTEGER NOT NULL) STRICT;
CREATE TABLE operations (op_id TEXT NOT NULL UNIQUE, intent_hash BLOB NOT NULL, kind TEXT NOT NULL,
    tenant_id TEXT NOT NULL, key_id TEXT NOT NULL, initiator BLOB NOT NULL, nonce BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL, admitted_ms INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
CREATE TABLE spends (key_id TEXT NOT NULL, at_ms INTEGER NOT NULL, op_id TEXT NOT NULL, asset TEXT NOT NULL,
    amount BLOB NOT NULL, window_s INTEGER NOT NULL, PRIMARY KEY (key_id, at_ms, op_id, asset)) STRICT, WITHOUT ROWID;
CREATE TABLE keys (key_id TEXT PRIMARY KEY, wallet_id TEXT NOT NULL, user_id TEXT NOT NULL, tenant_id TEXT NOT NULL,
    scheme TEXT NOT NULL, state TEXT NOT NULL, epoch INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX keys_of_user ON keys (user_id, key_id);
CREATE INDEX keys_of_wallet ON keys (wallet_id, key_id);
CREATE TABLE epochs (key_id TEXT NOT NULL, epoch INTEGER NOT NULL, state TEXT NOT NULL, op_id TEXT NOT NULL,
    statement BLOB NOT NULL, signatures BLOB NOT NULL, prepared_seq INTEGER NOT NULL,
    PRIMARY KEY (key_id, epoch)) STRICT, WITHOUT ROWID;
CREATE INDEX epochs_prepared ON epochs (prepared_seq) WHERE state = 'prepared';
CREATE TABLE shares (key_id TEXT NOT NULL, epoch INTEGER NOT NULL, version INTEGER NOT NULL, kek_id TEXT NOT NULL,
    sealed_hash BLOB NOT NULL, PRIMARY KEY (key_id, epoch)) STRICT, WITHOUT ROWID;
CREATE TABLE bans (node_id TEXT NOT NULL, key_id TEXT NOT NULL, reason TEXT NOT NULL, evidence_hash BLOB NOT NULL,
    banned_ms INTEGER NOT NULL, PRIMARY KEY (node_id, key_id)) STRICT, WITHOUT ROWID;
"""
OLD_TABLES = (
    "store",
    "events",
    "audit",
    "blobs",
    "projected",
    "operations",
    "spends",
    "keys",
    "epochs",
    "shares",
    "bans",
)
NEW_TABLES = {"pairs", "pair_checks", "presignatures", "presignatures_gone"}
_numbers = itertools.count()


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


async def _life(path: Path) -> None:
    store = await open_store(path)
    op_id = await make_key(store)
    await store.execute(admission(amount=5))
    await store.execute(c.BanPeer(op_id, "party-3", "key_1", "bad proof", bytes(32), NOW_MS))
    await store.close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What the first version wrote: its own tables, filled with a life in which nothing of the second happened."""
    recent, path = tmp_path / "recent.db", tmp_path / "shares.db"
    asyncio.run(_life(recent))
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute(f"ATTACH '{recent}' AS recent")
    with connection:
        connection.execute(FIRST_VERSION)
        for table in OLD_TABLES:
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM recent.{table}")
        connection.pragma("application_id", 0x4B515348)
        connection.pragma("user_version", 1)
    connection.close()
    path.chmod(0o600)
    shutil.copy(f"{recent}.audit-key", f"{path}.audit-key")
    return path


async def _opened_and_closed(path: Path, vfs: str | None = None) -> None:
    await (await SqliteShareStore.open(path, PARTY, vfs=vfs)).close()


def test_what_was_there_stays_and_the_new_tables_work(old: Path) -> None:
    """Not a byte of the log changes; the second opening finds nothing to do; new commands find their tables."""
    before = {table: rows(old, f"SELECT * FROM {table}") for table in OLD_TABLES}
    for _ in range(2):
        asyncio.run(_opened_and_closed(old))
        assert {table: rows(old, f"SELECT * FROM {table}") for table in OLD_TABLES} == before
        assert rows(old, "PRAGMA user_version") == [(2,)]
        assert verify_store(old).problems == ()
    asyncio.run(_paired(old))
    assert verify_store(old).problems == ()


async def _paired(path: Path) -> None:
    store = await open_store(path)
    assert await store.get_share("key_1") is not None
    assert await store.execute(pair_setup()) == p.PairStored("party-2", "dkls23")
    assert await store.execute(presignatures(1, key_id="key_1")) == PresignaturesStored(1)
    banned = await store.execute(presignatures(2, key_id="key_1", node_ids=("party-1", "party-3")))
    assert banned == p.PeerIsBanned("party-3"), "what the first version recorded counts"
    await store.close()


def test_tables_are_those_of_a_new_store(old: Path, tmp_path: Path) -> None:
    """An upgraded store has what a new one has, column for column."""
    asyncio.run(_opened_and_closed(old))
    query = (
        "SELECT t.name, c.name, c.type, c.pk FROM sqlite_schema t JOIN pragma_table_info(t.name) c ORDER BY 1, c.cid"
    )
    assert rows(old, query) == rows(tmp_path / "recent.db", query)


@pytest.fixture
def recorder() -> Iterator[RecordingDisk]:
    made = RecordingDisk(f"upgrading-{next(_numbers)}")
    yield made
    made.unregister()


def test_power_cut_while_upgrading_leaves_one_version_or_the_other(
    old: Path, recorder: RecordingDisk, tmp_path: Path
) -> None:
    """Whatever the disk keeps of the upgrade's writes: all new tables or none, and the next opening ends it."""
    start = old.read_bytes()
    asyncio.run(_opened_and_closed(old, recorder.name))
    versions = set()
    for number, (what, files, _) in enumerate(power_cuts(recorder.operations, 1)):
        copy = tmp_path / f"cut-{number}.db"
        copy.write_bytes(_overwritten(start, recorder, files.get(old.name)))
        for name, content in files.items():
            if name != old.name:
                Path(f"{copy}{name.removeprefix(old.name)}").write_bytes(content)
        for file in tmp_path.glob(f"{copy.name}*"):
            file.chmod(0o600)
        shutil.copy(f"{old}.audit-key", f"{copy}.audit-key")
        tables = {str(name) for (name,) in rows(copy, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
        version = rows(copy, "PRAGMA user_version")[0][0]
        assert (version, tables & NEW_TABLES) in ((1, set()), (2, NEW_TABLES)), what
        versions.add(version)
        asyncio.run(_opened_and_closed(copy))
        assert verify_store(copy).problems == (), what
    assert versions == {1, 2}


def _overwritten(start: bytes, recorder: RecordingDisk, content: bytes | None) -> bytes:
    """The database as it was before the recording, where the recording has not written to it."""
    if content is None:
        return start
    page = bytearray(start.ljust(len(content), b"\x00"))
    for operation in recorder.operations:
        if operation.call == "write" and operation.name.endswith(".db"):
            end = operation.offset + len(operation.data)
            written = content[operation.offset : end]
            if written == operation.data:
                page[operation.offset : end] = written
    return bytes(page)


def test_a_later_version_is_left_alone(old: Path) -> None:
    """Only the version that is known to come before is upgraded."""
    connection = apsw.Connection(str(old))
    connection.pragma("user_version", 3)
    connection.close()
    with pytest.raises(StoreCorrupt, match="version"):
        asyncio.run(open_store(old))
    assert rows(old, "SELECT count(*) FROM sqlite_schema WHERE name = 'pairs'") == [(0,)]
