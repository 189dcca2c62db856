"""Disks that fill up, fail and lose power: what was acknowledged is there, and what was not is there whole or not at all."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import schema
from keyquorum_core_signer.store.ports import OutcomeUnknown, StoreCorrupt, StoreUnavailable
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.faulty_disk import Call, FaultyDisk, RecordingDisk, power_cuts
from support.share_store import ASSET, NOW_MS, PARTY, admission, make_key, open_store

WRITES_STEP = 3  # after every write it takes three times as long, and has found nothing more

_names = itertools.count()


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    made = FaultyDisk(f"faulty-{next(_names)}")
    yield made
    made.unregister()


@pytest.fixture
def recorder() -> Iterator[RecordingDisk]:
    made = RecordingDisk(f"recording-{next(_names)}")
    yield made
    made.unregister()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where reconstructed disks are opened: what they keep is decided already, so real syncs would only take time."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


async def admitted_ids(path: Path, wanted: list[c.AdmitOperation]) -> set[str]:
    """Which of the commands a healthy process finds applied; the store must be sound."""
    assert verify_store(path).sound
    store = await open_store(path)
    found = {command.op_id for command in wanted if await store.get_operation(command.op_id) is not None}
    spent = (await store.spending("key_1", ASSET, 3600, NOW_MS)).reserved
    assert spent == len(found)
    await store.close()
    return found


@pytest.mark.parametrize("countdown", range(12))
async def test_full_disk_writes_nothing_and_heals(path: Path, disk: FaultyDisk, countdown: int) -> None:
    """Whichever write meets the full disk, its command is refused as not written; with space again the store goes on."""
    store = await SqliteShareStore.open(path, PARTY, vfs=disk.name)
    await make_key(store)
    tried, acknowledged = [], []
    disk.arm({"write"}, lambda: apsw.FullError("disk full"), countdown, lasting=False)
    for _ in range(6):
        command = admission(amount=1)
        tried.append(command)
        try:
            assert isinstance(await store.execute(command), c.Admitted)
            acknowledged.append(command.op_id)
        except StoreUnavailable:
            assert await store.get_operation(command.op_id) is None
            outcome = await store.execute(admission(amount=1001))  # the sum of the window is right, too
            assert isinstance(outcome, c.LimitExceeded)
            assert outcome.reserved == len(acknowledged)
            assert store.claim_emission(command.op_id, NOW_MS) == c.NotAdmitted(command.op_id)
    assert disk.failures == 1
    assert len(acknowledged) == 5
    assert store.healthy
    await store.close()
    assert await admitted_ids(path, tried) == set(acknowledged)


@pytest.mark.parametrize("calls", [{"write"}, {"sync"}])
@pytest.mark.parametrize("countdown", [0, 1, 3])
async def test_failed_disk_stops_the_store(path: Path, disk: FaultyDisk, calls: set[Call], countdown: int) -> None:
    """After an I/O error nothing is accepted any more, even if the disk says it is well; opening anew recovers."""
    store = await SqliteShareStore.open(path, PARTY, vfs=disk.name)
    await make_key(store)
    tried, acknowledged, unknown = [], set(), set()
    disk.arm(calls, lambda: apsw.IOError("input/output error"), countdown, lasting=False)
    for _ in range(8):
        command = admission(amount=1)
        tried.append(command)
        try:
            await store.execute(command)
            acknowledged.add(command.op_id)
        except OutcomeUnknown:
            unknown.add(command.op_id)
        except StoreUnavailable:
            assert not store.healthy
    assert disk.failures == 1
    assert not store.healthy
    assert len(acknowledged) < 5
    for command in tried:
        assert store.claim_emission(command.op_id, NOW_MS) == c.NotAdmitted(command.op_id)
    await store.close()
    found = await admitted_ids(path, tried)
    assert acknowledged <= found <= acknowledged | unknown


async def test_whole_batch_shares_the_fate_of_its_commit(path: Path, disk: FaultyDisk) -> None:
    """Commands that wait for one fsync all hear that their outcome is unknown when it fails; none hears success."""
    store = await SqliteShareStore.open(path, PARTY, vfs=disk.name)
    await make_key(store)
    disk.arm({"sync"}, lambda: apsw.IOError("input/output error"), 0, lasting=True)
    tried = [admission(amount=1) for _ in range(50)]
    outcomes = await asyncio.gather(*map(store.execute, tried), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {OutcomeUnknown, StoreUnavailable}
    await store.close()
    await admitted_ids(path, tried)


async def record(path: Path, recorder: RecordingDisk) -> list[c.AdmitOperation]:
    """A short life of a store, acknowledgements included."""
    store = await SqliteShareStore.open(path, PARTY, vfs=recorder.name)
    await make_key(store)
    commands = [admission(amount=1) for _ in range(6)]

    async def acknowledge(command: c.AdmitOperation) -> None:
        assert isinstance(await store.execute(command), c.Admitted)
        recorder.acknowledged(command.op_id)

    recorder.acknowledged("key")
    for command in commands[:3]:
        await acknowledge(command)
    await asyncio.gather(*map(acknowledge, commands[3:]))
    await store.close()
    return commands


def losses(path: Path, recorder: RecordingDisk, commands: list[c.AdmitOperation], memory: Path) -> Iterator[str | None]:
    """Tries power cuts; gives one value per cut: what was lost or left in half, or None."""
    for number, (what, files, acknowledged) in enumerate(power_cuts(recorder.operations, 1, WRITES_STEP)):
        if "key" not in acknowledged:
            continue
        folder = memory / f"cut-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
        shutil.copy(f"{path}.audit-key", folder)
        try:
            found = asyncio.run(admitted_ids(folder / path.name, commands))
        except (StoreCorrupt, AssertionError) as error:
            yield f"{what}: {error}"
            continue
        yield None if set(acknowledged) - {"key"} <= found else what


def test_power_cut_after_any_write_loses_nothing_acknowledged(
    path: Path, recorder: RecordingDisk, memory: Path
) -> None:
    """At every write and sync, with the unsynced writes dropped, kept, half of them, or torn: all that was acknowledged is
    there, the chains hold, the read models agree."""
    commands = asyncio.run(record(path, recorder))
    outcomes = list(losses(path, recorder, commands, memory))
    assert len(outcomes) > 80
    assert [lost for lost in outcomes if lost] == []


def test_harness_notices_a_store_that_does_not_sync(
    path: Path, recorder: RecordingDisk, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same power cuts catch ``synchronous=NORMAL`` losing acknowledged writes, so the test above has teeth."""
    monkeypatch.setattr(schema, "open_writer", _without_sync(schema.open_writer))
    commands = asyncio.run(record(path, recorder))
    monkeypatch.undo()
    assert any(losses(path, recorder, commands, memory))


def _without_sync(open_writer: Callable[..., apsw.Connection]) -> Callable[..., apsw.Connection]:
    def opened(path: Path, vfs: str | None = None) -> apsw.Connection:
        connection = open_writer(path, vfs)
        connection.pragma("synchronous", 1)
        return connection

    return opened
