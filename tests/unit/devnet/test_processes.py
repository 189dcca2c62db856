"""Supervision of real processes, each a few lines of Python."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from keyquorum_devnet import processes
from keyquorum_devnet.processes import Program, Supervisor, UnknownProgram
from support.stack import is_gone

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
WITH_CHILD = (
    "import subprocess, sys, time;"
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
)


def program(name: str, code: str = "import time; print('up', flush=True); time.sleep(60)") -> Program:
    """A program of a few statements."""
    return Program(name, (sys.executable, "-c", code))


async def until(condition, within_s: float = 10) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def make(tmp_path):
    """Makes supervisors and stops what they started."""
    made: list[Supervisor] = []

    def supervisor(*programs: Program, restart: bool = True, lines: list[str] | None = None) -> Supervisor:
        made.append(Supervisor(programs, tmp_path, restart=restart, say=([] if lines is None else lines).append))
        return made[-1]

    yield supervisor
    for each in made:
        await each.stop_all()


async def test_a_killed_process_comes_back(make, monkeypatch):
    """SIGKILL from outside is answered by a new process, and the operator reads why."""
    monkeypatch.setattr(processes, "RESTART_DELAY_S", 0.05)
    lines: list[str] = []
    stack = make(program("party-1"), lines=lines)
    await stack.start_all()
    before = stack["party-1"].pid
    os.kill(before, signal.SIGKILL)
    await until(lambda: stack["party-1"].pid not in {None, before})
    assert "party-1 killed by signal 9: starting it again" in lines[0]


async def test_restarts_slow_down(make, monkeypatch):
    """A program that cannot run is tried ever more slowly."""
    monkeypatch.setattr(processes, "RESTART_DELAY_S", 0.02)
    lines: list[str] = []
    stack = make(program("gateway", "raise SystemExit(3)"), lines=lines)
    stack["gateway"]._delay_s = 0.1
    await stack.start_all()
    await until(lambda: len(lines) >= 3)
    assert [line.partition(" again in ")[2].split()[0] for line in lines[:3]] == ["0.1", "0.2", "0.4"]
    assert lines[0].startswith("gateway exited with 3")


async def test_without_restarts_a_dead_process_stays_down_until_asked_for(make):
    """A test that kills a party decides itself when it returns."""
    lines: list[str] = []
    stack = make(program("party-2"), restart=False, lines=lines)
    await stack.start_all()
    os.kill(stack["party-2"].pid, signal.SIGKILL)
    await until(lambda: lines)
    await asyncio.sleep(0.1)
    assert stack["party-2"].pid is None
    await stack["party-2"].start()
    assert stack["party-2"].pid is not None
    assert stack["party-2"].starts == 2


async def test_a_stopped_process_is_not_restarted(make, monkeypatch):
    """Stopping and killing on purpose are not deaths to be repaired, not even while a restart is pending."""
    monkeypatch.setattr(processes, "RESTART_DELAY_S", 0.05)
    lines: list[str] = []
    stack = make(program("a"), program("b"), program("c"), lines=lines)
    await stack.start_all()
    await stack["a"].stop()
    await stack["b"].kill()
    os.kill(stack["c"].pid, signal.SIGKILL)
    await until(lambda: lines)
    await stack["c"].stop()
    await asyncio.sleep(0.3)
    assert stack.pids() == {"a": None, "b": None, "c": None}


async def test_a_process_that_ignores_the_request_is_killed(make, tmp_path):
    """Shutdown is bounded in time."""
    lines: list[str] = []
    stack = make(program("stubborn", STUBBORN), lines=lines)
    await stack.start_all()
    pid = stack["stubborn"].pid
    await until(lambda: "up" in (tmp_path / "stubborn.log").read_text())
    await stack["stubborn"].stop(stop_s=0.2)
    assert is_gone(pid)
    assert "killed" in lines[0]


async def test_what_a_process_started_ends_with_it(make, tmp_path):
    """A party's workers do not outlive a stop of the party."""
    stack = make(program("party-3", WITH_CHILD))
    await stack.start_all()
    log = tmp_path / "party-3.log"
    await until(lambda: log.read_text().strip())
    child = int(log.read_text())
    await stack.stop_all()
    await until(lambda: is_gone(child))


async def test_nothing_outlives_a_killed_supervisor(tmp_path):
    """The kernel ends the programs of a supervisor that got SIGKILL and could clean up nothing."""
    code = f"""
import asyncio, sys
from pathlib import Path
from keyquorum_devnet.processes import Program, Supervisor
async def main():
    programs = [Program(str(n), (sys.executable, "-c", "import time; time.sleep(60)")) for n in range(3)]
    stack = Supervisor(programs, Path({str(tmp_path)!r}), restart=True, say=print)
    await stack.start_all()
    print(*stack.pids().values(), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    pids = [int(text) for text in (await supervisor.stdout.readline()).split()]
    await asyncio.sleep(0.3)  # past the leash's own start
    assert len(pids) == 3
    assert not any(is_gone(pid) for pid in pids)
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: all(is_gone(pid) for pid in pids))


async def test_an_unknown_program_is_named(make):
    """A typing error in a control command changes nothing."""
    with pytest.raises(UnknownProgram, match="party-9"):
        make(program("party-1"))["party-9"]


async def test_output_is_kept_per_process(make, tmp_path: Path):
    """Standard output and error of each process are in its own log."""
    stack = make(program("one", "import sys; print('out'); print('err', file=sys.stderr)"), restart=False)
    await stack.start_all()
    await until(lambda: stack["one"].pid is None)
    assert sorted((tmp_path / "one.log").read_text().split()) == ["err", "out"]
