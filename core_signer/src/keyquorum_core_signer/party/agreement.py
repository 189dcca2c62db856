"""Sessions that parties agree on among themselves, without an intent: they sign nothing.

The id hashes what was agreed and a fresh nonce of everybody, so that none comes back, whoever repeats what.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.conversation import Conversation
from keyquorum_core_signer.party.refusal import INTERNAL, Refusal
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.wire.codec import hash_typed


def agreed_session(
    kind: str, roster: Roster, agreed: tuple[Any, ...], nonces: tuple[tuple[str, bytes], ...]
) -> tuple[bytes, bytes]:
    """Session id and binding, 32 bytes each; ``nonces`` by node id in the roster's order."""
    binding = hash_typed(f"keyquorum/{kind}/v1", roster.cell_id, roster.roster_hash, agreed)
    return hash_typed(f"keyquorum/{kind}-session/v1", binding, nonces), binding


@dataclass(slots=True)
class AgreedSession:
    """One such session at one party. Who makes it also closes it."""

    pool: WorkerPool
    roster: Roster
    participants: tuple[str, ...]
    session_id: bytes
    send_peer: Callable[[str, bytes], bool]
    payload_bytes_max: int
    on_checkpoint: Callable[[bytes], Awaitable[None]]
    _conversation: Conversation = field(init=False)

    def __post_init__(self) -> None:
        """Ready to receive."""
        self._conversation = Conversation(
            self.pool, self.roster, self.participants, self.send_peer, payload_bytes_max=self.payload_bytes_max
        )

    def receive(self, node_id: str, frame: bytes) -> None:
        """Take an envelope that came out of the channel with ``node_id``."""
        self._conversation.receive(node_id, frame)

    async def run(self, job: jobs.Job, seconds: float) -> bytes:
        """What the worker made; :class:`SessionFailed`, :class:`Refusal` or TimeoutError where it made nothing."""
        try:
            async with asyncio.timeout(seconds):
                return await self._conversation.run(job, "", self)
        finally:
            self._conversation.close()

    def progressed(self, finished_round: int) -> None:
        """Nobody is told."""

    def leaving(self, round_number: int) -> None:
        """Nothing that is sent here is of use to anybody without the next message."""

    async def checkpoint(self, data: bytes) -> None:
        """Have it made durable."""
        await self.on_checkpoint(data)


def seats_of(roster: Roster, node_ids: tuple[str, ...]) -> tuple[jobs.Seat, ...]:
    """The roster's seats; :class:`Refusal` for a stranger."""
    seats = []
    for node_id in node_ids:
        node = roster.find_node(node_id)
        if node is None:
            raise Refusal(INTERNAL, "not a node of the roster")
        seats.append(jobs.Seat(node_id, node.index, node.identity_key))
    return tuple(seats)
