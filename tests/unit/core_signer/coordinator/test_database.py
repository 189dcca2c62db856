"""The database has one owner, loses nothing that was committed, and lets one bad write take no other with it."""

import asyncio
import subprocess
import sys
import textwrap
import time

import apsw
import pytest

from keyquorum_core_signer.coordinator import database as database_module
from keyquorum_core_signer.coordinator.database import (
    Database,
    DatabaseUnusable,
    Fenced,
    OwnedElsewhere,
    WriteRefused,
)


def key_row(key_id):
    def work(connection):
        connection.execute("INSERT INTO key (key_id, wallet_id, certificate) VALUES (?, 'wal_1', x'00')", (key_id,))

    return work


def key_ids(database):
    return [key_id for (key_id,) in database.read("SELECT key_id FROM key ORDER BY number")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "operations.sqlite3"


def open_database(path, on_fenced=lambda: None):
    return Database.open(path, now_ms=1, on_fenced=on_fenced)


async def test_commits_are_there_after_reopening(path):
    """What was awaited is found by the next owner, whose epoch is the next one."""
    first = open_database(path)
    await first.commit(key_row("key_1"))
    first.close()
    second = open_database(path)
    assert key_ids(second) == ["key_1"]
    assert second.epoch == first.epoch + 1
    second.close()


async def test_notes_are_written_with_the_next_commit_and_before_it(path):
    """A note waits for nobody, and a commit that follows it finds it written."""
    database = open_database(path)
    assert database.note(key_row("key_1"))
    assert key_ids(database) == []
    await database.commit(key_row("key_2"))
    assert key_ids(database) == ["key_1", "key_2"]
    database.close()


async def test_notes_are_written_without_a_commit_too(path):
    """A lone note is written after its short delay."""
    database = open_database(path)
    database.note(key_row("key_1"))
    deadline = time.monotonic() + 5
    while not key_ids(database):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    database.close()


async def test_notes_are_written_on_close(path):
    """Closing loses nothing, and afterwards nothing is taken."""
    database = open_database(path)
    database.note(key_row("key_1"))
    database.close()
    assert not database.note(key_row("key_2"))
    with pytest.raises(WriteRefused):
        await database.commit(key_row("key_2"))
    again = open_database(path)
    assert key_ids(again) == ["key_1"]
    again.close()


async def test_only_commits_pay_for_an_fsync(path):
    """Notes and writes run under NORMAL, in one transaction; commits that wait at the same time follow under FULL."""
    seen = []
    database = open_database(path)

    def look(label):
        def work(connection):
            seen.append((label, connection.execute("PRAGMA synchronous").get))

        return work

    database.note(look("note"))
    await database.write(look("write"))
    await asyncio.gather(database.commit(look("commit")), database.write(look("write")))
    database.close()
    normal, full = 1, 2
    assert seen == [("note", normal), ("write", normal), ("write", normal), ("commit", full)]


async def test_what_was_written_reaches_the_disk_a_little_later(path, monkeypatch):
    """Without any commit one fsync follows for all writes of the delay, and no more."""
    monkeypatch.setattr(database_module, "SYNC_DELAY_S", 0.05)
    database = open_database(path)
    durable = []
    original = database._transact
    monkeypatch.setattr(database, "_transact", lambda batch: (durable.append(batch[0].durable), original(batch)))
    for number in range(3):
        await database.write(key_row(f"key_{number}"))
    await asyncio.sleep(0.2)
    database.close()
    assert durable == [False, False, False, True]


async def test_a_write_survives_a_killed_process(path):
    """What was awaited, durable or not, is there when the process is killed without another word."""
    script = textwrap.dedent(
        """
        import asyncio, os, pathlib, signal, sys
        from keyquorum_core_signer.coordinator.database import Database
        async def main():
            database = Database.open(pathlib.Path(sys.argv[1]), now_ms=1, on_fenced=lambda: None)
            insert = "INSERT INTO key (key_id, wallet_id, certificate) VALUES (?, 'wal_1', x'00')"
            for i in range(20):
                way = database.commit if i % 2 else database.write
                await way(lambda connection, i=i: connection.execute(insert, (f"key_{i}",)))
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path)
    assert await process.wait() == -9
    database = open_database(path)
    assert key_ids(database) == [f"key_{i}" for i in range(20)]
    database.close()


async def test_a_write_that_fails_takes_no_other_with_it(path):
    """Of a group, the one that violates a constraint fails; the others are written."""
    database = open_database(path)
    results = await asyncio.gather(
        *(database.commit(key_row(key_id)) for key_id in ("key_1", "key_2", "key_1", "key_3")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), type(None), apsw.ConstraintError, type(None)]
    assert key_ids(database) == ["key_1", "key_2", "key_3"]
    database.close()


async def test_concurrent_commits_share_transactions(path):
    """Two hundred commits at once need far fewer than two hundred fsyncs."""
    database = open_database(path)
    transactions = []
    original = database._transact
    database._transact = lambda batch: (transactions.append(len(batch)), original(batch))
    await asyncio.gather(*(database.commit(key_row(f"key_{i}")) for i in range(200)))
    database.close()
    assert sum(transactions) == 200
    assert len(transactions) < 100


async def test_a_second_process_is_refused_while_the_first_lives(path):
    """Another process cannot open the database, until the first one is killed."""
    script = textwrap.dedent(
        """
        import asyncio, pathlib, sys
        from keyquorum_core_signer.coordinator.database import Database
        async def main():
            Database.open(pathlib.Path(sys.argv[1]), now_ms=1, on_fenced=lambda: None)
            print("open", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, stdout=subprocess.PIPE)
    assert await process.stdout.readline() == b"open\n"
    with pytest.raises(OwnedElsewhere):
        open_database(path)
    process.kill()
    await process.wait()
    database = open_database(path)
    assert database.epoch == 2
    database.close()


async def test_a_deleted_lock_does_not_make_two_owners(path):
    """Where the lock file is lost, the newcomer fences the old owner, which writes nothing more and is told once."""
    told = []
    first = open_database(path, on_fenced=lambda: told.append(True))
    await first.commit(key_row("key_1"))
    path.with_name(path.name + ".lock").unlink()
    second = open_database(path)
    for _ in range(2):
        with pytest.raises(Fenced):
            await first.commit(key_row("key_2"))
    first.note(key_row("key_3"))
    await second.commit(key_row("key_4"))
    first.close()
    await asyncio.sleep(0)
    assert key_ids(second) == ["key_1", "key_4"]
    assert told == [True]
    second.close()


@pytest.mark.parametrize("foreign", ["database", "text", "newer"])
async def test_a_file_that_is_not_ours_is_refused(path, foreign):
    """Neither another program's database, nor a text, nor a newer version is opened, and the file stays as it was."""
    if foreign == "text":
        path.write_text("not a database at all, but long enough to be taken for a header" * 20)
    else:
        connection = apsw.Connection(str(path))
        if foreign == "newer":
            open_database_once = open_database(path)
            open_database_once.close()
            connection.execute(f"PRAGMA user_version={database_module.SCHEMA_VERSION + 1}")
        else:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises((DatabaseUnusable, apsw.NotADBError)):
        open_database(path)
    assert path.read_bytes() == before


async def test_a_full_queue_refuses_instead_of_growing(path, monkeypatch):
    """Beyond the bound notes are dropped and commits fail at once."""
    monkeypatch.setattr(database_module, "WRITES_PENDING_MAX", 3)
    database = open_database(path)

    def block(_connection):
        time.sleep(0.2)

    blocked = asyncio.create_task(database.commit(block))
    await asyncio.sleep(0.05)
    assert [database.note(key_row(f"key_{i}")) for i in range(4)] == [True, True, True, False]
    with pytest.raises(WriteRefused):
        await database.commit(key_row("key_9"))
    await blocked
    database.close()
