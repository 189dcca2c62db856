"""kill -9 in the middle of writing: every acknowledged write is there, and the next process takes over at once."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.verify import verify_store
from support import store_writer
from support.share_store import ASSET, NOW_MS, open_store

ROUNDS = 4
TESTS = Path(__file__).resolve().parents[2]


def killed_while_writing(path: Path, milliseconds: int) -> list[str]:
    """Start a writer, kill it, and return what it had been told is durable."""
    process = subprocess.Popen(
        [sys.executable, store_writer.__file__, str(path), "8"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip()]  # it is writing now
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    lines = rest.split("\n")  # what follows the last line end was cut off by the kill
    return [*acknowledged, *lines[:-1]]


async def check(path: Path, acknowledged: list[str]) -> None:
    store = await open_store(path)
    records = [await store.get_operation(op_id) for op_id in acknowledged]
    assert all(record is not None for record in records)
    events = (await store.head()).seq - 3  # without the key's own
    assert (await store.spending("key_1", ASSET, 3600, NOW_MS)).reserved == events
    assert await store.execute(c.ReleaseReservation(acknowledged[-1], NOW_MS)) == c.NotReleasable(acknowledged[-1])
    await store.close()


def test_acknowledged_writes_survive_kill_9(path: Path) -> None:
    """Again and again on the same store: nothing acknowledged is lost, the log is sound, nothing half-written shows."""
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        acknowledged += killed_while_writing(path, 50 + 70 * number)
        assert verify_store(path).sound
        asyncio.run(check(path, acknowledged))
    assert len(acknowledged) > 10 * ROUNDS
