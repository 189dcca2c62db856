"""The life of a presignature on disks that fail and lose power: given out once, or not at all."""

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
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store import schema
from keyquorum_core_signer.store.ports import OutcomeUnknown, StoreCorrupt, StoreUnavailable
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.faulty_disk import Call, FaultyDisk, RecordingDisk, power_cuts
from support.share_store import KIND, NOW_MS, PARTY, SETUP, admission, make_key, open_store, pair_setup, presignatures

KEY = "key_2"
PEER = "party-2"
QUORUM = (PARTY, PEER)
STOCK = tuple(range(1, 9))
VOIDED = (21, 22)
SESSION = bytes([1]) * 32
WRITES_STEP = 2
_numbers = itertools.count()


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    made = FaultyDisk(f"faulty-burn-{next(_numbers)}")
    yield made
    made.unregister()


@pytest.fixture
def recorder() -> Iterator[RecordingDisk]:
    made = RecordingDisk(f"recording-burn-{next(_numbers)}")
    yield made
    made.unregister()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where reconstructed disks are opened: what they keep is decided already."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def burn(op_id: str, *numbers: int) -> s.BurnPresignatures:
    """For a session of its own."""
    session = next(_numbers).to_bytes(32, "big")
    return s.BurnPresignatures(op_id, session, tuple(bytes([n]) * 32 for n in numbers), KEY, NOW_MS)


async def stocked(path: Path, vfs: str) -> tuple[SqliteShareStore, str]:
    """A key with a stock, and an operation to burn it for."""
    store = await SqliteShareStore.open(path, PARTY, vfs=vfs)
    await make_key(store, KEY)
    await store.execute(presignatures(*STOCK))
    admit = admission(KEY)
    await store.execute(admit)
    return store, admit.op_id


async def obtainable(path: Path, op_id: str, numbers: tuple[int, ...]) -> set[int]:
    """Those of the numbers that a later process can still burn."""
    assert verify_store(path).problems == ()
    store = await open_store(path)
    found = {n for n in numbers if isinstance(await store.execute(burn(op_id, n)), s.Burned)}
    assert {record.presignature_id[0] for record in await store.presignatures()}.isdisjoint(found)
    await store.close()
    assert verify_store(path).problems == ()
    return found


@pytest.mark.parametrize("calls", [{"write"}, {"sync"}])
@pytest.mark.parametrize("countdown", [0, 1, 2, 4])
async def test_a_burn_that_failed_gave_nothing_out(
    path: Path, disk: FaultyDisk, calls: set[Call], countdown: int
) -> None:
    """After an I/O error whoever asked holds nothing; what was given out before is not there afterwards."""
    store, op_id = await stocked(path, disk.name)
    disk.arm(calls, lambda: apsw.IOError("input/output error"), countdown, lasting=False)
    given: set[int] = set()
    for number in STOCK:
        try:
            outcome = await store.execute(burn(op_id, number))
        except (OutcomeUnknown, StoreUnavailable):
            continue
        assert isinstance(outcome, s.Burned)
        given.add(number)
    assert disk.failures == 1
    assert len(given) < len(STOCK)
    await store.close()
    assert (await obtainable(path, op_id, STOCK)).isdisjoint(given)


@pytest.mark.parametrize("countdown", range(4))
async def test_a_full_disk_burns_nothing(path: Path, disk: FaultyDisk, countdown: int) -> None:
    """A burn that found no room has not happened: what it named is in stock, and burned when there is room again."""
    store, op_id = await stocked(path, disk.name)
    disk.arm({"write"}, lambda: apsw.FullError("disk full"), countdown, lasting=False)
    given: list[int] = []
    for number in STOCK:
        try:
            assert isinstance(await store.execute(burn(op_id, number)), s.Burned)
        except StoreUnavailable:
            assert number in {record.presignature_id[0] for record in await store.presignatures()}
            assert isinstance(await store.execute(burn(op_id, number)), s.Burned)
        given.append(number)
    assert disk.failures == 1
    await store.close()
    assert await obtainable(path, op_id, STOCK) == set()


async def life(path: Path, recorder: RecordingDisk) -> str:
    """Stored, burned alone and together, voided, banned: each acknowledged when its caller knows."""
    store, op_id = await stocked(path, recorder.name)
    await store.execute(pair_setup(PEER))
    await store.execute(p.BeginPairChecks(SESSION, ((PEER, KIND, SETUP),), NOW_MS))
    recorder.acknowledged("checks begun")
    for numbers in ((1,), (2, 3, 4), (5,)):
        assert isinstance(await store.execute(burn(op_id, *numbers)), s.Burned)
        for number in numbers:
            recorder.acknowledged(str(number))
    await store.execute(presignatures(*VOIDED, node_ids=QUORUM))
    ban = c.BanPeer("op_1", PEER, "", "bad row", bytes(32), NOW_MS)
    assert await store.execute(ban) == c.Banned(PEER, "")
    recorder.acknowledged("banned")
    await store.execute(s.VoidPresignatures("restart", NOW_MS))
    recorder.acknowledged("voided")
    await store.close()
    return op_id


def failures(path: Path, recorder: RecordingDisk, op_id: str, memory: Path) -> Iterator[str | None]:
    """Tries power cuts from the first acknowledgement on: what is wrong afterwards, or None, one per cut."""
    for number, (what, files, acknowledged) in enumerate(power_cuts(recorder.operations, 1, WRITES_STEP)):
        if not acknowledged:
            continue
        folder = memory / f"cut-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
        shutil.copy(f"{path}.audit-key", folder)
        try:
            asyncio.run(_inspect(folder / path.name, op_id, acknowledged))
            yield None
        except (StoreCorrupt, AssertionError) as error:
            yield f"{what}: {error}"


async def _inspect(path: Path, op_id: str, acknowledged: list[str]) -> None:
    assert verify_store(path).problems == ()
    store = await open_store(path)
    banned = bool(await store.bans())
    pairs = await store.pair_setups()
    assert [pair.pending for pair in pairs] == [b"" if banned else SESSION], "checks noted, or ended by the ban"
    assert [pair.living for pair in pairs] == [not banned]
    stock = {record.presignature_id[0] for record in await store.presignatures()}
    assert not banned or stock.isdisjoint(VOIDED), "a ban takes all, or is not there"
    assert banned or "banned" not in acknowledged
    assert stock == set() or "voided" not in acknowledged
    assert len(stock & {2, 3, 4}) in (0, 3), "all or none"
    await store.close()
    given = {int(name) for name in acknowledged if name.isdigit()}
    assert (await obtainable(path, op_id, (*STOCK, *VOIDED))).isdisjoint(given), "given out twice"


def test_power_cut_at_any_point_of_a_presignatures_life(path: Path, recorder: RecordingDisk, memory: Path) -> None:
    """At every other write and every sync, with the unsynced writes dropped, kept, some of them, or torn."""
    op_id = asyncio.run(life(path, recorder))
    found = list(failures(path, recorder, op_id, memory))
    assert len(found) > 80
    assert [failure for failure in found if failure] == []


def test_the_cuts_find_a_store_that_does_not_sync(
    path: Path, recorder: RecordingDisk, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``synchronous=NORMAL`` an acknowledged burn is forgotten, and the cuts above show it."""
    monkeypatch.setattr(schema, "open_writer", _without_sync(schema.open_writer))
    op_id = asyncio.run(life(path, recorder))
    monkeypatch.undo()
    assert any(failure and "given out twice" in failure for failure in failures(path, recorder, op_id, memory))


def _without_sync(open_writer: Callable[..., apsw.Connection]) -> Callable[..., apsw.Connection]:
    def opened(path: Path, vfs: str | None = None) -> apsw.Connection:
        connection = open_writer(path, vfs)
        connection.pragma("synchronous", 1)
        return connection

    return opened
