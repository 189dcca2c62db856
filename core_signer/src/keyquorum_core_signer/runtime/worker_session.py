"""The host's end of the sessions of one worker process."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.events import OVERLOADED, WORKER_LOST, Event, Failed, Finished
from keyquorum_core_signer.runtime.frames import (
    POOL,
    Frame,
    FrameError,
    FrameReader,
    Kind,
    pack,
    pack_delivery,
    unpack_event,
    unpack_ready,
)
from keyquorum_core_signer.runtime.hardening import Hardening
from keyquorum_core_signer.runtime.limits import PoolLimits

_ENDING: Final = (Finished, Failed)


class PoolError(Exception):
    """Base of the reasons that a pool cannot take work. None is about a peer."""


class PoolOverloaded(PoolError):
    """The worker has as many sessions, or as much unread, as it may; nothing was started."""


class WorkerLost(PoolError):
    """No worker process is there to do it; nothing was started. Lost ones are being replaced."""


class PoolClosed(PoolError):
    """The pool takes no more work."""


class WorkerSession:
    """One session in a worker, as its host sees it: an iterator of events, and what the host can do.

    ``async for`` ends after :class:`~.events.Finished` or :class:`~.events.Failed`, or after :meth:`close`. One task
    iterates. What is done to a session that has ended is ignored, because the host cannot know in time.
    """

    def __init__(self, link: "WorkerLink", number: int) -> None:
        self._link = link
        self._number = number
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether no further event will come; some may still wait to be taken."""
        return self._ended

    @property
    def worker_pid(self) -> int:
        """The process that runs it."""
        return self._link.pid

    def deliver(self, peer: PartyId, data: bytes) -> None:
        """Hand over an envelope that came out of the channel with ``peer``. Never waits."""
        if self._ended:
            return
        if self._link.backlogged:
            self._link.write(pack(Kind.CLOSE, self._number))
            self.push(Failed(OVERLOADED, detail="the worker does not keep up with what arrives"))
            return
        self._link.write(pack_delivery(self._number, peer, data))

    def resume(self) -> None:
        """Say that the checkpoint is durable."""
        if not self._ended:
            self._link.write(pack(Kind.RESUME, self._number))

    def close(self) -> None:
        """End the session and forget its events; the worker wipes what it can. May be called at any time, and again."""
        self._events.clear()
        if not self._ended:
            self._link.write(pack(Kind.CLOSE, self._number))
            self._end()

    def __aiter__(self) -> "WorkerSession":
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("one task iterates over a session")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def push(self, event: Event) -> None:
        """Take an event from the worker."""
        if self._ended:
            return
        if len(self._events) >= self._link.limits.events_per_session_max:
            self._link.write(pack(Kind.CLOSE, self._number))
            event = Failed(OVERLOADED, detail="the host does not take its events")
        self._events.append(event)
        if isinstance(event, _ENDING):
            self._end()
        else:
            self._wake()

    def _end(self) -> None:
        self._ended = True
        self._link.forget(self._number)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class WorkerLink(asyncio.Protocol):
    """The socket to one worker process, and the sessions on it.

    ``ready`` is set once the worker has been set up, ``lost`` when the socket ends, whatever the reason.
    """

    def __init__(self, pid: int, limits: PoolLimits, on_forget: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.limits = limits
        self.pid = pid
        self.ready: asyncio.Future[Hardening] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self._on_forget = on_forget
        self._reader = FrameReader()
        self._sessions: dict[int, WorkerSession] = {}
        self._transport: asyncio.Transport | None = None
        self._reason = "the worker process ended"

    @property
    def alive(self) -> bool:
        """Whether sessions can be opened."""
        return self.ready.done() and not self.lost.done()

    @property
    def sessions(self) -> int:
        """How many sessions are on it."""
        return len(self._sessions)

    @property
    def backlogged(self) -> bool:
        """Whether more waits for the worker than may."""
        return self._transport is not None and (self._transport.get_write_buffer_size() > self.limits.backlog_bytes_max)

    def open(self, number: int, job: bytes) -> WorkerSession:
        """Start session ``number``. PoolOverloaded if the worker has enough."""
        if self.sessions >= self.limits.sessions_per_worker_max or self.backlogged:
            raise PoolOverloaded("the worker has as many sessions as it may")
        session = self._sessions[number] = WorkerSession(self, number)
        self.write(pack(Kind.OPEN, number, job))
        return session

    def forget(self, number: int) -> None:
        """Drop an ended session."""
        if self._sessions.pop(number, None) is not None:
            self._on_forget()

    def write(self, data: bytes) -> None:
        """Send a frame; nothing happens once the worker is lost."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self, reason: str) -> None:
        """Close the socket, at which the worker ends; sessions that remain fail with ``reason``."""
        self._reason = reason
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being called so

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            for frame in self._reader.feed(data):
                self._dispatch(frame)
        except FrameError as error:
            self.close(f"the worker process sent what is no frame: {error}")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the event loop; every session on the worker ends here."""
        if self.lost.done():
            return
        self.lost.set_result(self._reason)
        for session in list(self._sessions.values()):
            session.push(Failed(WORKER_LOST, detail=self._reason))
        # a session whose queue was full has failed as overloaded; either way none is left
        assert not self._sessions

    def _dispatch(self, frame: Frame) -> None:
        if frame.number == POOL:
            self._set_up(frame)
            return
        session = self._sessions.get(frame.number)
        if session is not None:
            session.push(unpack_event(frame))

    def _set_up(self, frame: Frame) -> None:
        if frame.kind == Kind.READY and not self.ready.done():
            self.ready.set_result(unpack_ready(frame.body))
        elif frame.kind == Kind.FAILED:
            failure = unpack_event(frame)
            assert isinstance(failure, Failed)
            self._reason = f"the worker could not be set up: {failure.code}: {failure.detail}"
        else:
            raise FrameError("not a frame about the worker")
