"""kill -9 at any point of a presignature's life: no later process is given one that an earlier one was given."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store.verify import verify_store
from support import presignature_life
from support.share_store import KIND, NOW_MS, admission, make_key, open_store

TESTS = Path(__file__).resolve().parents[2]
STEPS = 9  # a turn and a half: store, burn, burn, store, burn, burn, void, store, burn
KINDS = ("stored", "burned", "voided")


async def prepared_store(path: Path) -> str:
    """A key, and an operation that stands on it."""
    store = await open_store(path)
    await make_key(store, presignature_life.KEY)
    admit = admission(presignature_life.KEY)
    await store.execute(admit)
    await store.close()
    return admit.op_id


def killed_after(path: Path, op_id: str, steps: int) -> list[list[str]]:
    """Start a life, kill it once it has said ``steps`` things, and return all that it said."""
    process = subprocess.Popen(
        [sys.executable, presignature_life.__file__, str(path), op_id],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))},
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(steps)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    whole = rest.split("\n")[:-1]  # what follows the last line end was cut off by the kill
    return [line.split() for line in (*said, *whole)]


async def next_process(path: Path, op_id: str, stored: set[bytes], given: set[bytes]) -> None:
    """What the next one finds: nothing burned in stock, nothing burned for the asking, and no id that comes back."""
    store = await open_store(path)
    stock = {record.presignature_id for record in await store.presignatures()}
    assert stock.isdisjoint(given)
    for number, name in enumerate(sorted(given)):
        session = (len(given) << 32 | number).to_bytes(32, "big")
        asked = await store.execute(s.BurnPresignatures(op_id, session, (name,), presignature_life.KEY, NOW_MS))
        assert asked == s.PresignatureUnavailable(name)
    voided = await store.execute(s.VoidPresignatures("the process started anew", NOW_MS))
    assert voided == s.Voided(len(stock))
    assert await store.presignatures() == ()
    for name in sorted(stored):
        again = s.StorePresignatures(
            presignature_life.KEY, 1, (0,), ("party-1", "party-2"), KIND, NOW_MS, ((name, b"sealed" + name),)
        )
        assert await store.execute(again) == s.PresignatureConflict(name)
    await store.close()
    assert verify_store(path).problems == ()


def test_killed_at_every_step_none_is_given_out_twice(path: Path) -> None:
    """One store, life after life, each killed one step later than the one before; each next process looks at everything."""
    op_id = asyncio.run(prepared_store(path))
    stored: set[bytes] = set()
    given: set[bytes] = set()
    for steps in range(STEPS + 1):
        said = killed_after(path, op_id, steps)
        names = {kind: {bytes.fromhex(name) for line in said if line[0] == kind for name in line[1:]} for kind in KINDS}
        assert names["burned"].isdisjoint(given)
        stored |= names["stored"]
        given |= names["burned"]
        asyncio.run(next_process(path, op_id, stored, given))
    assert len(given) > STEPS


async def test_the_operation_outlives_the_crash(path: Path) -> None:
    """What was admitted before a crash may burn after it: the reservation stands, so no signature is lost for it."""
    op_id = await prepared_store(path)
    store = await open_store(path)
    record = await store.get_operation(op_id)
    assert record is not None
    assert record.state is c.OperationState.RESERVED
    name = bytes([1]) * 32
    await store.execute(
        s.StorePresignatures(presignature_life.KEY, 1, (0,), ("party-1", "party-2"), KIND, NOW_MS, ((name, b"sealed"),))
    )
    command = s.BurnPresignatures(op_id, name, (name,), presignature_life.KEY, NOW_MS)
    assert await store.execute(command) == s.Burned((b"sealed",))
    await store.execute(c.MarkEmitted(op_id, NOW_MS))
    assert await store.execute(command) == s.PresignatureUnavailable(name)
    await store.close()
