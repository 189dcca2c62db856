"""A worker process: reads frames from its host, runs sessions, writes frames. One thread, no event loop.

Started as ``python -m keyquorum_core_signer.runtime.worker_main --fd N --parent PID [--dumpable]`` by
:class:`~keyquorum_core_signer.runtime.worker.WorkerPool`, with a fresh interpreter that shares nothing with its host but
the socket pair. It hardens itself before the first byte of a secret reaches it, and ends when the host does.
"""

import argparse
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolError
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.runtime.frames import (
    POOL,
    Frame,
    FrameError,
    FrameReader,
    Kind,
    pack_event,
    pack_ready,
    unpack_delivery,
    unpack_setup,
)
from keyquorum_core_signer.runtime.hardening import die_with_parent, harden
from keyquorum_core_signer.runtime.job import Job, JobOpener, JobRefused
from keyquorum_core_signer.runtime.limits import READ_BYTES
from keyquorum_core_signer.runtime.session import (
    AtCheckpoint,
    Failed,
    Finished,
    Outgoing,
    SessionAbandoned,
    SessionBroken,
    Status,
)


def load_factory(path: str) -> Callable[[bytes], JobOpener]:
    """Import ``"package.module:function"``."""
    module, _, name = path.partition(":")
    factory: Callable[[bytes], JobOpener] = getattr(importlib.import_module(module), name)
    return factory


@dataclass(slots=True)
class _Run:
    job: Job
    rounds_reported: int = 0
    status_reported: Status[Any] | None = None


class Worker:
    """Runs the sessions of one worker process: a frame in, the frames that it causes out."""

    def __init__(self, open_job: JobOpener) -> None:
        self._open_job = open_job
        self._runs: dict[int, _Run] = {}

    def handle(self, frame: Frame) -> bytes:
        """Do what a frame says; FrameError if a host does not say that."""
        number = frame.number
        try:
            return b"".join(pack_event(number, event) for event in self._events(frame))
        except FrameError:
            raise
        except Exception as error:  # noqa: BLE001 - a job's own code; its text may hold what it worked on
            self._forget(number)
            return pack_event(number, _job_failure(error))

    def close(self) -> None:
        """Give up all sessions."""
        for number in list(self._runs):
            self._forget(number)

    def _events(self, frame: Frame) -> Iterator[events.Event]:
        if frame.kind == Kind.OPEN:
            run = self._runs[frame.number] = _Run(self._open_job(frame.body))
            return self._after(frame.number, run, run.job.session.start())
        known = self._runs.get(frame.number)
        if known is None:
            return iter(())  # ended here before the host had heard of it
        match frame.kind:
            case Kind.DELIVER:
                return self._after(frame.number, known, known.job.session.receive(*unpack_delivery(frame.body)))
            case Kind.RESUME:
                return self._after(frame.number, known, known.job.session.resume())
            case Kind.CLOSE:
                self._forget(frame.number)
                return iter(())
            case _:
                raise FrameError("not a host's frame")

    def _after(self, number: int, run: _Run, outgoing: list[Outgoing]) -> Iterator[events.Event]:
        """What a step of the session means for the host: first what others wait for."""
        yield from outgoing
        session = run.job.session
        while run.rounds_reported < session.rounds_completed:
            run.rounds_reported += 1
            yield events.Progress(run.rounds_reported)
        if session.status is run.status_reported:
            return
        run.status_reported = session.status
        match session.status:
            case AtCheckpoint(value):
                yield events.Checkpoint(run.job.checkpoint(value))
            case Finished(result):
                self._runs.pop(number)
                yield events.Finished(run.job.result(result))
            case Failed(error):
                self._runs.pop(number)
                yield _session_failure(error)

    def _forget(self, number: int) -> None:
        run = self._runs.pop(number, None)
        if run is not None:
            run.job.session.abandon("closed by its host")


def _session_failure(error: Exception) -> events.Failed:
    match error:
        case ProtocolError():
            culprits = error.culprits if isinstance(error, ProtocolAbort) else ()
            return events.Failed(error.code, error.step, culprits, str(error), error.evidence)
        case SessionBroken() | SessionAbandoned():
            return events.Failed(events.INTERNAL, "", (), f"{type(error).__name__}: {error}")
        case _:
            return events.Failed(events.INTERNAL, "", (), type(error).__name__)


def _job_failure(error: Exception) -> events.Failed:
    if isinstance(error, JobRefused):
        return events.Failed(error.code, "", (), error.detail)
    return events.Failed(events.INTERNAL, "", (), type(error).__name__)


def serve(link: socket.socket, *, dumpable: bool) -> int:
    """Run until the host closes the socket; gives the process's exit status."""
    hardening = harden(dumpable=dumpable)
    stream = _frames(link)
    first = next(stream, None)
    if first is None:
        return 0
    factory, setup = unpack_setup(first)
    try:
        worker = Worker(load_factory(factory)(setup))
    except ImportError as error:
        link.sendall(pack_event(POOL, events.Failed(events.INTERNAL, "", (), f"no such factory: {error}")))
        return 1
    except Exception as error:  # noqa: BLE001 - the factory's own code; its text may hold the set-up
        link.sendall(pack_event(POOL, _job_failure(error)))
        return 1
    del first, setup
    gc.freeze()  # what is loaded now stays: collections need not look at it
    link.sendall(pack_ready(hardening))
    for frame in stream:
        answer = worker.handle(frame)
        if answer:
            link.sendall(answer)
    worker.close()
    return 0


def _frames(link: socket.socket) -> Iterator[Frame]:
    """Frames until the host closes the socket."""
    reader = FrameReader()
    while True:
        data = link.recv(READ_BYTES)
        if not data:
            return
        yield from reader.feed(data)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line that the pool wrote, and serve."""
    parser = argparse.ArgumentParser(prog="keyquorum-worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--dumpable", action="store_true")
    options: Any = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts the whole group; the host decides
    die_with_parent(options.parent)
    with socket.socket(fileno=options.fd) as link:
        try:
            return serve(link, dumpable=options.dumpable)
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the host is gone


if __name__ == "__main__":
    sys.exit(main())
