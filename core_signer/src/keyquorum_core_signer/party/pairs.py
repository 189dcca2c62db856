"""This party's pair set-ups: which peers it is paired with, which are banned, and what a failed check leads to.

A pair is *living* (a set-up is stored), *missing*, or its peer is *banned*. What can end a pair:

===================================== ==========================================================================
a check fails in a matched session    the peer is banned for every key until its operator's act, the set-up is
                                      destroyed, presignatures made with the peer are void, other sessions end
a session ends without a verdict      the set-up is destroyed: whether a check failed cannot be known any more
this process starts and finds that    likewise
both sides hold different set-ups     the set-up is stale, and the next pairing replaces it
===================================== ==========================================================================
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

import structlog

from keyquorum_core_signer.hsm.ports import DEK_BYTES, KeyEncryptionKey
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.metrics import BANS, PAIRS
from keyquorum_core_signer.party.refusal import INTERNAL, QUORUM_UNAVAILABLE, Refusal
from keyquorum_core_signer.party.turns import Turns
from keyquorum_core_signer.store import commands, pair_commands
from keyquorum_core_signer.store.envelope import EnvelopeError, read_header
from keyquorum_core_signer.store.ports import ShareStore, StoredPairSetup

DKLS23: Final = "dkls23"
_log = structlog.get_logger("party.pairs")


class Pairs:
    """One party's pairs, over all of its links."""

    def __init__(
        self, node_id: str, roster: Roster, store: ShareStore, kek: KeyEncryptionKey, now_ms: Callable[[], int]
    ) -> None:
        self._node_id = node_id
        self._roster = roster
        self._store = store
        self._kek = kek
        self._now_ms = now_ms
        self._living: dict[str, bytes] = {}
        self._generations: dict[str, int] = {}
        self._stale: set[str] = set()
        self._banned: set[str] = set()
        self._changed = asyncio.Event()
        self._voided: Callable[[], Awaitable[None]] | None = None
        self._watchers: set[Callable[[], object]] = set()
        self._attending: dict[str, set[Callable[[], object]]] = {}
        self.turns: Final = Turns()

    async def open(self) -> None:
        """Load what is stored. Pairs whose checks a crash interrupted are destroyed first."""
        abandoned = await self._store.execute(pair_commands.AbandonInterruptedChecks(now_ms=self._now_ms()))
        for node_id, kind in abandoned.pairs:
            _log.warning("a pair's checks were interrupted; it is paired again", peer=node_id, kind=kind)
        await self._load()

    async def _load(self) -> None:
        for record in await self._store.pair_setups():
            if record.kind != DKLS23:
                continue
            self._generations[record.node_id] = record.generation
            if record.living:
                self._living[record.node_id] = record.setup_id
            else:
                self._living.pop(record.node_id, None)
        self._banned = {ban.node_id for ban in await self._store.bans() if not ban.key_id}
        self._tell()

    def listen(self, voided: Callable[[], Awaitable[None]]) -> None:
        """Have ``voided`` called after what may have voided presignatures."""
        self._voided = voided

    # what stands

    @property
    def living(self) -> tuple[str, ...]:
        """Peers that a confirmed set-up is held with."""
        return tuple(sorted(self._living.keys() - self._stale))

    def watch(self, changed: Callable[[], object]) -> None:
        """Have ``changed`` called whenever a pair or a ban is another."""
        self._watchers.add(changed)

    def unwatch(self, changed: Callable[[], object]) -> None:
        """No longer."""
        self._watchers.discard(changed)

    @property
    def banned(self) -> frozenset[str]:
        """Peers that no session is run with."""
        return frozenset(self._banned)

    def lacking(self, node_id: str) -> bool:
        """Whether a set-up with the peer has to be made."""
        return node_id not in self._banned and (node_id not in self._living or node_id in self._stale)

    def generation(self, node_id: str) -> int:
        """The highest generation of a set-up with the peer that ever was; 0 for none."""
        return self._generations.get(node_id, 0)

    def require_unbanned(self, node_ids: Iterable[str]) -> None:
        """:class:`Refusal` where one of them is banned."""
        banned = sorted(self._banned.intersection(node_ids))
        if banned:
            detail = f"this party has banned {', '.join(banned)}: an operator has to decide"
            raise Refusal(QUORUM_UNAVAILABLE, detail, rule="peer-banned", retriable=True, culprits=banned)

    async def require_paired(self, node_ids: Iterable[str], wait_s: float) -> None:
        """Wait a moment for pairs that are being made; :class:`Refusal` if one still lacks."""
        names = tuple(node_ids)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            self.require_unbanned(names)
            missing = [name for name in names if self.lacking(name)]
            if not missing:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                detail = f"not paired with {', '.join(missing)} yet"
                raise Refusal(QUORUM_UNAVAILABLE, detail, rule="pair-missing", retriable=True) from None

    async def halves(self, node_ids: Iterable[str]) -> tuple[jobs.PairHalf, ...]:
        """Our sealed half with each of them, and what opens it; :class:`Refusal` where there is none."""
        halves = []
        for node_id in node_ids:
            stored = await self._store.get_pair_setup(node_id, DKLS23)
            if stored is None or self._living.get(node_id) != stored.setup_id:
                raise Refusal(QUORUM_UNAVAILABLE, f"not paired with {node_id}", rule="pair-missing", retriable=True)
            key = await self._unwrap(stored)
            peer = self._roster.node(node_id).index
            halves.append(jobs.PairHalf(peer, stored.setup_id, jobs.Sealed(key, stored.sealed)))
        return tuple(halves)

    @contextmanager
    def attending(self, node_ids: Iterable[str], end: Callable[[], object]) -> Iterator[None]:
        """While a session with these peers runs: ``end`` is called should one of them be banned."""
        names = [node_id for node_id in node_ids if node_id != self._node_id]
        for name in names:
            self._attending.setdefault(name, set()).add(end)
        try:
            yield
        finally:
            for name in names:
                self._attending[name].discard(end)

    # making them

    async def new_key(self, node_id: str, generation: int) -> jobs.ShareKey:
        """A fresh data key for our half of a set-up that is about to be made."""
        data_key = secrets.token_bytes(DEK_BYTES)
        wrapped = await self._kek.wrap(data_key)
        return _key(node_id, generation, self._kek.kek_id, wrapped, data_key)

    async def store(self, node_id: str, key: jobs.ShareKey, half: jobs.MadeHalf) -> None:
        """Make our half durable, in the place of an older one; :class:`Refusal` if the store does not take it."""
        outcome = await self._store.execute(
            pair_commands.StorePairSetup(
                node_id=node_id,
                kind=DKLS23,
                generation=key.epoch,
                setup_id=half.setup_id,
                kek_id=key.kek_id,
                sealed=half.sealed,
                now_ms=self._now_ms(),
            )
        )
        if not isinstance(outcome, pair_commands.PairStored):
            raise Refusal(QUORUM_UNAVAILABLE, f"the set-up with {node_id} is not taken: {type(outcome).__name__}")
        self._living.pop(node_id, None)  # the one before is gone; the new one counts once both have confirmed it
        self._generations[node_id] = key.epoch
        self._stale.add(node_id)
        await self._after_voiding()

    def confirmed(self, node_id: str, setup_id: bytes) -> None:
        """The peer has confirmed the set-up that is stored."""
        self._living[node_id] = setup_id
        self._stale.discard(node_id)
        _log.info("paired", peer=node_id, generation=self._generations[node_id])
        self._tell()

    def stale(self, node_id: str) -> None:
        """The peer holds another set-up than we do: a new one is needed."""
        if node_id in self._living:
            _log.warning("the peer holds another pair set-up", peer=node_id)
            self._stale.add(node_id)

    # checks

    async def begin_checks(self, session_id: bytes, halves: Iterable[jobs.PairHalf]) -> None:
        """Write down that checks with these pairs are about to run, before any of them does."""
        pairs = tuple((self._roster.node_at(half.peer).node_id, DKLS23, half.setup_id) for half in halves)
        outcome = await self._store.execute(
            pair_commands.BeginPairChecks(session_id=session_id, pairs=pairs, now_ms=self._now_ms())
        )
        if not isinstance(outcome, pair_commands.ChecksBegun):
            raise Refusal(QUORUM_UNAVAILABLE, "a pair of the session is gone", rule="pair-missing", retriable=True)

    async def end_checks(self, session_id: bytes) -> None:
        """The verdicts are in, and none was against a peer."""
        await self._store.execute(pair_commands.EndPairChecks(session_id=session_id, now_ms=self._now_ms()))

    async def abandon(self, node_ids: Iterable[str]) -> None:
        """No verdict will come: destroy the set-ups; they are made anew."""
        for node_id in node_ids:
            self._living.pop(node_id, None)
            await self._store.execute(
                pair_commands.DestroyPairSetup(
                    node_id=node_id, kind=DKLS23, reason="checks without a verdict", now_ms=self._now_ms()
                )
            )
            _log.warning("a session ended without a verdict; the pair is paired again", peer=node_id)
        await self._after_voiding()

    async def condemn(self, node_ids: Iterable[str], operation: str, step: str, evidence: bytes) -> None:
        """A check failed: ban, destroy, void, and end what else runs with them. Memory first: it cannot fail."""
        names = tuple(node_ids)
        for node_id in names:
            self._banned.add(node_id)
            self._living.pop(node_id, None)
        for node_id in names:
            for end in list(self._attending.get(node_id, ())):
                end()
        for node_id in names:
            BANS.labels(node_id).inc()
            _log.error(
                "a peer is banned: it failed a check that no honest party fails",
                peer=node_id,
                step=step,
                evidence=evidence.hex(),
            )
            await self._store.execute(
                commands.BanPeer(
                    op_id=operation,
                    node_id=node_id,
                    key_id="",
                    reason=step,
                    evidence_hash=sha256(evidence).digest(),
                    now_ms=self._now_ms(),
                )
            )
        await self._after_voiding()

    async def _after_voiding(self) -> None:
        self._tell()
        if self._voided is not None:
            await self._voided()

    def _tell(self) -> None:
        PAIRS.set(len(self._living))
        self._changed.set()
        for changed in list(self._watchers):
            changed()

    async def _unwrap(self, stored: StoredPairSetup) -> jobs.ShareKey:
        try:
            header = read_header(stored.sealed)
        except EnvelopeError:
            raise Refusal(INTERNAL, "a stored pair set-up is damaged") from None
        data_key = await self._kek.unwrap(header.context.kek_id, header.wrapped_dek)
        return _key(stored.node_id, stored.generation, header.context.kek_id, header.wrapped_dek, data_key)


def _key(node_id: str, generation: int, kek_id: str, wrapped: bytes, data_key: bytes) -> jobs.ShareKey:
    """Where our half of a set-up belongs: what a share's envelope says of users and keys, it says of pairs."""
    return jobs.ShareKey(
        user_id="",
        key_id=node_id,
        scheme=f"pair:{DKLS23}",
        epoch=generation,
        version=1,
        kek_id=kek_id,
        wrapped_key=wrapped,
        data_key=data_key,
    )
