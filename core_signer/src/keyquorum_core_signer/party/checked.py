"""A session whose checks can cost a pair: what surrounds them, whoever started it.

From the moment that a check may run until its verdict is known the pair's row in the store says so; whatever ends the
session without a verdict (a lost worker, a deadline, a coordinator that calls it off) ends the pair's set-up too.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.conversation import SessionFailed
from keyquorum_core_signer.party.pairs import Pairs
from keyquorum_core_signer.party.refusal import INTERNAL, Refusal
from keyquorum_core_signer.protocols.dkls23.errors import PAIR_COMPROMISED, PAIR_DESYNC, decode_desync
from keyquorum_core_signer.protocols.dkls23.presign import BanEvidence
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.wire.codec import DecodeError, plain

_VERDICTS = frozenset({events.PROTOCOL_ABORT, PAIR_DESYNC})
_OURS_DIFFER = frozenset({"generation", "setup"})


@dataclass(slots=True)
class Checks:
    """The checks of one session; ``begin`` is the session's checkpoint."""

    pairs: Pairs
    roster: Roster
    session_id: bytes
    operation: str
    halves: tuple[jobs.PairHalf, ...]
    _begun: bool = field(default=False, init=False)

    async def begin(self, data: bytes) -> None:
        """Durable before any check runs: exactly the pairs that the session was given."""
        pending = jobs.decode(jobs.PendingPairs, data)
        if set(pending.setup_ids) != {(half.peer, half.setup_id) for half in self.halves}:
            raise Refusal(INTERNAL, "a session checks other pairs than it was given")
        self._begun = True  # from here on, also if the row's fate is unknown
        await self.pairs.begin_checks(self.session_id, self.halves)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Surrounds the session: whatever comes out of it, the pairs end up as they have to be."""
        try:
            yield
        except SessionFailed as error:
            await self._failed(error.failure)
            raise
        except BaseException:
            await self._without_verdict()
            raise
        await self._clean()

    async def _failed(self, failure: events.Failed) -> None:
        if failure.code == PAIR_COMPROMISED:
            evidence = plain.decode(BanEvidence, failure.evidence)
            banned = [self._name(peer) for peer, _, _ in evidence.pairs]
            await self.pairs.condemn(banned, self.operation, failure.step, failure.evidence)
            await self._clean()
        elif failure.code in _VERDICTS:
            if failure.code == PAIR_DESYNC:
                self._note_desync(failure.evidence)
            await self._clean()
        else:
            await self._without_verdict()

    def _note_desync(self, evidence: bytes) -> None:
        try:
            differing = decode_desync(evidence)
        except DecodeError:
            return
        for peer, names in differing:
            if _OURS_DIFFER.intersection(names):
                self.pairs.stale(self._name(peer))

    async def _clean(self) -> None:
        if self._begun:
            await self.pairs.end_checks(self.session_id)

    async def _without_verdict(self) -> None:
        if self._begun:
            await self.pairs.abandon([self._name(half.peer) for half in self.halves])
            await self.pairs.end_checks(self.session_id)

    def _name(self, index: int) -> str:
        return self.roster.node_at(index).node_id
