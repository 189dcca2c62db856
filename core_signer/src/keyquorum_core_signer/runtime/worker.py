"""A pool of worker processes, so that no session's computing ever blocks an event loop.

Workers are new interpreters, never forks: they inherit one socket and share no memory with a process that may be logged
in to an HSM. Start the pool before any such login all the same. What a worker is told travels over that socket alone;
its command line and environment say nothing of interest.

A worker that dies takes its sessions with it, and each says so with ``Failed(code="worker-lost")``; another process takes
its place. Sessions are spread by affinity, so that what a worker has in its caches is used again.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from keyquorum_core_signer.runtime.frames import pack_setup
from keyquorum_core_signer.runtime.hardening import Hardening
from keyquorum_core_signer.runtime.limits import PoolLimits
from keyquorum_core_signer.runtime.worker_session import (
    PoolClosed,
    PoolError,
    WorkerLink,
    WorkerLost,
    WorkerSession,
)

_MAIN: Final = "keyquorum_core_signer.runtime.worker_main"
_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")


class WorkerStartError(PoolError):
    """A worker process does not come up: the factory cannot be imported, or refuses its set-up."""


@dataclass(frozen=True, slots=True)
class _Process:
    child: asyncio.subprocess.Process
    link: WorkerLink


class WorkerPool:
    """``workers`` processes that each run many sessions; see the module's text.

    Use it from one event loop: ``async with WorkerPool(...) as pool``, or ``start()`` and ``close()``.
    """

    def __init__(
        self,
        factory: str,
        setup: bytes,
        *,
        workers: int,
        limits: PoolLimits | None = None,
        dumpable: bool = False,
        on_lost: Callable[[int, str], None] | None = None,
    ) -> None:
        """``factory`` is ``"package.module:function"``, a :data:`~.job.JobFactory`; ``setup`` is given to it in each worker.

        ``dumpable`` leaves the workers' memory open to a test that scans it. ``on_lost(pid, reason)`` is called for every
        worker that ends before the pool does, and for every replacement that does not start.
        """
        if workers < 1:
            raise ValueError("a pool has at least one worker")
        self._limits = limits or PoolLimits()
        if len(setup) > self._limits.setup_bytes_max:
            raise ValueError("the set-up is larger than a set-up may be")
        self._factory = factory
        self._setup = setup
        self._dumpable = dumpable
        self._on_lost = on_lost or (lambda _pid, _reason: None)
        self._slots: list[_Process | None] = [None] * workers
        self._keepers: list[asyncio.Task[None]] = []
        self._next_number = 1
        self._closing = False
        self._idle = asyncio.Event()

    @property
    def pids(self) -> tuple[int, ...]:
        """The worker processes that run now."""
        return tuple(process.child.pid for process in self._slots if process is not None and process.link.alive)

    @property
    def hardening(self) -> tuple[Hardening, ...]:
        """What the running workers report that they achieved, in the order of :attr:`pids`."""
        return tuple(p.link.ready.result() for p in self._slots if p is not None and p.link.alive)

    @property
    def sessions(self) -> int:
        """How many sessions run, in all workers."""
        return sum(process.link.sessions for process in self._slots if process is not None)

    async def start(self) -> None:
        """Start all workers. Raises WorkerStartError, with nothing left running, if one does not come up."""
        try:
            async with asyncio.TaskGroup() as group:
                for slot in range(len(self._slots)):
                    group.create_task(self._fill(slot))
        except BaseExceptionGroup as failures:
            await self.close()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.close()
            raise
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(len(self._slots))]

    def open(self, job: bytes, affinity: str = "") -> WorkerSession:
        """Start a session; never waits.

        Jobs of one ``affinity`` go to the same worker while it lives; without one, to the worker with the fewest sessions.
        Raises PoolClosed, WorkerLost or PoolOverloaded, in which cases nothing was started.
        """
        if len(job) > self._limits.job_bytes_max:
            raise ValueError("the job is larger than a job may be")
        if self._closing:
            raise PoolClosed("the pool takes no more work")
        link = self._choose(affinity)
        number = self._next_number
        self._next_number += 1
        return link.open(number, job)

    async def close(self, grace_s: float = 0.0) -> None:
        """Take no more work, let sessions end for ``grace_s`` seconds, then end the workers."""
        self._closing = True
        self._check_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(self._end(process, "the pool closed") for process in self._slots if process is not None))
        self._slots = [None] * len(self._slots)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"WorkerPool({self._factory}, {len(self.pids)} of {len(self._slots)} workers, {self.sessions} sessions)"

    def _choose(self, affinity: str) -> WorkerLink:
        links = [process.link if process is not None else None for process in self._slots]
        if affinity:
            first = int.from_bytes(hashlib.sha256(affinity.encode()).digest()[:8], "big") % len(links)
            links = links[first:] + links[:first]
        alive = [link for link in links if link is not None and link.alive]
        if not alive:
            raise WorkerLost("no worker process is running")
        return alive[0] if affinity else min(alive, key=lambda link: link.sessions)

    async def _keep(self, slot: int) -> None:
        """Keep a slot filled: wait for its process to end, and replace it, slower each time that it does not last."""
        loop = asyncio.get_running_loop()
        delay = self._limits.respawn_s_min
        while True:
            process, since = self._slots[slot], loop.time()
            if process is not None:
                reason = await asyncio.shield(process.link.lost)
                await self._end(process, reason)
                self._slots[slot] = None
                ending = f"{reason} ({_ending(process.child.returncode)})"
                loop.call_soon(self._on_lost, process.child.pid, ending)
            lasted = loop.time() - since > self._limits.respawn_s_max
            delay = self._limits.respawn_s_min if lasted else min(2 * delay, self._limits.respawn_s_max)
            await asyncio.sleep(delay)
            try:
                await self._fill(slot)
            except WorkerStartError as error:
                loop.call_soon(self._on_lost, 0, str(error))

    async def _fill(self, slot: int) -> None:
        """Start one worker process and wait until it is set up; WorkerStartError, and no process, if it does not come up.

        The slot knows of the process from its first moment, so that whoever interrupts this can still end it.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                child = await self._launch(theirs)
        except BaseException:
            ours.close()
            raise
        link = WorkerLink(child.pid, self._limits, self._check_idle)
        process = self._slots[slot] = _Process(child, link)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
            link.write(pack_setup(self._factory, self._setup))
            await self._until_ready(link)
        except WorkerStartError as error:
            await self._end(process, str(error))
            self._slots[slot] = None
            raise

    async def _launch(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        command = [sys.executable, "-P", "-m", _MAIN, "--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        if self._dumpable:
            command.append("--dumpable")
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
        except OSError as error:
            raise WorkerStartError(f"a worker process cannot be started: {error.strerror}") from None

    async def _until_ready(self, link: WorkerLink) -> None:
        timeout = self._limits.start_s_max
        await asyncio.wait((link.ready, link.lost), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if link.lost.done():
            raise WorkerStartError(link.lost.result())
        if not link.ready.done():
            raise WorkerStartError(f"a worker process was not ready after {timeout} s")

    async def _end(self, process: _Process, reason: str) -> None:
        """Close a worker's socket and see its process off, by force if it does not go."""
        process.link.close(reason)
        try:
            async with asyncio.timeout(self._limits.stop_s_max):
                await process.child.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.child.kill()
            await process.child.wait()

    def _check_idle(self) -> None:
        if self._closing and self.sessions == 0:
            self._idle.set()


def _ending(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"status {returncode}"
