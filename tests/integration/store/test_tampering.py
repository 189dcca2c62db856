"""A store that was changed, moved, copied, exposed or opened twice is refused or found out."""

import asyncio
import contextlib
import hashlib
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands as pairs
from keyquorum_core_signer.store.envelope import EnvelopeError, ShareContext, open_sealed
from keyquorum_core_signer.store.ports import StoreCorrupt, StoredShare, StoreHead, StoreOwned, StoreUnavailable
from keyquorum_core_signer.store.presignature_commands import VoidPresignatures
from keyquorum_core_signer.store.schema import LOG, PAIR_MODELS, READ_MODEL_TABLES, READ_MODELS
from keyquorum_core_signer.store.sqlite import SqliteShareStore, rebuild_store
from keyquorum_core_signer.store.verify import Verification, verify_store
from support.share_store import (
    DEK,
    KIND,
    NOW_MS,
    PARTY,
    SETUP,
    activation,
    admission,
    make_key,
    open_store,
    pair_setup,
    prepared,
    presignatures,
    sealed_share,
)

TABLES = ("store", "events", "audit", "blobs", *READ_MODEL_TABLES)


async def fill(path: Path) -> StoreHead:
    """A store with something in every table; its head."""
    store = await open_store(path)
    op_id = await make_key(store)
    await make_key(store, "key_2", sealed=sealed_share("key_2"))
    refresh = prepared(op_id, epoch=2, statement=b"second", sealed=sealed_share(epoch=2))
    await store.execute(refresh)
    await store.execute(activation(epoch=2, statement=b"second"))
    spent = [admission(amount=5, now_ms=NOW_MS + n) for n in range(3)]
    for command in spent:
        await store.execute(command)
    await store.execute(c.MarkEmitted(spent[0].op_id, NOW_MS))
    await store.execute(c.ReleaseReservation(spent[1].op_id, NOW_MS))
    await store.execute(spent[1])
    await store.execute(c.BanPeer(op_id, "party-3", "key_1", "bad proof", bytes(32), NOW_MS))
    await store.execute(c.RecordDenial("op_x", "policy-denied", "asset", "default", "key_1", bytes(32), NOW_MS))
    for number in (1, 2):
        await store.execute(pair_setup(f"party-{number}"))
        await store.execute(presignatures(number))
        await store.execute(presignatures(10 + number, node_ids=("party-1", "party-5")))
        checks = pairs.BeginPairChecks(bytes([number]) * 32, ((f"party-{number}", KIND, SETUP),), NOW_MS)
        await store.execute(checks)
    await store.execute(VoidPresignatures("by hand", NOW_MS, node_id="party-5"))
    await store.execute(c.PruneOperations(NOW_MS - 1, NOW_MS))
    head = await store.head()
    await store.close()
    return head


@pytest.fixture
def head(path: Path) -> StoreHead:
    return asyncio.run(fill(path))


def edit(path: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    """Change the database behind the store's back."""
    connection = apsw.Connection(str(path))
    connection.execute(statement, values)
    connection.close()


def copied(path: Path, name: str) -> Path:
    """A closed store and its audit key under another name."""
    copy = path.with_name(name)
    shutil.copy(path, copy)
    shutil.copy(f"{path}.audit-key", f"{copy}.audit-key")
    return copy


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def found_out(path: Path, remembered: StoreHead) -> bool:
    """Whether a verification or an opening notices."""
    try:
        if not verify_store(path, remembered).sound:
            return True
        store = asyncio.run(open_store(path))
    except StoreCorrupt:
        return True
    asyncio.run(_close(store))
    return False


async def _close(store: SqliteShareStore) -> None:
    await store.close()


def test_sound_store_is_found_sound(path: Path, head: StoreHead) -> None:
    """Everything that the other tests change is right before they do."""
    found = verify_store(path, head)
    assert found == Verification(PARTY, head.seq, head.seq + 1, head, ())
    assert all(rows(path, f"SELECT count(*) FROM {table}") != [(0,)] for table in TABLES)
    assert not found_out(path, head)


def columns() -> list[tuple[str, str]]:
    """Every column of every table."""
    connection = apsw.Connection(":memory:")
    connection.execute(LOG)
    connection.execute(READ_MODELS + PAIR_MODELS)
    return [(table, str(name)) for table in TABLES for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


@pytest.mark.parametrize(("table", "column"), columns())
def test_any_changed_value_is_found_out(path: Path, head: StoreHead, table: str, column: str) -> None:
    """One value, in any column of any table, of the first row or of the last one."""
    for order in ("ASC", "DESC"):
        copy = copied(path, f"{table}-{column}-{order}.db")
        first = rows(copy, f"SELECT {column} FROM {table} ORDER BY {column} {order} LIMIT 1")[0][0]
        changed = {int: lambda v: v + 1, str: lambda v: v + "x", bytes: lambda v: v + b"\x00"}[type(first)](first)
        with contextlib.suppress(apsw.ConstraintError):  # the schema itself says no
            edit(copy, f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (changed, first))
            assert found_out(copy, head), order


@pytest.mark.parametrize("table", TABLES)
def test_missing_rows_are_found_out(path: Path, head: StoreHead, table: str) -> None:
    """The oldest row of a table, the newest one, or all of them: their absence shows."""
    column = rows(path, f"SELECT name FROM pragma_table_info('{table}') LIMIT 1")[0][0]
    for number, extreme in enumerate(
        (f"(SELECT min({column}) FROM {table})", f"(SELECT max({column}) FROM {table})", column)
    ):
        copy = copied(path, f"{table}-{number}.db")
        edit(copy, f"DELETE FROM {table} WHERE {column} = {extreme}")
        assert found_out(copy, head), extreme


def test_truncated_and_forked_logs_are_found_out_by_a_remembered_head(path: Path, head: StoreHead) -> None:
    """A consistent older state passes every check but the one against what somebody remembers."""
    older = copied(path, "older.db")
    store = asyncio.run(_grown(path))
    assert verify_store(older).sound
    assert not verify_store(older, store).sound
    asyncio.run(_grown(older))
    assert verify_store(older).sound
    assert not verify_store(older, store).sound
    assert verify_store(older, head).sound


async def _grown(path: Path) -> StoreHead:
    store = await open_store(path)
    await store.execute(admission(amount=1))
    head = await store.head()
    await store.close()
    return head


def test_changed_read_model_is_rebuilt_from_the_events(path: Path, head: StoreHead) -> None:
    """A read model is a convenience: broken, it is made again, and says the same as before."""
    before = {table: rows(path, f"SELECT * FROM {table}") for table in TABLES}
    for table in READ_MODEL_TABLES:
        edit(path, f"DELETE FROM {table}")
    problems = verify_store(path, head).problems
    assert {f"read model {table}: not what the events say" for table in READ_MODEL_TABLES} <= set(problems)
    rebuild_store(path, PARTY)
    assert {table: rows(path, f"SELECT * FROM {table}") for table in TABLES} == before
    assert verify_store(path, head).sound


async def test_swapped_envelopes_do_not_open(store: SqliteShareStore, path: Path) -> None:
    """An attacker who swaps two rows consistently, hashes and all, gets an envelope that the worker refuses."""
    await make_key(store)
    await make_key(store, "key_2", sealed=sealed_share("key_2"))
    ((first,), (second,)) = rows(path, "SELECT sealed_hash FROM shares ORDER BY key_id")
    for key_id, sealed_hash in (("key_1", second), ("key_2", first)):
        edit(path, "UPDATE shares SET sealed_hash = ? WHERE key_id = ?", (sealed_hash, key_id))
    swapped = await store.get_share("key_1")
    assert isinstance(swapped, StoredShare)
    context = ShareContext(PARTY, "usr_1", "key_1", "eddsa_ed25519", 1, 1, "soft:test:1")
    with pytest.raises(EnvelopeError):
        open_sealed(DEK, context, swapped.sealed)


async def test_changed_envelope_is_not_given_out(store: SqliteShareStore, path: Path) -> None:
    """A blob that is not what the log says, or is gone, is an error and no share."""
    await make_key(store)
    edit(path, "UPDATE blobs SET data = zeroblob(100)")
    with pytest.raises(StoreCorrupt):
        await store.get_share("key_1")
    edit(path, "DELETE FROM blobs")
    with pytest.raises(StoreCorrupt):
        await store.get_share("key_1")


async def test_log_refuses_a_second_intent_even_if_the_read_model_forgot(store: SqliteShareStore, path: Path) -> None:
    """Whoever deletes the operation's row gains nothing: the events hold its name for ever."""
    await make_key(store)
    first = admission(nonce=bytes(32), intent=b"first")
    await store.execute(first)
    edit(path, "DELETE FROM operations")
    other = admission(nonce=bytes(32), intent=b"second")
    assert await store.execute(other) == c.Conflict(other.op_id, first.intent_hash)


async def test_files_are_their_owners_alone(store: SqliteShareStore, path: Path) -> None:
    """Database, write-ahead log, index, lock and audit key: nobody else may read any of them."""
    await make_key(store)
    files = await asyncio.to_thread(lambda: {f.name: f.stat().st_mode & 0o777 for f in path.parent.iterdir()})
    assert set(files) == {path.name + suffix for suffix in ("", "-wal", "-shm", ".lock", ".audit-key")}
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize("suffix", ["", ".audit-key"])
def test_exposed_files_are_refused(path: Path, head: StoreHead, suffix: str) -> None:
    """A store that others could read or write is not opened."""
    Path(f"{path}{suffix}").chmod(0o640)
    with pytest.raises(StoreCorrupt, match="chmod 600"):
        asyncio.run(open_store(path))


async def test_no_byte_of_a_share_is_in_any_file(store: SqliteShareStore, path: Path) -> None:
    """The share is looked for in every file, raw, reversed and in hex, while open and after closing; the envelope is there."""
    share = secrets.token_bytes(32)
    sealed = sealed_share(share=share)
    await make_key(store, sealed=sealed)

    def everything() -> bytes:
        return b"".join(file.read_bytes() for file in path.parent.iterdir())

    for content in (await asyncio.to_thread(everything), await _after_closing(store, everything)):
        assert sealed in content
        for spelling in (share, share[::-1], share.hex().encode(), share[:16], share[16:], DEK):
            assert spelling not in content


async def _after_closing(store: SqliteShareStore, everything: Callable[[], bytes]) -> bytes:
    await store.close()
    return await asyncio.to_thread(everything)


async def test_store_has_one_owner(store: SqliteShareStore, path: Path) -> None:
    """A second opening is refused, in this process and in another; the first goes on."""
    with pytest.raises(StoreOwned):
        await open_store(path)
    with pytest.raises(StoreOwned):
        verify_store(path)
    code = (
        "import asyncio, sys, pathlib\n"
        "from keyquorum_core_signer.store.sqlite import SqliteShareStore\n"
        "from keyquorum_core_signer.store.ports import StoreOwned\n"
        "try: asyncio.run(SqliteShareStore.open(pathlib.Path(sys.argv[1]), 'party-1'))\n"
        "except StoreOwned: sys.exit(7)\n"
    )
    other = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(path)], check=False)
    assert other.returncode == 7
    await make_key(store)


def test_store_of_another_party_is_refused(path: Path, head: StoreHead) -> None:
    """A volume that was mounted at the wrong party is not opened, and not changed."""
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(StoreCorrupt, match="another party"):
        asyncio.run(open_store(path, "party-2"))
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_wrong_or_missing_audit_key_is_refused(path: Path, head: StoreHead) -> None:
    """Pseudonyms under two keys would not match: the store's own key has to be there."""
    key = Path(f"{path}.audit-key")
    key.write_bytes(secrets.token_bytes(32))
    with pytest.raises(StoreCorrupt, match="audit key"):
        asyncio.run(open_store(path))
    key.unlink()
    with pytest.raises(StoreUnavailable):
        asyncio.run(open_store(path))


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\x00" * 8192])
def test_foreign_file_is_refused(path: Path, content: bytes) -> None:
    """A file that is no store is neither opened nor overwritten."""
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreCorrupt):
        asyncio.run(open_store(path))
    assert path.read_bytes() == content


def test_other_applications_and_versions_are_refused(path: Path, head: StoreHead, tmp_path: Path) -> None:
    """Another SQLite database, and a store of a later format, are told apart from ours."""
    edit(path, "PRAGMA user_version = 3")
    with pytest.raises(StoreCorrupt, match="version"):
        asyncio.run(open_store(path))
    foreign = tmp_path / "foreign.db"
    edit(foreign, "CREATE TABLE t (x)")
    foreign.chmod(0o600)
    Path(f"{foreign}.audit-key").write_bytes(bytes(32))
    Path(f"{foreign}.audit-key").chmod(0o600)
    with pytest.raises(StoreCorrupt, match="not a share store"):
        asyncio.run(open_store(foreign))


def test_a_store_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    """Its tables for pairs are made when it is opened, once; what it holds stays."""
    asyncio.run(_first_version(path))
    for table in ("pairs", "pair_checks", "presignatures", "presignatures_gone"):
        edit(path, f"DROP TABLE {table}")
    edit(path, "PRAGMA user_version = 1")
    for _ in range(2):
        store = asyncio.run(_paired(path))
        assert store.seq >= 4
    assert verify_store(path).sound


async def _first_version(path: Path) -> None:
    store = await open_store(path)
    await make_key(store)
    await store.close()


async def _paired(path: Path) -> StoreHead:
    store = await open_store(path)
    assert await store.get_share("key_1") is not None
    await store.execute(pair_setup())
    head = await store.head()
    await store.close()
    return head


def test_damaged_pages_are_found_out(path: Path, head: StoreHead) -> None:
    """Any page overwritten with noise is noticed by opening or by verifying."""
    pages = path.stat().st_size // 4096
    for page in range(pages):
        copy = copied(path, f"damaged-{page}.db")
        with copy.open("r+b") as file:
            file.seek(4096 * page)
            file.write(secrets.token_bytes(4096))
        assert found_out(copy, head), page
