"""Makes the pair set-ups that this party lacks, in the background of a link: no coordinator asks for them.

Of each pair the party with the lower index proposes, once a channel stands; the other accepts, or asks to be proposed to.
Both wait in line with the sessions of the pair, so that a set-up is never replaced under one.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from keyquorum_core_signer.hsm.ports import KekError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import control, jobs
from keyquorum_core_signer.party.agreement import AgreedSession, agreed_session, seats_of
from keyquorum_core_signer.party.allowance import Allowance
from keyquorum_core_signer.party.conversation import SessionFailed
from keyquorum_core_signer.party.pairs import Pairs
from keyquorum_core_signer.party.refusal import Refusal
from keyquorum_core_signer.protocols.dkls23.setup import GENERATION_MAX
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import PoolError
from keyquorum_core_signer.store.ports import StoreError

ANSWER_S: Final = 5.0  # for a peer that is there
SESSION_S: Final = 20.0  # half a second of work at both, on a machine that does other things too
PAUSE_S: Final = 1.0  # after a pairing that came to nothing
NONCE_BYTES: Final = 32
PAYLOAD_BYTES: Final = 64 * 1024  # 256 transfers' points take 17 KB
PAIRINGS_AT_ONCE: Final = 6  # per peer, and then one in ten seconds: each costs a tenth of a second of processor time
PAIRINGS_PER_S: Final = 0.1
_log = structlog.get_logger("party.pairing")


class Channels(Protocol):
    """What goes through a link's channels."""

    def send_peer(self, node_id: str, frame: bytes) -> bool:
        """Send; False where no channel stands."""

    def enroll(self, session: AgreedSession) -> None:
        """Have the session receive its envelopes."""

    def dismiss(self, session: AgreedSession) -> None:
        """No longer."""


@dataclass(slots=True)
class PairingServices:
    """What pairing takes."""

    node_id: str
    roster: Roster
    pairs: Pairs
    pool: WorkerPool
    now_ms: Callable[[], int]


@dataclass(slots=True)
class _Peer:
    allowance: Allowance = field(default_factory=lambda: Allowance(PAIRINGS_AT_ONCE, PAIRINGS_PER_S))
    answer: asyncio.Future[control.PairAcceptance | None] | None = None
    proposed: bytes = b""
    busy: bool = False
    wanted: bool = False
    rest_until: float = 0.0


class Pairing:
    """The pairing of one link. ``tend`` is called from a timer; what it returns runs until it ends."""

    def __init__(self, services: PairingServices, channels: Channels) -> None:
        self._services = services
        self._channels = channels
        self._index = services.roster.node(services.node_id).index
        self._peers = {node.node_id: _Peer() for node in services.roster.nodes if node.node_id != services.node_id}

    def due(self, node_id: str) -> bool:
        """Whether something has to be done with a peer whose channel stands."""
        peer, services = self._peers[node_id], self._services
        if peer.busy or asyncio.get_running_loop().time() < peer.rest_until or node_id in services.pairs.banned:
            return False
        return services.pairs.lacking(node_id) or (peer.wanted and self._proposes(node_id))

    async def pair(self, node_id: str) -> None:
        """Propose to a peer, or ask it to propose; returns when that came to an end."""
        peer = self._peers[node_id]
        peer.busy = True
        try:
            if self._proposes(node_id):
                await self._propose(node_id, peer)
            else:
                wanted = control.PairWanted(self._services.pairs.generation(node_id))
                self._channels.send_peer(node_id, control.encode(wanted))
        finally:
            peer.busy = False
            peer.rest_until = asyncio.get_running_loop().time() + PAUSE_S

    async def take(self, node_id: str, message: control.Control) -> None:
        """Take what a peer says about pairing."""
        peer = self._peers[node_id]
        match message:
            case control.PairWanted():
                peer.wanted = self._proposes(node_id) and peer.allowance.take(self._services.now_ms())
            case control.PairProposal():
                await self._accept(node_id, peer, message)
            case control.PairAcceptance():
                self._answered(peer, message.proposed, message)
            case control.Declined(asked):
                self._answered(peer, asked, None)

    def _proposes(self, node_id: str) -> bool:
        return self._index < self._services.roster.node(node_id).index

    @staticmethod
    def _answered(peer: _Peer, proposed: bytes, answer: control.PairAcceptance | None) -> None:
        if peer.answer is not None and not peer.answer.done() and secrets.compare_digest(peer.proposed, proposed):
            peer.answer.set_result(answer)

    async def _propose(self, node_id: str, peer: _Peer) -> None:
        turn = self._services.pairs.turns.take((node_id,))
        if turn is None:
            return
        try:
            nonce, generation = secrets.token_bytes(NONCE_BYTES), self._services.pairs.generation(node_id) + 1
            peer.answer, peer.proposed = asyncio.get_running_loop().create_future(), nonce
            if not self._channels.send_peer(node_id, control.encode(control.PairProposal(nonce, generation))):
                return
            answer = None
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    answer = await peer.answer
            if answer is None or not generation <= answer.generation <= GENERATION_MAX:
                return
            peer.wanted = False
            nonces = ((self._services.node_id, nonce), (node_id, answer.nonce))
            await self._run(node_id, answer.generation, nonces)
        finally:
            peer.answer = None
            turn.give_up()

    async def _accept(self, node_id: str, peer: _Peer, proposal: control.PairProposal) -> None:
        services = self._services
        welcome = (
            not self._proposes(node_id)
            and not peer.busy
            and node_id not in services.pairs.banned
            and 1 <= proposal.generation <= GENERATION_MAX
            and peer.allowance.take(services.now_ms())
        )
        turn = services.pairs.turns.take((node_id,)) if welcome else None
        if turn is None:
            self._channels.send_peer(node_id, control.encode(control.Declined(proposal.nonce)))
            return
        peer.busy = True
        try:
            nonce = secrets.token_bytes(NONCE_BYTES)
            generation = max(proposal.generation, services.pairs.generation(node_id) + 1)
            if generation > GENERATION_MAX:
                return
            nonces = ((node_id, proposal.nonce), (services.node_id, nonce))
            acceptance = control.PairAcceptance(proposal.nonce, nonce, generation)
            await self._run(node_id, generation, nonces, lambda: self._say(node_id, acceptance))
        finally:
            peer.busy = False
            turn.give_up()

    def _say(self, node_id: str, message: control.Control) -> None:
        self._channels.send_peer(node_id, control.encode(message))

    async def _run(
        self,
        node_id: str,
        generation: int,
        nonces: tuple[tuple[str, bytes], ...],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """The session itself, with the peer's id and ours in the roster's order."""
        services, participants = self._services, tuple(name for name, _ in nonces)
        session_id, binding = agreed_session("pair", services.roster, (generation, participants), nonces)
        key = await services.pairs.new_key(node_id, generation)

        async def keep(data: bytes) -> None:
            await services.pairs.store(node_id, key, jobs.decode(jobs.MadeHalf, data))

        session = AgreedSession(
            services.pool,
            services.roster,
            participants,
            session_id,
            self._channels.send_peer,
            PAYLOAD_BYTES,
            keep,
        )
        terms = jobs.SessionTerms(session_id, seats_of(services.roster, participants), 2, "pair", generation, binding)
        self._channels.enroll(session)
        try:
            ready()
            setup_id = await session.run(jobs.PairJob(terms, generation, key), SESSION_S)
        except SessionFailed as error:
            _log.warning("pairing failed", peer=node_id, step=error.failure.step or error.failure.detail)
        except (Refusal, TimeoutError, PoolError, StoreError, KekError) as error:
            _log.warning("pairing failed", peer=node_id, reason=str(error) or type(error).__name__)
        else:
            services.pairs.confirmed(node_id, setup_id)
        finally:
            self._channels.dismiss(session)
