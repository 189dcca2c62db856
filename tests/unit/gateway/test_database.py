"""One writer, group commit: what was awaited is durable, a command that fails fails alone, order is kept."""

import asyncio
import stat

import apsw
import pytest

from keyquorum_gateway.state.database import Database, StateLocked, StateUnavailable, connect
from keyquorum_gateway.state.schema import SchemaTooNew, migrate


@pytest.fixture
async def database(tmp_path):
    """An empty database with one more table."""
    made = Database(tmp_path / "state.db")
    await made.write(lambda c: c.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)"))
    yield made
    await made.close()


def insert(number, text="x"):
    """A command."""
    return lambda connection: connection.execute("INSERT INTO t VALUES (?, ?)", (number, text))


async def test_what_was_written_is_read(database):
    """By the loop's own connection, at once."""
    await database.write(insert(1, "one"))
    assert database.read("SELECT a, b FROM t") == [(1, "one")]
    assert database.read_one("SELECT b FROM t WHERE a = ?", (2,)) is None


async def test_a_command_that_fails_fails_alone(database):
    """Its neighbours in the same commit are kept, and its own first half is not."""

    def half(connection):
        insert(2)(connection)
        raise ValueError("no")

    results = await asyncio.gather(
        database.write(insert(1)), database.write(half), database.write(insert(3)), return_exceptions=True
    )
    assert isinstance(results[1], ValueError)
    assert database.read("SELECT a FROM t ORDER BY a") == [(1,), (3,)]


async def test_writes_keep_their_order(database):
    """Also those that nobody waits for."""
    for number in range(500):
        last = database.post(insert(number))
    await last
    assert len(database.read("SELECT a FROM t")) == 500


async def test_many_writers_share_commits(database):
    """Far fewer fsyncs than commands."""
    before = database.read_one("PRAGMA data_version")
    commits = 0

    async def watch():
        nonlocal commits, before
        while True:
            now = database.read_one("PRAGMA data_version")
            commits += now != before
            before = now
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(database.write(insert(number)) for number in range(200)))
    watcher.cancel()
    assert 1 <= commits < 100


async def test_what_is_in_no_hurry_shares_the_next_commit(database):
    """It waits a moment for one that somebody waits for, keeps its place before it, and is written alone if none comes."""
    lazy = database.post(insert(1), lazy=True)
    await asyncio.sleep(0.005)
    assert not lazy.done()
    await database.write(insert(2))
    assert lazy.done()
    assert database.read("SELECT a FROM t") == [(1,), (2,)]
    await asyncio.wait_for(database.post(insert(3), lazy=True), 1)


async def test_a_commit_that_fails_fails_all_and_keeps_nothing(database):
    """A full disk is a 503, not a half-written state; when there is room again, writing goes on."""
    await database.write(lambda c: c.pragma("max_page_count", c.pragma("page_count")) and None)
    big = "y" * 2_000_000
    results = await asyncio.gather(
        *(database.write(insert(number, big)) for number in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [StateUnavailable] * 3
    assert database.read("SELECT a FROM t") == []
    await database.write(lambda c: c.pragma("max_page_count", 1_000_000) and None)
    await database.write(insert(1))
    assert database.read("SELECT a FROM t") == [(1,)]


async def test_a_cancelled_caller_does_not_undo_the_write(database):
    """What was queued is written."""
    task = asyncio.create_task(database.write(insert(1)))
    await asyncio.sleep(0)
    task.cancel()
    await database.write(insert(2))
    assert database.read("SELECT a FROM t ORDER BY a") == [(1,), (2,)]


async def test_the_file_is_its_owners_and_durable(database, tmp_path):
    """Mode 0600, WAL, synchronous=FULL."""
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600
    settings = await database.write(lambda c: (c.pragma("journal_mode"), c.pragma("synchronous")))
    assert settings == ("wal", 2)
    with pytest.raises(apsw.ReadOnlyError):
        database.read("INSERT INTO t VALUES (1, 'x')")


async def test_one_process_at_a_time(database, tmp_path):
    """A second one is refused until the first has closed."""
    with pytest.raises(StateLocked):
        Database(tmp_path / "state.db")
    await database.close()
    await database.close()
    again = Database(tmp_path / "state.db")
    await again.close()
    with pytest.raises(StateUnavailable):
        again.post(insert(1))


def test_a_newer_file_is_left_alone(tmp_path):
    """A downgrade is refused before anything is touched."""
    connection = connect(tmp_path / "x.db")
    migrate(connection)
    migrate(connection)
    connection.pragma("user_version", 99)
    with pytest.raises(SchemaTooNew):
        migrate(connection)
    connection.close()
