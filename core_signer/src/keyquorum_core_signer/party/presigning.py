"""Fills the pools of presignatures in the background of a link: what is in demand, up to a depth, in a share of the time.

Of each quorum the party with the lowest index invites; the others decide from their own quota. Nobody waits for a turn in
its pairs while others wait for it: whoever cannot begin at once declines, and is invited again.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Final

import structlog

from keyquorum_core_signer.hsm.ports import KekError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import control, jobs
from keyquorum_core_signer.party.agreement import AgreedSession, agreed_session, seats_of
from keyquorum_core_signer.party.checked import Checks
from keyquorum_core_signer.party.conversation import SessionFailed
from keyquorum_core_signer.party.custody import Custody
from keyquorum_core_signer.party.demand import Demand
from keyquorum_core_signer.party.ecdsa import PAYLOAD_BYTES
from keyquorum_core_signer.party.keyring import ActiveKey, Keyring
from keyquorum_core_signer.party.pairing import Channels
from keyquorum_core_signer.party.pairs import DKLS23, Pairs
from keyquorum_core_signer.party.presignatures import Pool, Presignatures
from keyquorum_core_signer.party.refusal import KEY_NOT_FOUND, QUORUM_UNAVAILABLE, Refusal
from keyquorum_core_signer.party.turns import Turn
from keyquorum_core_signer.protocols.dkls23.batch import BATCH_MAX
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import PoolError
from keyquorum_core_signer.store.ports import StoreError

ANSWER_S: Final = 2.0  # for a peer that has nothing else to do with the pair
SESSION_S: Final = 10.0  # a second of work at each, on a machine that does other things too
DECLINED_S: Final = 0.5
UNHEARD_S: Final = 30.0  # a peer that has us wait in a pair's turn, and does not begin, does so once in that time
NONCE_BYTES: Final = 32
QUORUMS_MAX: Final = 16  # of one key are filled; with more, the first ones
PATH_ELEMENTS_MAX: Final = 8
_log = structlog.get_logger("party.presigning")


@dataclass(frozen=True, slots=True)
class PresigningTerms:
    """What an operator grants it: 0 as ``depth`` turns it off."""

    depth: int  # presignatures per path of a key and quorum
    pools: int  # that a peer may have us keep
    share: float  # of the time, from above 0 to 1


@dataclass(frozen=True, slots=True)
class PresigningServices:
    """What presigning takes."""

    node_id: str
    roster: Roster
    terms: PresigningTerms
    pairs: Pairs
    presignatures: Presignatures
    demand: Demand
    keyring: Keyring
    custody: Custody
    pool: WorkerPool
    filling: asyncio.Lock  # one at a time in a party, over all of its links


@dataclass(slots=True)
class _Invited:
    """An invitation of ours, and who has answered."""

    pool: Pool
    answers: dict[str, bytes | None] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Awaiting:
    """An invitation that we accepted: the start, with everybody's nonces."""

    leader: str
    start: asyncio.Future[tuple[bytes, ...]]


class Presigning:
    """The presigning of one link."""

    def __init__(
        self, services: PresigningServices, channels: Channels, standing: Callable[[], tuple[str, ...]]
    ) -> None:
        self._services = services
        self._channels = channels
        self._standing = standing
        self._invited: dict[bytes, _Invited] = {}
        self._awaiting: dict[bytes, _Awaiting] = {}
        self._filling: set[Pool] = set()  # from half empty until full
        self._rest: dict[Pool, float] = {}  # until when nobody is invited to fill them
        self._unheard: dict[str, float] = {}  # until when invitations of a peer that did not begin are declined

    async def fill(self) -> None:
        """Make one session's worth for the pool that lacks most, then rest for its share of the time."""
        services = self._services
        if services.terms.depth == 0 or services.filling.locked():
            return
        async with services.filling:
            for pool in self._lacking():
                began = time.monotonic()
                if await self._lead(pool):
                    spent = time.monotonic() - began
                    await asyncio.sleep(spent * (1 / services.terms.share - 1))
                    return

    def _lacking(self) -> Iterator[Pool]:
        """Pools below their depth that we invite to and whose quorum can be reached, in the order of demand."""
        services, reachable = self._services, {*self._standing(), self._services.node_id}
        for place in services.demand.places():
            key = place.certificate
            quorums = combinations(key.node_ids, key.threshold)
            for _, node_ids in zip(
                range(min(QUORUMS_MAX, comb(len(key.node_ids), key.threshold))), quorums, strict=False
            ):
                if node_ids[0] != services.node_id or not reachable.issuperset(node_ids):
                    continue
                if any(services.pairs.lacking(peer) or peer in services.pairs.banned for peer in node_ids[1:]):
                    continue
                pool = Pool(key.key_id, key.epoch, place.path, node_ids)
                if asyncio.get_running_loop().time() >= self._rest.get(pool, 0.0) and self._is_low(pool):
                    yield pool

    def _is_low(self, pool: Pool) -> bool:
        """Whether to fill a pool up: once half of it is gone, so that a session makes several at a time."""
        stock, depth = len(self._services.presignatures.stock(pool)), self._services.terms.depth
        if stock >= depth:
            self._filling.discard(pool)
        elif 2 * stock <= depth:
            self._filling.add(pool)
        return pool in self._filling

    def introduce(self, node_id: str) -> None:
        """Tell a peer whose channel has just come to stand what we hold with it."""
        length, most = control.STOCK_NAME_BYTES, control.STOCK_NAMES_MAX
        names = b"".join(name[:length] for name in self._services.presignatures.held_with(node_id)[:most])
        self._say((node_id,), control.StockHeld(names))

    async def take(self, node_id: str, message: control.Control) -> None:
        """Take what a peer says about presigning."""
        match message:
            case control.StockHeld(names):
                length = control.STOCK_NAME_BYTES
                held = frozenset(names[at : at + length] for at in range(0, len(names), length))
                await self._services.presignatures.drop(node_id, held, length)
            case control.PresignInvitation():
                await self._follow(node_id, message)
            case control.PresignAcceptance(invited, nonce):
                self._answered(invited, node_id, nonce)
            case control.Declined(invited):
                self._answered(invited, node_id, None)
            case control.PresignStart(invited, nonces):
                awaiting = self._awaiting.get(invited)
                if awaiting is not None and awaiting.leader == node_id and not awaiting.start.done():
                    awaiting.start.set_result(nonces)

    def _answered(self, invited: bytes, node_id: str, nonce: bytes | None) -> None:
        invitation = self._invited.get(invited)
        if invitation is None or node_id not in invitation.pool.node_ids or node_id in invitation.answers:
            return
        invitation.answers[node_id] = nonce
        if nonce is None or len(invitation.answers) == len(invitation.pool.node_ids) - 1:
            invitation.complete.set()

    async def _lead(self, pool: Pool) -> bool:
        """Invite the others and run the session; whether it took any work."""
        services, others = self._services, pool.node_ids[1:]
        turn = services.pairs.turns.take(others)
        if turn is None:
            return False
        nonce = secrets.token_bytes(NONCE_BYTES)
        invitation = self._invited[nonce] = _Invited(pool)
        try:
            key = await services.keyring.active(pool.key_id)
            count = min(BATCH_MAX, services.terms.depth - len(services.presignatures.stock(pool)))
            message = control.PresignInvitation(nonce, pool.key_id, pool.epoch, pool.path, pool.node_ids, count)
            self._say(others, message)
            async with asyncio.timeout(ANSWER_S):
                await invitation.complete.wait()
            nonces = [invitation.answers.get(peer) for peer in others]
            if any(answer is None for answer in nonces):
                self._let_rest(pool, DECLINED_S)
                return False
            everybody = (nonce, *(answer for answer in nonces if answer is not None))
            await self._run(
                key, pool, count, everybody, lambda: self._say(others, control.PresignStart(nonce, everybody))
            )
        except (Refusal, TimeoutError) as error:
            _log.info("presigning came to nothing", quorum=pool.node_ids, reason=str(error) or "no answer in time")
            self._let_rest(pool, UNHEARD_S)
            return False
        finally:
            del self._invited[nonce]
            turn.give_up()
        return True

    def _let_rest(self, pool: Pool, seconds: float) -> None:
        """Whoever declines has a reason that lasts; whoever stalls holds up the pairs of the others."""
        now = asyncio.get_running_loop().time()
        self._rest = {other: until for other, until in self._rest.items() if until > now} | {pool: now + seconds}

    async def _follow(self, node_id: str, invitation: control.PresignInvitation) -> None:
        """Accept, wait for the start and run the session; or decline."""
        turn = None
        try:
            key = await self._welcome(node_id, invitation)
            pool = Pool(invitation.key_id, invitation.epoch, invitation.path, invitation.node_ids)
            turn = self._turn(pool)
            nonce = secrets.token_bytes(NONCE_BYTES)
            nonces = await self._start(node_id, invitation.nonce, nonce)
            self._check_start(pool, invitation.nonce, nonce, nonces)
            await self._run(key, pool, invitation.count, nonces)
        except (Refusal, TimeoutError) as error:
            if turn is not None:  # it held us up
                self._unheard[node_id] = asyncio.get_running_loop().time() + UNHEARD_S
            _log.info("an invitation to presign came to nothing", peer=node_id, reason=str(error) or "no start in time")
            self._say((node_id,), control.Declined(invitation.nonce))
        finally:
            if turn is not None:
                turn.give_up()

    def _check_start(self, pool: Pool, invited: bytes, own: bytes, nonces: tuple[bytes, ...]) -> None:
        place = pool.node_ids.index(self._services.node_id)
        if len(nonces) != len(pool.node_ids) or (nonces[0], nonces[place]) != (invited, own):
            raise Refusal(QUORUM_UNAVAILABLE, "the start does not hold everybody's nonce")

    def _turn(self, pool: Pool) -> Turn:
        turn = self._services.pairs.turns.take(peer for peer in pool.node_ids if peer != self._services.node_id)
        if turn is None:
            raise Refusal(QUORUM_UNAVAILABLE, "a session of the pair is running")
        return turn

    async def _start(self, leader: str, invited: bytes, nonce: bytes) -> tuple[bytes, ...]:
        if invited in self._awaiting:
            raise Refusal(QUORUM_UNAVAILABLE, "the same invitation twice")
        awaiting = self._awaiting[invited] = _Awaiting(leader, asyncio.get_running_loop().create_future())
        try:
            self._say((leader,), control.PresignAcceptance(invited, nonce))
            async with asyncio.timeout(ANSWER_S):
                return await awaiting.start
        finally:
            del self._awaiting[invited]

    async def _welcome(self, node_id: str, invitation: control.PresignInvitation) -> ActiveKey:
        """Whether we take part: by our own certificate, our own quota, and nothing that the inviter says."""
        services, terms = self._services, self._services.terms
        if asyncio.get_running_loop().time() < self._unheard.get(node_id, 0.0):
            raise Refusal(QUORUM_UNAVAILABLE, "the peer invited and did not begin, not long ago")
        if not 0 < invitation.count <= min(BATCH_MAX, terms.depth) or len(invitation.path) > PATH_ELEMENTS_MAX:
            raise Refusal(QUORUM_UNAVAILABLE, "more than this party keeps")
        key = await services.keyring.active(invitation.key_id)
        certificate, node_ids = key.certificate, invitation.node_ids
        if certificate.signing_protocol != DKLS23 or certificate.epoch != invitation.epoch:
            raise Refusal(KEY_NOT_FOUND, "not a key of this protocol and epoch")
        committee = [name for name in certificate.node_ids if name in node_ids]
        if list(node_ids) != committee or len(node_ids) != certificate.threshold:
            raise Refusal(QUORUM_UNAVAILABLE, "not a quorum of the key")
        if node_ids[0] != node_id or services.node_id not in node_ids:
            raise Refusal(QUORUM_UNAVAILABLE, "the quorum's lowest party invites, and we are of it")
        services.keyring.public_key(key, invitation.path)  # a path that has no child has no presignatures
        pool = Pool(invitation.key_id, invitation.epoch, invitation.path, node_ids)
        if len(services.presignatures.stock(pool)) + invitation.count > terms.depth:
            raise Refusal(QUORUM_UNAVAILABLE, "the pool is full here")
        kept = [other for other in services.presignatures.pools() if other.node_ids[0] == node_id]
        if pool not in kept and len(kept) >= terms.pools:
            raise Refusal(QUORUM_UNAVAILABLE, "as many pools as the peer may have us keep")
        return key

    async def _run(
        self,
        key: ActiveKey,
        pool: Pool,
        count: int,
        nonces: tuple[bytes, ...],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """The session, and what it made into the pool. Failures are logged: nobody waits for them."""
        services, others = self._services, [name for name in pool.node_ids if name != self._services.node_id]
        agreed = (pool.key_id, pool.epoch, pool.path, pool.node_ids, count)
        session_id, binding = agreed_session(
            "presign", services.roster, agreed, tuple(zip(pool.node_ids, nonces, strict=True))
        )
        services.pairs.require_unbanned(others)
        halves = await services.pairs.halves(others)
        checks = Checks(services.pairs, services.roster, session_id, "", halves)
        session = AgreedSession(
            services.pool,
            services.roster,
            pool.node_ids,
            session_id,
            self._channels.send_peer,
            count * PAYLOAD_BYTES,
            checks.begin,
        )
        share = jobs.Sealed(*await services.custody.fetch(key.certificate))
        seats = seats_of(services.roster, pool.node_ids)
        terms = jobs.SessionTerms(session_id, seats, key.certificate.threshold, pool.key_id, pool.epoch, binding)
        seal = services.presignatures.key(pool.key_id, pool.epoch)
        self._channels.enroll(session)
        try:
            ready()
            async with checks.watched():
                job = jobs.PresignJob(terms, share, halves, pool.path, count, seal)
                made = await session.run(job, SESSION_S)
            await services.presignatures.store(pool, jobs.decode(jobs.MadePresignatures, made))
        except SessionFailed as error:
            _log.warning("presigning failed", quorum=pool.node_ids, step=error.failure.step or error.failure.detail)
        except (PoolError, StoreError, KekError) as error:
            _log.warning("presigning failed", quorum=pool.node_ids, reason=type(error).__name__)
        finally:
            self._channels.dismiss(session)

    def _say(self, peers: tuple[str, ...], message: control.Control) -> None:
        for peer in peers:
            self._channels.send_peer(peer, control.encode(message))
