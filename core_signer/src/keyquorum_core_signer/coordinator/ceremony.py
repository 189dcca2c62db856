"""Carries out one operation: quorum after quorum under the same intent, until one of them has done it.

**Why a failed quorum may simply be replaced.** Every party binds the operation id, (initiator key, nonce), to the hash
of one intent for ever, before anything secret is used, and an intent names its messages in order. Whatever becomes of
a session that we gave up, it can only end in signatures over those same messages; and each session has its own session
id, made of fresh nonces of its participants, so nothing of one can be used in another. So sending the *same intent
bytes* to another quorum risks nothing but a second valid signature over the same message. What would be unsafe is to
rebuild the intent, and that is beyond us: it carries the initiator's signature.

**Making a key is different in one point.** A party that has stored its share signs one certificate for that key id and
no other, ever. So once a share may have been stored, there is no second attempt under this intent. If a single party
returns the certificate with all signatures, the key exists: it is registered, and whoever missed the last round gets
the certificate when its link is back (ActivateKey). If nobody does, no key exists and none will under this id; another
intent with another key id is needed, and the failure says so by not being retriable.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import comb

import structlog
from opentelemetry.trace import Span

from keyquorum_core_signer.coordinator.attempt import Attempt
from keyquorum_core_signer.coordinator.breaker import Outcome
from keyquorum_core_signer.coordinator.committee import Committee, Seat
from keyquorum_core_signer.coordinator.failures import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    QUORUM_UNAVAILABLE,
    Failure,
    OperationFailed,
    most_specific,
    specificity,
)
from keyquorum_core_signer.coordinator.limits import ATTEMPT_S_MIN, ATTEMPTS_MAX, BREAKER_POLL_S, QUORUM_WAIT_S
from keyquorum_core_signer.coordinator.metrics import Metrics
from keyquorum_core_signer.coordinator.operation import Operation
from keyquorum_core_signer.coordinator.plans import Plan, Planner
from keyquorum_core_signer.coordinator.quorum import Tried
from keyquorum_core_signer.coordinator.states import LateProgress, State, Trigger
from keyquorum_core_signer.telemetry import Telemetry, traceparent_of
from keyquorum_protos.party.v1 import party_pb2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CeremonySetting:
    """What all operations share; ``clock`` is the event loop's."""

    committee: Committee
    planner: Planner
    metrics: Metrics
    telemetry: Telemetry
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Setback:
    """Why a quorum did not do it, and whether the very same one might do it the next time."""

    trigger: Trigger
    failure: Failure
    passing: bool


@dataclass(slots=True)
class _Experience:
    """What the attempts of this operation have shown so far, and since when it has been recovering."""

    since: float | None = None
    demerits: Counter[str] = field(default_factory=Counter)
    tried: Tried = field(default_factory=Tried)
    failures: list[Failure] = field(default_factory=list)


class Ceremony:
    """One run of one operation; :meth:`run` always leaves it in a terminal state."""

    def __init__(self, setting: CeremonySetting, operation: Operation, span: Span) -> None:
        self._setting = setting
        self._committee = setting.committee
        self._operation = operation
        self._span = span
        self._experience = _Experience()
        self._by_stock = setting.committee.prefers_stock()

    async def run(self) -> None:
        """Carry the operation out, or fail it."""
        try:
            await self._carry_out(self._setting.planner.plan(self._operation.order))
        except OperationFailed as error:
            await self._fail(error.failure)
        except LateProgress:
            await self._fail(Failure(DEADLINE_EXCEEDED, "there was no time to begin", retriable=True))
        except asyncio.CancelledError:
            await self._fail(
                Failure(INTERNAL, "the coordinator is stopping; send the same intent again", retriable=True)
            )
        except Exception:  # noqa: BLE001 - a bug of ours ends this operation, and is logged; the others go on
            _log.exception("an operation could not be run", operation_id=self._operation.order.operation_id)
            await self._fail(Failure(INTERNAL, "the coordinator failed; the log says how", retriable=True))

    async def _fail(self, failure: Failure) -> None:
        stage = self._operation.stage
        if stage.terminal:
            return
        refused = failure.refuses_intent and stage.allows(Trigger.REFUSED)
        await self._operation.fail(Trigger.REFUSED if refused else Trigger.GIVE_UP, failure)

    async def _carry_out(self, plan: Plan) -> None:
        trigger = Trigger.KEY_LOCATED
        while True:
            self._operation.advance(trigger, self._setting.clock() + QUORUM_WAIT_S + plan.attempt_s)
            seats = await self._take_seats(plan)
            try:
                attempt = await self._session(plan, seats)
                setback = await self._conclude(plan, attempt, seats)
            finally:
                for seat in seats:  # the first outcome counts: this one is for seats that nobody has judged
                    seat.permit.settle(Outcome.CANCELLED)
            if setback is None:
                return
            self._set_back(plan, attempt, setback)
            trigger = Trigger.RETRY

    async def _take_seats(self, plan: Plan) -> tuple[Seat, ...]:
        """A quorum, as soon as there is one; fails the operation if there is none for too long."""
        clock, committee, experience = self._setting.clock, self._committee, self._experience
        until = min(clock() + QUORUM_WAIT_S, self._operation.deadline - ATTEMPT_S_MIN)
        while True:
            stocked = self._stocked(plan) if not experience.failures else None
            seats = committee.take_quorum(plan.node_ids, plan.size, experience.demerits, experience.tried, stocked)
            if seats is not None:
                return seats
            left = until - clock()
            if left <= 0:
                raise OperationFailed(self._no_quorum(plan))
            hint = committee.wait_hint_s(plan.node_ids)
            try:
                async with asyncio.timeout(left if hint is None else min(left, max(hint, BREAKER_POLL_S))):
                    await committee.changed.wait()
            except TimeoutError:
                continue

    def _stocked(self, plan: Plan) -> Callable[[tuple[str, ...]], bool] | None:
        if not plan.paths or not self._by_stock:
            return None
        return lambda node_ids: self._committee.pools.stocked(plan.key_id, plan.epoch, plan.paths, node_ids)

    def _presignatures(self, plan: Plan, seats: Sequence[Seat]) -> tuple[bytes, ...]:
        """One for each message, for the first attempt: what failed once is tried again without relying on stocks."""
        if not plan.paths or self._experience.failures:
            return ()
        node_ids = tuple(seat.node_id for seat in seats)
        return self._committee.pools.take(plan.key_id, plan.epoch, plan.paths, node_ids)

    def _no_quorum(self, plan: Plan) -> Failure:
        unable = self._committee.describe_unable(plan.node_ids)
        detail = f"{plan.size} of {len(plan.node_ids)} parties are needed at once ({unable}); bring them back and retry"
        earlier = most_specific(self._experience.failures)
        return Failure(QUORUM_UNAVAILABLE, detail, culprits=earlier.culprits if earlier else (), retriable=True)

    async def _session(self, plan: Plan, seats: Sequence[Seat]) -> Attempt:
        """Run one session to its end, whatever that is; nothing of it is left running."""
        setting, operation = self._setting, self._operation
        quorum = ", ".join(seat.node_id for seat in seats)
        deadline = min(setting.clock() + plan.attempt_s, operation.deadline)
        attempt = Attempt(
            [seat.node_id for seat in seats],
            patient=plan.makes_key,
            on_round=lambda round_number: self._on_round(round_number, deadline, quorum),
        )
        route = self._committee.new_route()
        setting.metrics.session_began()
        with setting.telemetry.span("session", self._span, quorum=quorum) as span:
            start = party_pb2.StartSession(
                route=route,
                intent=operation.order.data,
                authorization=operation.order.authorization,
                participants=[party_pb2.Participant(node_id=seat.node_id, nonce=seat.nonce) for seat in seats],
                deadline_ms=max(1, int((deadline - setting.clock()) * 1000)),
                traceparent=traceparent_of(span),
                presignature_ids=self._presignatures(plan, seats),
            )
            try:
                attempt.expire_at(deadline)
                self._call_to_session(attempt, seats, start)
                await attempt.ended
            finally:
                attempt.close()
                self._hang_up(attempt, seats, route)
                setting.metrics.session_ended()
        return attempt

    def _call_to_session(self, attempt: Attempt, seats: Sequence[Seat], start: party_pb2.StartSession) -> None:
        frame = party_pb2.LinkRequest(start=start)
        for seat in seats:
            seat.link.open_route(start.route, attempt)
        for seat in seats:
            if not seat.link.send(frame):
                seat.link.drop("it takes no frames")
                attempt.on_lost(seat.node_id, "it takes no frames")

    def _hang_up(self, attempt: Attempt, seats: Sequence[Seat], route: int) -> None:
        unfinished = set(attempt.unfinished)
        frame = party_pb2.LinkRequest(abort=party_pb2.AbortSession(route=route, reason="the session is given up"))
        for seat in seats:
            seat.link.close_route(route)
            if seat.node_id in unfinished:
                seat.link.send(frame)  # where it cannot be sent the session ends by its deadline or with the link

    def _on_round(self, round_number: int, until: float, quorum: str) -> None:
        trigger = Trigger.ADMITTED if round_number == 0 else Trigger.ROUND_DONE
        detail = f"quorum: {quorum}" if round_number == 0 else ""
        self._operation.advance(trigger, until, round_number=round_number, detail=detail)

    async def _conclude(self, plan: Plan, attempt: Attempt, seats: Sequence[Seat]) -> Setback | None:
        """Judge what has come; None where that completed the operation.

        A key exists as soon as one party shows its certificate; signatures need every party of the quorum, so that
        one that reports another signature is noticed.
        """
        verdict = None
        if not attempt.incomplete or (plan.makes_key and attempt.results):
            self._operation.advance(Trigger.RESULTS_IN, self._operation.deadline, quietly=True)
            verdict = plan.judge(attempt.results)
        self._judge_seats(attempt, seats, verdict.dissenters if verdict else ())
        if verdict is not None and verdict.made is not None:
            await self._operation.complete(verdict.made)
            self._activate_laggards(plan, attempt)
            if self._experience.since is not None:
                recovery_s = self._setting.clock() - self._experience.since
                self._setting.metrics.recovered(self._operation.order.kind, recovery_s)
            return None
        if verdict is not None and verdict.failure is not None:
            return Setback(Trigger.PARTY_FAILED, verdict.failure, passing=False)
        return self._setback(attempt)

    def _setback(self, attempt: Attempt) -> Setback:
        if attempt.failures:
            reporter, failure = max(attempt.failures.items(), key=lambda item: specificity(item[1]))
            failure = replace(failure, detail=f"{reporter}: {failure.detail}")
            if failure.refuses_intent:
                raise OperationFailed(failure)
            return Setback(Trigger.PARTY_FAILED, failure, passing=failure.passing)
        if attempt.lost:
            detail = "; ".join(f"{node_id} was lost: {reason}" for node_id, reason in attempt.lost.items())
            return Setback(Trigger.PARTY_LOST, Failure(QUORUM_UNAVAILABLE, detail, retriable=True), passing=True)
        detail = f"not done in time: {', '.join(attempt.unfinished)}"
        return Setback(Trigger.DEADLINE, Failure(DEADLINE_EXCEEDED, detail, retriable=True), passing=True)

    def _judge_seats(self, attempt: Attempt, seats: Sequence[Seat], dissenters: Sequence[str]) -> None:
        outcomes = attempt.outcomes()
        for seat in seats:
            outcome, demerits = outcomes[seat.node_id]
            if seat.node_id in dissenters:
                outcome, demerits = Outcome.FAILURE, max(demerits, 1)
                _log.error(
                    "a party reports another result",
                    node_id=seat.node_id,
                    operation_id=self._operation.order.operation_id,
                )
            self._committee.settle(seat, outcome)
            self._experience.demerits[seat.node_id] += demerits

    def _activate_laggards(self, plan: Plan, attempt: Attempt) -> None:
        if not plan.makes_key:
            return
        for node_id in plan.node_ids:
            member = self._committee.members[node_id]
            if node_id not in attempt.results and member.link.up:
                self._committee.activate(member.link, self._operation.order.intent.command.key_id)

    def _set_back(self, plan: Plan, attempt: Attempt, setback: Setback) -> None:
        """Step to where another quorum can be tried; raises OperationFailed where none should be."""
        operation, experience = self._operation, self._experience
        if experience.since is None:
            experience.since = self._setting.clock()
        (experience.tried.failed if setback.passing else experience.tried.barred).add(attempt.node_ids)
        experience.failures.append(setback.failure)
        self._setting.metrics.recovering(operation.order.kind, setback.trigger.name.lower())
        operation.advance(setback.trigger, operation.deadline, detail=setback.failure.detail)
        if plan.makes_key and attempt.prepared:
            spent = f"{setback.failure.detail}; shares may be stored under this key id, order another one"
            raise OperationFailed(replace(setback.failure, detail=spent, retriable=False))
        no_time = operation.deadline - self._setting.clock() < ATTEMPT_S_MIN
        no_quorum = len(experience.tried.barred) == comb(len(plan.node_ids), plan.size)
        if no_time or no_quorum or len(experience.failures) >= ATTEMPTS_MAX:
            worst = most_specific(experience.failures) or setback.failure
            raise OperationFailed(replace(worst, retriable=True))
        if operation.stage.state is State.TIMEOUT:
            operation.advance(Trigger.RETRY, operation.deadline)
