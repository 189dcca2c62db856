"""All operations: which run, which have ended, and what becomes of an intent that is sent again.

======================================  ======================================================================
the operation of an intent …            sending the intent …
======================================  ======================================================================
is not known                            starts it
runs                                    follows it; it never runs twice at once
is complete, or failed for good         returns its events again
failed, retriably                       starts another run of it, whose events continue the sequence
======================================  ======================================================================
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from keyquorum_core_signer.coordinator.ceremony import Ceremony, CeremonySetting
from keyquorum_core_signer.coordinator.events import OperationEvent
from keyquorum_core_signer.coordinator.failures import BUSY, INTENT_INVALID, UNAVAILABLE, Failure, OperationFailed
from keyquorum_core_signer.coordinator.limits import ANSWER_MARGIN_S
from keyquorum_core_signer.coordinator.log import OperationLog
from keyquorum_core_signer.coordinator.operation import Operation, OperationClock, Order
from keyquorum_core_signer.coordinator.states import State
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.telemetry import context_of

_log = structlog.get_logger(__name__)


class Followable(Protocol):
    """An operation that runs, or one that has ended."""

    def follow(self) -> AsyncIterator[Sequence[OperationEvent]]:
        """The events of its last run, to the terminal one, as they come."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An operation that has ended, as the log tells it."""

    events: Sequence[OperationEvent]

    async def follow(self) -> AsyncIterator[Sequence[OperationEvent]]:
        """The events of its last run, at once."""
        begins = max(i for i, event in enumerate(self.events) if event.state is State.KEY_SHARE)
        yield self.events[begins:]


class Operations:
    """Starts, finds and drains operations."""

    def __init__(
        self,
        setting: CeremonySetting,
        log: OperationLog,
        roster: Roster,
        clock: OperationClock,
        *,
        operation_s: float,
        running_max: int,
    ) -> None:
        """``operation_s`` bounds an operation over all its attempts, ``running_max`` how many run at once."""
        self._setting = setting
        self._operations_log = log
        self._roster = roster
        self._clock = clock
        self._operation_s: Final = operation_s
        self._running_max: Final = running_max
        self._running: dict[str, tuple[Operation, asyncio.Task[None]]] = {}
        self._draining = False

    def submit(self, order: Order, *, time_left_s: float | None = None, traceparent: str = "") -> Followable:
        """Start, join or replay the operation of an order, as the table above says.

        ``time_left_s`` is how long the caller will listen. Raises OperationFailed where it is not started: a wrong
        cell or roster, an intent that has expired, too many operations, or a coordinator that is stopping.
        """
        running = self._running.get(order.operation_id)
        if running is not None:
            return running[0]
        history = self._operations_log.events(order.operation_id)
        if history:
            last = history[-1]
            if last.failure is None or not last.failure.retriable:
                return Ended(history)
        self._check(order)
        return self._start(order, history, time_left_s, traceparent)

    def events(self, operation_id: str) -> tuple[OperationEvent, ...]:
        """All events of an operation so far; none for one that is not known."""
        running = self._running.get(operation_id)
        return running[0].events if running is not None else self._operations_log.events(operation_id)

    def page(self, limit: int, before: int | None) -> tuple[list[OperationEvent], int | None]:
        """The latest event of up to ``limit`` operations, newest first, and where the next page begins.

        Which operations there are comes from the log, which lags behind by a few milliseconds.
        """
        logged, following = self._operations_log.latest(limit, before)
        running = ((event, self._running.get(event.operation_id)) for event in logged)
        return [found[0].events[-1] if found is not None else event for event, found in running], following

    async def drain(self, grace_s: float) -> None:
        """Take no more operations, let those that run end, and fail what has not ended in time as retriable."""
        self._draining = True
        tasks = [task for _, task in self._running.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _check(self, order: Order) -> None:
        intent = order.intent
        if self._draining:
            raise OperationFailed(Failure(UNAVAILABLE, "the coordinator is stopping", retriable=True))
        if intent.cell_id != self._roster.cell_id:
            raise OperationFailed(Failure(INTENT_INVALID, "the intent is for another cell"))
        if intent.roster_hash != self._roster.roster_hash:
            raise OperationFailed(Failure(INTENT_INVALID, "the intent was made under another roster"))
        if intent.valid_until_ms <= self._clock.now_ms():
            raise OperationFailed(Failure(INTENT_INVALID, "the intent's validity is over"))
        if len(self._running) >= self._running_max:
            raise OperationFailed(Failure(BUSY, f"{self._running_max} operations run already", retriable=True))

    def _start(
        self, order: Order, history: Sequence[OperationEvent], time_left_s: float | None, traceparent: str
    ) -> Operation:
        span = self._setting.telemetry.tracer.start_span(
            f"operation {order.kind}",
            context=context_of(traceparent),
            kind=SpanKind.SERVER,
            attributes={"operation_id": order.operation_id, "scheme": order.scheme},
        )

        now = self._clock.monotonic()
        budget_s = self._operation_s if time_left_s is None else min(self._operation_s, time_left_s - ANSWER_MARGIN_S)
        operation = Operation(
            order,
            history,
            self._operations_log,
            self._clock,
            deadline=now + budget_s,
            on_stage=partial(self._setting.metrics.stage_ended, order.kind, order.scheme),
        )
        self._setting.metrics.operation_began()
        task = asyncio.get_running_loop().create_task(self._run(operation, span, now), name=order.operation_id)
        self._running[order.operation_id] = (operation, task)
        return operation

    async def _run(self, operation: Operation, span: Span, began: float) -> None:
        order = operation.order
        try:
            await Ceremony(self._setting, operation, span).run()
        finally:
            del self._running[order.operation_id]
            last = operation.events[-1]
            outcome = last.failure.code if last.failure is not None else last.state.name.lower()
            seconds = self._clock.monotonic() - began
            self._setting.metrics.operation_ended(order.kind, order.scheme, outcome, seconds)
            if last.failure is not None:
                span.set_status(Status(StatusCode.ERROR, outcome))
            span.end()
            _log.info(
                "an operation ended",
                operation_id=order.operation_id,
                kind=order.kind,
                key_id=order.intent.command.key_id,
                outcome=outcome,
                stage=last.failure.stage.name.lower() if last.failure and last.failure.stage else None,
                culprits=last.failure.culprits if last.failure else (),
                detail=last.failure.detail if last.failure else last.detail,
                duration_ms=round(seconds * 1000, 3),
            )
