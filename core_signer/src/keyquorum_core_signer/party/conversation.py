"""A worker's session with peers: early frames in, envelopes out, and a listener for what happens between.

What both a session that a coordinator started and one that parties agreed on among themselves need.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.refusal import INTERNAL, QUORUM_UNAVAILABLE, Refusal
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.runtime.session import Outgoing
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import WorkerSession
from keyquorum_protos.party.v1.envelope_pb2 import Envelope

EARLY_FRAMES_MAX: Final = 4  # from each peer while we still decide: it has its first round to say, and waits for ours
ENVELOPE_BYTES: Final = 1024  # around a payload


class SessionFailed(Exception):
    """Says that the worker's session ended without a result; ``failure`` is what the worker told."""

    def __init__(self, failure: events.Failed) -> None:
        self.failure = failure
        super().__init__(failure.code)


class Listener(Protocol):
    """What whoever runs a conversation decides and records."""

    def progressed(self, finished_round: int) -> None:
        """Everybody's messages of the round are in; 0 before the first."""

    def leaving(self, round_number: int) -> None:
        """An envelope of that round is about to leave; :class:`Refusal` keeps it here and ends the session."""

    async def checkpoint(self, data: bytes) -> None:
        """Make what the job encoded durable, or raise."""


@dataclass(slots=True)
class Conversation:
    """Runs one job. ``receive`` may be called from the moment it is made."""

    pool: WorkerPool
    roster: Roster
    participants: tuple[str, ...]
    send_peer: Callable[[str, bytes], bool]
    payload_bytes_max: int  # of a message; bounds what is kept of peers that are ahead of us
    _worker: WorkerSession | None = None
    _early: list[tuple[PartyId, bytes]] = field(default_factory=list)

    def receive(self, node_id: str, frame: bytes) -> None:
        """Take an envelope that came out of the channel with ``node_id``."""
        if node_id not in self.participants:
            return
        peer = PartyId(self.roster.node(node_id).index)
        if self._worker is not None:
            self._worker.deliver(peer, frame)
        elif len(frame) <= self.payload_bytes_max + ENVELOPE_BYTES and self._room(peer):
            self._early.append((peer, frame))

    async def run(self, job: jobs.Job, affinity: str, listener: Listener) -> bytes:
        """Drive the worker's session; returns what it made. :class:`SessionFailed`, or a :class:`Refusal` of ours."""
        worker = self._worker = self.pool.open(jobs.encode(job), affinity=affinity)
        listener.progressed(0)
        for peer, frame in self._early:
            worker.deliver(peer, frame)
        self._early.clear()
        async for event in worker:
            match event:
                case Outgoing(recipient, data):
                    listener.leaving(Envelope.FromString(data).round)
                    self._send(recipient, data)
                case events.Progress(round=finished):
                    listener.progressed(finished)
                case events.Checkpoint(data):
                    await listener.checkpoint(data)
                    worker.resume()
                case events.Finished(data):
                    return data
                case events.Failed():
                    raise SessionFailed(event)
        raise Refusal(INTERNAL, "the session ended without a result", retriable=True)

    def close(self) -> None:
        """End the worker's session, if there is one."""
        if self._worker is not None:
            self._worker.close()

    def _send(self, recipient: PartyId, data: bytes) -> None:
        node_id = self.roster.node_at(recipient).node_id
        if not self.send_peer(node_id, data):
            raise Refusal(QUORUM_UNAVAILABLE, f"no channel with {node_id} stands", retriable=True)

    def _room(self, peer: PartyId) -> bool:
        return sum(1 for waiting, _ in self._early if waiting == peer) < EARLY_FRAMES_MAX
