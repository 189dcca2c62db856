"""One session with one quorum, as the coordinator sees it: who has come how far, and how it ended for each."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from keyquorum_core_signer.coordinator.breaker import Outcome
from keyquorum_core_signer.coordinator.failures import QUORUM_UNAVAILABLE, Failure
from keyquorum_core_signer.coordinator.limits import LAGGARD_S, ROUNDS_MAX
from keyquorum_core_signer.coordinator.states import LateProgress
from keyquorum_protos.party.v1 import party_pb2

PREPARED_ROUND: Final = 2
"""The round of key generation after which a party stores its share, and from which on it may hold a whole certificate."""


class Attempt:
    """The sink of a session's answers; all calls come from the event loop.

    It ends when every party has, when its time is over, or at the first failure. Only where ``patient`` (making a key)
    and a share may be stored already does it wait :data:`LAGGARD_S` more after a failure: one certificate that arrives
    in that time makes the key exist.
    """

    def __init__(self, node_ids: Sequence[str], *, patient: bool, on_round: Callable[[int], None]) -> None:
        """``on_round`` is told each round that all have finished, once, in order; 0 when all have admitted the intent."""
        self._loop = asyncio.get_running_loop()
        self._patient = patient
        self._on_round = on_round
        self._rounds = dict.fromkeys(node_ids, -1)
        self._reached = -1
        self._timers: list[asyncio.TimerHandle] = []
        self.results: Final[dict[str, party_pb2.SessionResult]] = {}
        self.failures: Final[dict[str, Failure]] = {}
        self.lost: Final[dict[str, str]] = {}
        self.expired = False
        self.ended: Final[asyncio.Future[None]] = self._loop.create_future()

    def expire_at(self, deadline: float) -> None:
        """End at the latest at that second of the event loop's clock."""
        self._timers.append(self._loop.call_at(deadline, self.expire))

    def expire(self) -> None:
        """End now: it took too long."""
        if not self.ended.done():
            self.expired = True
            self._end()

    def close(self) -> None:
        """Stop the timers; called once nobody waits for the end any more."""
        for timer in self._timers:
            timer.cancel()

    @property
    def node_ids(self) -> frozenset[str]:
        """Who takes part."""
        return frozenset(self._rounds)

    @property
    def incomplete(self) -> bool:
        """Whether some result is missing."""
        return len(self.results) < len(self._rounds)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Who has not reported an end of the session, and is still linked."""
        return tuple(node_id for node_id in self._rounds if not self._is_over(node_id))

    @property
    def prepared(self) -> bool:
        """Whether some party of a key generation may have stored its share."""
        return max(self._rounds.values()) >= PREPARED_ROUND or bool(self.results)

    def on_progress(self, node_id: str, round_number: int) -> None:
        """A party finished a round. Rounds only ever count up."""
        if self.ended.done() or not self._rounds[node_id] < round_number <= ROUNDS_MAX:
            return
        self._rounds[node_id] = round_number
        self._tell_rounds()

    def on_result(self, node_id: str, result: party_pb2.SessionResult) -> None:
        """A party's session ended."""
        if self.ended.done():
            return
        if result.HasField("error"):
            self.failures[node_id] = Failure.from_party(result.error, self._rounds)
            self._failed()
        else:
            self.results[node_id] = result
            self._tell_rounds()
        self._end_if_over()

    def on_attested(self, node_id: str, attested: party_pb2.Attested) -> None:
        """Not an answer to a session: ignored."""

    def on_lost(self, node_id: str, reason: str) -> None:
        """A party's link ended before its session did."""
        if self.ended.done():
            return
        self.lost[node_id] = reason
        self._failed()
        self._end_if_over()

    def outcomes(self) -> Mapping[str, tuple[Outcome, int]]:
        """What the attempt says about each party, and how many demerits it earns.

        A lost party is to blame for its loss. Whoever reports that another one is at fault may itself be lying, so
        both get a demerit; the next quorum, which takes one of them at most, shows which one it was. Whoever only could
        not reach another one has not failed itself, but may not be the best choice for now. Of those that are not done
        when time is over all are suspects, first those that have come least far.
        """
        if self.expired:
            return self._outcomes_of_expiry()
        if not self.lost and not self.failures:
            return dict.fromkeys(self._rounds, (Outcome.SUCCESS, 0))
        blamed = set(self.lost)
        for node_id, failure in self.failures.items():
            if not failure.refuses_intent and failure.code != QUORUM_UNAVAILABLE:
                blamed |= {node_id, *failure.culprits}
        return {node_id: self._outcome(node_id, blamed) for node_id in self._rounds}

    def _outcome(self, node_id: str, blamed: Collection[str]) -> tuple[Outcome, int]:
        if node_id in blamed:
            return Outcome.FAILURE, 1
        failure = self.failures.get(node_id)
        if failure is not None and failure.code == QUORUM_UNAVAILABLE:
            return Outcome.CANCELLED, 1
        return (Outcome.SUCCESS if self._is_over(node_id) else Outcome.CANCELLED), 0

    def _outcomes_of_expiry(self) -> Mapping[str, tuple[Outcome, int]]:
        least = min((self._rounds[node_id] for node_id in self.unfinished), default=-1)
        return {
            node_id: (Outcome.SUCCESS, 0)
            if node_id in self.results
            else (Outcome.FAILURE, 2 if self._rounds[node_id] == least else 1)
            for node_id in self._rounds
        }

    def _tell_rounds(self) -> None:
        running = [round_number for node_id, round_number in self._rounds.items() if node_id not in self.results]
        for round_number in range(self._reached + 1, min(running, default=self._reached) + 1):
            self._reached = round_number
            try:
                self._on_round(round_number)
            except LateProgress:
                self.expire()
                return

    def _failed(self) -> None:
        if self._patient and self.prepared:
            self._timers.append(self._loop.call_later(LAGGARD_S, self._end))
        else:
            self._end()

    def _is_over(self, node_id: str) -> bool:
        return node_id in self.results or node_id in self.failures or node_id in self.lost

    def _end_if_over(self) -> None:
        if not self.unfinished:
            self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
