"""Programs kept running: started on a leash, restarted with back-off when they die, stopped by pid and never by name.

A program is *wanted* or not. While it is wanted and dies, it is started again after a delay that doubles from
``RESTART_DELAY_S`` to ``RESTART_DELAY_S_MAX`` and falls back once it has stayed up for ``STEADY_S``; a supervisor without
restarts leaves it down until somebody asks for it.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

RESTART_DELAY_S: Final = 0.5
RESTART_DELAY_S_MAX: Final = 15.0
STEADY_S: Final = 30.0
STOP_S: Final = 10.0  # then the whole process group is killed
LOG_BYTES_MAX: Final = 16 * 1024 * 1024  # then it is moved aside, once, at the next start
_LEASH: Final = Path(__file__).with_name("leash.py")


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the stack. ``environment`` is added to ours."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class UnknownProgram(KeyError):
    """The stack has no program of that name."""


class Watched:
    """A program and the process that runs it now, if one does."""

    def __init__(
        self, program: Program, log: Path, *, restart: bool, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.program = program
        self.log = log
        self.starts = 0
        self._restart = restart
        self._say = say
        self._changed = changed
        self._process: Process | None = None
        self._wanted = False
        self._delay_s = RESTART_DELAY_S
        self._changing = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Make it run; nothing happens if it does."""
        async with self._changing:
            self._wanted = True
            await self._spawn()

    async def stop(self, stop_s: float = STOP_S) -> None:
        """Ask it to end and wait; after ``stop_s`` kill it with everything it started."""
        await self._end(signal.SIGTERM, stop_s)

    async def kill(self) -> None:
        """End it at once, as a crash would, and leave it down."""
        await self._end(signal.SIGKILL, STOP_S)

    async def _spawn(self) -> None:
        if self.pid is not None:
            return
        if self._watch is not None:
            await self._watch
        with self._open_log() as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *self.program.command,
                stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.program.environment},
            )  # fmt: skip
        self.starts += 1
        self._watch = asyncio.create_task(self._wait(self._process, time.monotonic()))
        self._changed()

    async def _end(self, number: signal.Signals, stop_s: float) -> None:
        async with self._changing:
            self._wanted = False
            process, watch = self._process, self._watch
            if process is None or watch is None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            done, _ = await asyncio.wait({watch}, timeout=stop_s)
            if not done:
                self._say(f"{self.program.name} did not end within {stop_s:.0f} s: killed")
            _kill_group(process.pid)  # it leads a session of its own: what it left behind is ours to end
            await watch

    async def _wait(self, process: Process, began: float) -> None:
        code = await process.wait()
        lived_s = time.monotonic() - began
        self._changed()
        if not self._wanted:
            return
        _kill_group(process.pid)
        if lived_s >= STEADY_S:
            self._delay_s = RESTART_DELAY_S
        ended = f"killed by signal {-code}" if code < 0 else f"exited with {code}"
        if self._restart:
            self._say(f"{self.program.name} {ended}: starting it again in {self._delay_s:.1f} s (log: {self.log})")
            self._restarting = asyncio.create_task(self._start_later(self._delay_s))
            self._delay_s = min(2 * self._delay_s, RESTART_DELAY_S_MAX)
        else:
            self._wanted = False
            self._say(f"{self.program.name} {ended} (log: {self.log})")

    async def _start_later(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        async with self._changing:
            if self._wanted:  # nobody stopped it in the meantime
                await self._spawn()

    def _open_log(self) -> IO[bytes]:
        if self.log.is_file() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")


class Supervisor:
    """The programs of a stack, in the order in which they start."""

    def __init__(
        self,
        programs: Sequence[Program],
        logs: Path,
        *,
        restart: bool,
        say: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._watched = {
            program.name: Watched(program, logs / f"{program.name}.log", restart=restart, say=say, changed=changed)
            for program in programs
        }

    def __getitem__(self, name: str) -> Watched:
        try:
            return self._watched[name]
        except KeyError:
            raise UnknownProgram(name) from None

    def pids(self) -> dict[str, int | None]:
        """Process id per program."""
        return {name: watched.pid for name, watched in self._watched.items()}

    async def start_all(self) -> None:
        """Start everything, first to last, without waiting for any to be ready."""
        for watched in self._watched.values():
            await watched.start()

    async def stop_all(self) -> None:
        """Stop everything, last to first: nobody is asked by someone who is about to go."""
        for watched in reversed(self._watched.values()):
            await watched.stop()


def _kill_group(group: int) -> None:
    """Kill what is left of a process group that one of our own children led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
