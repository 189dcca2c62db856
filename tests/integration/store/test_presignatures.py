"""A presignature is burned once: whoever asks, however often, at once, and whatever dies meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import NOW_MS, admission, make_key, open_store, presignatures

KEY = "key_2"
CONCURRENT = 100


def burn(op_id: str, *numbers: int, session: int = 1, key_id: str = KEY) -> s.BurnPresignatures:
    """For a session of an operation."""
    names = tuple(bytes([number]) * 32 for number in numbers)
    return s.BurnPresignatures(op_id, session.to_bytes(32, "big"), names, key_id, NOW_MS)


async def stocked(path: Path, *numbers: int) -> tuple[SqliteShareStore, str]:
    """A key with presignatures, and an operation that is admitted on it."""
    store = await open_store(path)
    await make_key(store, KEY)
    outcome = await store.execute(presignatures(*numbers))
    assert outcome == s.PresignaturesStored(len(numbers))
    admit = admission(KEY)
    assert isinstance(await store.execute(admit), c.Admitted)
    return store, admit.op_id


async def test_of_a_hundred_at_once_one_gets_it(path: Path) -> None:
    """Different sessions, one presignature: one envelope comes out, once."""
    store, op_id = await stocked(path, 7)
    outcomes = await asyncio.gather(*(store.execute(burn(op_id, 7, session=n)) for n in range(CONCURRENT)))
    burned = [outcome for outcome in outcomes if isinstance(outcome, s.Burned)]
    assert len(burned) == 1
    assert len(burned[0].sealed) == 1
    assert outcomes.count(s.PresignatureUnavailable(bytes([7]) * 32)) == CONCURRENT - 1
    await store.close()
    assert verify_store(path).problems == ()


async def test_a_repeat_gets_nothing(path: Path) -> None:
    """Not even the very command that burned it: an answer that was lost is lost with the presignature."""
    store, op_id = await stocked(path, 1, 2)
    command = burn(op_id, 2)
    assert isinstance(await store.execute(command), s.Burned)
    assert isinstance(await store.execute(command), s.PresignatureUnavailable)
    assert isinstance(await store.execute(burn(op_id, 1)), s.PresignatureUnavailable), "a session burns once"
    assert isinstance(await store.execute(burn(op_id, 1, session=2)), s.Burned)
    await store.close()


async def test_all_or_none(path: Path) -> None:
    """One that is not there leaves the others where they are, and the order asked for is the order given."""
    store, op_id = await stocked(path, 1, 2, 3)
    before = {record.presignature_id for record in await store.presignatures()}
    assert await store.execute(burn(op_id, 1, 9)) == s.PresignatureUnavailable(bytes([9]) * 32)
    assert {record.presignature_id for record in await store.presignatures()} == before
    first, second = await store.execute(burn(op_id, 3, 1)), await store.execute(burn(op_id, 2, session=2))
    assert isinstance(first, s.Burned)
    assert isinstance(second, s.Burned)
    assert len({*first.sealed, *second.sealed}) == 3
    await store.close()


async def test_only_for_an_operation_that_stands_on_the_key(path: Path) -> None:
    """Unknown, released, of another key: nothing is burned."""
    store, op_id = await stocked(path, 1)
    await make_key(store, "key_3")
    elsewhere = admission("key_3")
    released = admission(KEY)
    for command in (elsewhere, released):
        await store.execute(command)
    await store.execute(c.ReleaseReservation(released.op_id, NOW_MS))
    for wrong in ("op_unknown", elsewhere.op_id, released.op_id):
        assert await store.execute(burn(wrong, 1)) == c.NotAdmitted(wrong)
    other_key = await store.execute(burn(elsewhere.op_id, 1, key_id="key_3"))
    assert other_key == s.PresignatureUnavailable(bytes([1]) * 32)
    assert isinstance(await store.execute(burn(op_id, 1)), s.Burned)
    await store.close()


async def test_what_is_refused_storing(path: Path) -> None:
    """A key that is not active, another epoch, a name that is there."""
    store, _ = await stocked(path, 1)
    assert isinstance(await store.execute(presignatures(2, key_id="key_9")), c.KeyUnavailable)
    assert isinstance(await store.execute(presignatures(2, epoch=2)), c.KeyUnavailable)
    assert await store.execute(presignatures(2, 1)) == s.PresignatureConflict(bytes([1]) * 32)
    assert len(await store.presignatures()) == 1
    await store.close()


BURNER = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from keyquorum_core_signer.store import presignature_commands as s
from support.share_store import NOW_MS, open_store

async def main():
    store = await open_store(Path({path!r}))
    names = tuple(bytes([n]) * 32 for n in range(1, 41))
    for number, name in enumerate(names):
        outcome = await store.execute(s.BurnPresignatures({op_id!r}, (100 + number).to_bytes(32, "big"), (name,), "key_2", NOW_MS))
        if isinstance(outcome, s.Burned):
            os.write(1, name[:1])

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [0, 1, 3, 8, 20])
async def test_killed_at_any_point_none_is_given_out_twice(path: Path, after: int) -> None:
    """SIGKILL while presignatures are burned one by one: what a process had been given, no later one gets."""
    store, op_id = await stocked(path, *range(1, 41))
    await store.close()
    script = BURNER.format(tests=str(Path(__file__).parents[2]), path=str(path), op_id=op_id)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    given = await child.stdout.readexactly(after)
    os.kill(child.pid, signal.SIGKILL)
    given += await child.stdout.read()
    await child.wait()
    store = await open_store(path)
    left = {record.presignature_id[0] for record in await store.presignatures()}
    assert left.isdisjoint(given)
    again = [
        number
        for number in given
        if isinstance(await store.execute(burn(op_id, number, session=1000 + number)), s.Burned)
    ]
    assert again == []
    await store.close()
    assert verify_store(path).problems == ()
