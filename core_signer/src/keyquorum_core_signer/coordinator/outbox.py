"""What waits to be written to one party: bounded, in order, and able to say who fills it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from keyquorum_core_signer.coordinator.limits import BATCH_BYTES_MAX, LINK_BYTES_MAX, LINK_FRAMES_MAX, LINK_STALL_S
from keyquorum_protos.party.v1 import party_pb2


class _Waiting(NamedTuple):
    frame: party_pb2.LinkRequest
    size: int
    origin: str


class Outbox:
    """Frames on their way to a party. ``origin`` is the node that a relayed frame comes from, "" for our own."""

    def __init__(
        self,
        clock: Callable[[], float],
        frames_max: int = LINK_FRAMES_MAX,
        bytes_max: int = LINK_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._waiting: deque[_Waiting] = deque()
        self._bytes_by_origin: dict[str, int] = {}
        self._bytes = 0
        self._progress_at = clock()
        self._filled = asyncio.Event()

    def put(self, frame: party_pb2.LinkRequest, origin: str = "") -> bool:
        """Queue a frame; False where there is no room, and it is not queued."""
        size = frame.ByteSize()
        if len(self._waiting) >= self._frames_max or self._bytes + size > self._bytes_max:
            return False
        if not self._waiting:
            self._progress_at = self._clock()
            self._filled.set()
        self._waiting.append(_Waiting(frame, size, origin))
        self._bytes += size
        self._bytes_by_origin[origin] = self._bytes_by_origin.get(origin, 0) + size
        return True

    async def get(self) -> party_pb2.LinkRequest:
        """Wait for the next frame, a batch where several wait; calling again says that the one before was taken."""
        self._progress_at = self._clock()
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        first = self._take()
        if not self._waiting:
            return first
        frames, size = [first], first.ByteSize()
        while self._waiting and size + self._waiting[0].size <= BATCH_BYTES_MAX:
            size += self._waiting[0].size
            frames.append(self._take())
        if len(frames) == 1:
            return first
        return party_pb2.LinkRequest(batch=party_pb2.LinkRequestBatch(frames=frames))

    def _take(self) -> party_pb2.LinkRequest:
        frame, size, origin = self._waiting.popleft()
        self._bytes -= size
        left = self._bytes_by_origin[origin] - size
        if left:
            self._bytes_by_origin[origin] = left
        else:
            del self._bytes_by_origin[origin]
        return frame

    def stalled(self) -> bool:
        """Whether the party has taken nothing for too long, although something waits."""
        return bool(self._waiting) and self._clock() - self._progress_at > LINK_STALL_S

    def loudest(self) -> str:
        """The origin of most of the waiting bytes."""
        return max(self._bytes_by_origin, key=lambda origin: self._bytes_by_origin[origin], default="")
