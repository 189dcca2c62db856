"""What can be seen of a worker process from outside, and whom it outlives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.events import Failed
from keyquorum_core_signer.runtime.worker import WorkerPool
from support.toy_jobs import SECRET_TEXT

TESTS = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _find_toy_jobs(monkeypatch):
    """Workers import the toy factory."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)


async def inspect(*, dumpable):
    """What the kernel says about a worker, in its own words, and what the worker says itself."""
    pool = WorkerPool("support.toy_jobs:inspect_process", b"", workers=1, dumpable=dumpable)
    async with pool:
        (hardening,) = pool.hardening
        async for event in pool.open(b""):
            assert isinstance(event, Failed)
            return event.detail, hardening
    raise AssertionError("the worker did not answer")


def command_line(pid: int) -> bytes:
    """Its arguments, as everybody on the machine sees them."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def descriptors(pid: int) -> list[str]:
    """What it has open."""
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(("dumpable", "flag"), [(False, "dumpable=0"), (True, "dumpable=1")])
async def test_workers_are_hardened_and_say_so(dumpable, flag):
    """A worker's memory is closed unless the switch says otherwise, and its report agrees with the kernel."""
    detail, hardening = await inspect(dumpable=dumpable)
    assert flag in detail
    assert hardening.undumpable is not dumpable
    assert hardening.core_files_off


async def test_workers_do_not_inherit_the_environment(monkeypatch):
    """What an operator put into the host's environment stays there."""
    monkeypatch.setenv("KEYQUORUM_PIN", SECRET_TEXT)
    detail, _ = await inspect(dumpable=True)
    assert "KEYQUORUM_PIN" not in detail
    assert "PATH" in detail


async def test_nothing_secret_is_on_a_command_line_or_in_a_repr():
    """The set-up travels over the socket alone."""
    async with WorkerPool("support.toy_jobs:make_jobs", b"setup", workers=1) as pool:
        command = command_line(pool.pids[0])
        assert b"setup" not in command
        assert b"toy_jobs" not in command
        assert "setup" not in repr(pool)
        assert repr(pool) == "WorkerPool(support.toy_jobs:make_jobs, 1 of 1 workers, 0 sessions)"


async def test_workers_inherit_one_descriptor(tmp_path):
    """Of what the host has open, a worker gets its socket and the standard streams."""
    with (tmp_path / "store").open("wb") as store:
        os.set_inheritable(store.fileno(), True)
        async with WorkerPool("support.toy_jobs:make_jobs", b"setup", workers=2) as pool:
            for pid in pool.pids:
                targets = descriptors(pid)
                assert sum(target.startswith("socket:") for target in targets) == 1
                assert not any("store" in target for target in targets)


def test_workers_end_when_their_host_is_killed():
    """kill -9 on the host leaves no worker behind, not even one in the middle of a computation."""
    program = """
import asyncio, sys
from keyquorum_core_signer.runtime.worker import WorkerPool
async def main():
    async with WorkerPool("support.toy_jobs:make_jobs", b"setup", workers=2) as pool:
        pool.open(b"sleep 60")
        await asyncio.sleep(0.1)
        print(*pool.pids, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as host:
        pids = [int(pid) for pid in host.stdout.readline().split()]
        assert len(pids) == 2
        host.kill()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_worker_ignores_the_terminals_interrupt():
    """Ctrl-C reaches the whole group; the host decides when its workers end."""
    async with WorkerPool("support.toy_jobs:make_jobs", b"setup", workers=1) as pool:
        (pid,) = pool.pids
        os.kill(pid, 2)
        session = pool.open(b"1 2 " + bytes(32).hex().encode())
        assert (await anext(session)).recipient == PartyId(2)
        assert pool.pids == (pid,)
