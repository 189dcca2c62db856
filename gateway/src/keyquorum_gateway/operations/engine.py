"""The operation engine: runs operations, makes them durable, and lets any number of clients follow them.

Rules:

* An operation is in memory while it is not terminal, and nobody else changes it. It becomes durable, with its events and
  the idempotency key that started it, before its id leaves the gateway and before an intent of it does.
* One that fails before either leaves no trace: nothing happened.
* Every operation ends: an unexpected exception is a failure, a wait for an initiator has an end, and what a restart finds
  unfinished is run again from what was stored.
* A client-initiated operation that failed for a retriable reason waits for its initiator again, with the same intent.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias

import apsw
import structlog
from opentelemetry.trace import Tracer, get_current_span

from keyquorum_gateway.bounds import AWAITING_PER_TENANT_MAX, OPERATIONS_LIVE_MAX
from keyquorum_gateway.identifiers import OPERATION, new_identifier
from keyquorum_gateway.intents import Authorization, is_authorized
from keyquorum_gateway.operations.record import Operation, OperationEvent, OperationKind, OperationState
from keyquorum_gateway.problems import Failure, OperationFailed, Problem, failure_of
from keyquorum_gateway.state.database import Database, StateUnavailable
from keyquorum_gateway.state.idempotency import Claim
from keyquorum_gateway.state.operations import StoredOperations, saving
from keyquorum_gateway.state.transactions import Transaction
from keyquorum_gateway.state.wallets import Account, Wallet
from keyquorum_gateway.telemetry import Metrics

Write: TypeAlias = Callable[[apsw.Connection], Any]
"""A change of the database, run in the writer's transaction."""


class Outcome(Enum):
    """How a program's turn ended."""

    DONE = auto()
    AWAITING_INITIATOR = auto()


@dataclass(slots=True, eq=False)
class LiveOperation:
    """An operation in memory: what is stored of it, its events, and who waits for it."""

    operation: Operation
    claim: Claim | None = None  # to become durable with the operation's next write
    transaction: Transaction | None = None
    wallet: Wallet | None = None
    account: Account | None = None
    recovered: bool = False  # taken up by a restart in the middle of what it was doing
    queued: bool = False  # a write of it is on its way, at least
    durable: bool = False  # a write of it has arrived
    events: list[OperationEvent] = field(default_factory=list)
    stored_events: int = 0
    settled: bool = False  # it has ended, or awaits its initiator, and that is stored
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    expiry: asyncio.TimerHandle | None = None


class Program(Protocol):
    """What an operation of one kind does, from wherever it stands."""

    async def run(self, live: LiveOperation) -> Outcome:
        """One turn: to the end, or to where an initiator has to sign."""

    def belongings(self, live: LiveOperation) -> tuple[Write, ...]:
        """What has to be stored with the operation, as it is now."""

    async def abandon(self, live: LiveOperation, failure: Failure) -> Write | None:
        """Give back what was reserved; what to store with an operation that failed for good."""


class OperationEngine:
    """All operations of this gateway."""

    def __init__(self, database: Database, metrics: Metrics, tracer: Tracer) -> None:
        self._database = database
        self._stored = StoredOperations(database)
        self._metrics = metrics
        self._tracer = tracer
        self._programs: dict[OperationKind, Program] = {}
        self._live: dict[str, LiveOperation] = {}
        self._closing = False
        self._log: Any = structlog.get_logger("keyquorum_gateway.operations")

    def register(self, programs: Mapping[OperationKind, Program]) -> None:
        """Say what operations do; once, before the first."""
        self._programs.update(programs)

    # beginning

    def open(self, kind: OperationKind, tenant_id: str, claim: Claim | None, **subject: Any) -> LiveOperation:
        """A new operation in memory; a 503 problem where there are too many."""
        if self._closing:
            raise Problem("shutting-down")
        if len(self._live) >= OPERATIONS_LIVE_MAX:
            raise Problem("busy", "too many operations are running")
        now_ms = time.time_ns() // 1_000_000
        context = get_current_span().get_span_context()
        operation = Operation(
            id=new_identifier(OPERATION),
            tenant_id=tenant_id,
            kind=kind,
            state=OperationState.RUNNING,
            stage="accepted",
            created_ms=now_ms,
            updated_ms=now_ms,
            trace_id=format(context.trace_id, "032x"),
            **subject,
        )
        live = LiveOperation(operation, claim)
        self._live[operation.id] = live
        self._metrics.live_operations.set(len(self._live))
        self.publish(live, "accepted")
        return live

    def launch(self, live: LiveOperation) -> None:
        """Give the operation's program its turn, in a task of its own that no request's end cancels."""
        live.settled = False
        live.woken.clear()
        live.operation.state = OperationState.RUNNING
        live.operation.error = None
        live.task = asyncio.create_task(self._turn(live), name=live.operation.id)

    def require_room_to_wait(self, tenant_id: str) -> None:
        """A 429 problem where a tenant has too many operations that wait for an initiator."""
        waiting = sum(
            live.operation.tenant_id == tenant_id and live.operation.state is OperationState.AWAITING_INITIATOR
            for live in self._live.values()
        )
        if waiting >= AWAITING_PER_TENANT_MAX:
            raise Problem("too-many-pending")

    def authorize(self, live: LiveOperation, authorization: Authorization, claim: Claim | None) -> None:
        """Take an initiator's signature and go on; a problem where none is awaited or it is not the initiator's."""
        ceremony = live.operation.awaited
        if ceremony is None or not live.settled:
            raise Problem("operation-not-awaiting", f"the operation is {live.operation.state.value}")
        if not is_authorized(ceremony.intent, authorization):
            raise Problem("authorization-invalid", "not the intent's initiator key, or not its signature of the intent")
        if live.expiry is not None:
            live.expiry.cancel()
        ceremony.authorization = authorization
        live.claim = claim
        self.publish(live, "authorized")
        self.launch(live)

    # following

    def find(self, operation_id: str, tenant_id: str) -> LiveOperation | None:
        """An operation of a tenant, running or stored."""
        live = self._live.get(operation_id)
        if live is None:
            stored = self._stored.get(operation_id)
            if stored is None:
                return None
            live = LiveOperation(
                stored, queued=True, durable=True, settled=True, events=self._stored.events(operation_id)
            )
        return live if live.operation.tenant_id == tenant_id else None

    def live_transactions(self) -> tuple[Transaction, ...]:
        """Transactions whose operations run now, stored or not yet."""
        running = (live for live in self._live.values() if not live.operation.terminal)
        return tuple(live.transaction for live in running if live.transaction is not None)

    @property
    def live_count(self) -> int:
        """Operations in memory: those that have not ended, or whose end is not stored yet."""
        return len(self._live)

    def freshest(self, operation: Operation) -> Operation:
        """The running state of a stored operation, if it is running."""
        live = self._live.get(operation.id)
        return live.operation if live else operation

    async def settle(self, live: LiveOperation, wait_s: float) -> bool:
        """Wait until the operation has ended or awaits its initiator; false after ``wait_s`` seconds, or when stopping."""
        if wait_s > 0 and not (live.settled or self._closing):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await live.woken.wait()
        return live.settled

    async def follow(self, live: LiveOperation, after: int, silence_s: float) -> AsyncIterator[OperationEvent | None]:
        """Events after a sequence number, as they happen, to the terminal one; None where nothing happened for a while."""
        position = after
        while True:
            while position < len(live.events):
                yield live.events[position]
                position += 1
            if live.operation.terminal or self._closing:
                return
            live.changed.clear()
            try:
                async with asyncio.timeout(silence_s):
                    await live.changed.wait()
            except TimeoutError:
                yield None

    # what programs call

    def publish(
        self,
        live: LiveOperation,
        stage: str,
        *,
        detail: str = "",
        ceremony_id: str = "",
        round_number: int = 0,
        node_id: str = "",
    ) -> None:
        """Add an event and wake whoever follows."""
        operation = live.operation
        operation.stage = stage
        operation.updated_ms = time.time_ns() // 1_000_000
        live.events.append(
            OperationEvent(
                len(live.events) + 1,
                operation.updated_ms,
                operation.state,
                stage,
                detail,
                ceremony_id,
                round_number,
                node_id,
            )
        )
        live.changed.set()

    async def persist(self, live: LiveOperation, *writes: Write) -> None:
        """Make the operation durable as it is now, together with what the commands store."""
        await asyncio.shield(self._post(live, *writes))

    async def make_durable(self, live: LiveOperation) -> None:
        """Make the operation durable with all that belongs to it, as before its id leaves the gateway."""
        await self.persist(live, *self._programs[live.operation.kind].belongings(live))

    def _post(self, live: LiveOperation, *writes: Write, lazy: bool = False) -> "asyncio.Future[None]":
        save = saving(live.operation, live.events[live.stored_events :])
        claim = live.claim
        if claim is not None:
            claim.operation_id = live.operation.id
        count = len(live.events)

        def command(connection: apsw.Connection) -> None:
            save(connection)
            if claim is not None:
                claim.bind(connection)
            for write in writes:
                write(connection)

        future = self._database.post(command, lazy=lazy)
        live.queued = True
        future.add_done_callback(lambda done: self._stored_up_to(live, count, done))
        return future

    def _stored_up_to(self, live: LiveOperation, count: int, done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and done.exception() is None:
            live.stored_events = max(live.stored_events, count)
            live.durable = True
            live.claim = None
        elif live.claim is not None:
            live.claim.operation_id = ""

    # turns

    async def _turn(self, live: LiveOperation) -> None:
        operation = live.operation
        program = self._programs[operation.kind]
        try:
            with self._tracer.start_as_current_span(
                f"operation {operation.kind}", attributes={"keyquorum.operation_id": operation.id}
            ):
                outcome = await program.run(live)
            if outcome is Outcome.AWAITING_INITIATOR:
                await self._await_initiator(live)
            else:
                self._end(live, OperationState.SUCCEEDED)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - every operation ends, whatever its program raised
            await self._fail(live, error)

    async def _await_initiator(self, live: LiveOperation) -> None:
        live.operation.state = OperationState.AWAITING_INITIATOR
        self.publish(live, "awaiting_initiator")
        await self.make_durable(live)
        self._arm(live)
        self._settle(live)

    def _arm(self, live: LiveOperation) -> None:
        """End the wait when nobody could use the signature any more."""
        if live.expiry is not None:
            live.expiry.cancel()
        ceremony = live.operation.awaited
        left_s = (ceremony.valid_until_ms - time.time() * 1000) / 1000 if ceremony else 0
        live.expiry = asyncio.get_running_loop().call_later(max(left_s, 0), self._expire, live)

    def _expire(self, live: LiveOperation) -> None:
        if live.operation.state is OperationState.AWAITING_INITIATOR and not self._closing:
            live.operation.state = OperationState.RUNNING
            error = OperationFailed("authorization-expired", "nobody authorized the intent while it was valid")
            live.task = asyncio.create_task(self._fail(live, error))

    async def _fail(self, live: LiveOperation, error: Exception) -> None:
        operation = live.operation
        operation.error = failure = failure_of(error, operation.stage)
        if failure.code == "internal":
            self._log.error("operation.failed", operation_id=operation.id, exc_info=error)
        if self._may_wait_again(operation, failure):
            operation.ceremonies[-1].authorization = None
            self.publish(live, operation.stage, detail=f"{failure.code}: {failure.detail}")
            with suppress(StateUnavailable):
                await self._await_initiator(live)
                return
        try:
            write = await self._programs[operation.kind].abandon(live, failure)
            if write is not None and live.queued:
                await self.persist(live, write)
        except Exception as again:  # noqa: BLE001 - the failure is reported whatever the clean-up does
            self._log.warning("operation.abandon_failed", operation_id=operation.id, reason=type(again).__name__)
        self._end(live, OperationState.FAILED)

    def _may_wait_again(self, operation: Operation, failure: Failure) -> bool:
        """Whether a client signed the intent that nothing came of, and may send the same again."""
        if not (operation.client_initiated and failure.retriable and operation.ceremonies):
            return False
        last = operation.ceremonies[-1]
        return last.authorization is not None and not last.complete and last.valid_until_ms > time.time() * 1000

    def _end(self, live: LiveOperation, state: OperationState) -> None:
        operation = live.operation
        operation.state = state
        if state is OperationState.SUCCEEDED:
            operation.error = None
        error = operation.error
        self.publish(live, state.value, detail=f"{error.code}: {error.detail}" if error else "")
        self._metrics.operations.labels(operation.kind, state, error.code if error else "").inc()
        if live.queued or state is OperationState.SUCCEEDED:
            self._post(live, lazy=True).add_done_callback(lambda done: self._forget(live, done))
        else:
            self._forget(live, None)
        self._settle(live)

    def _settle(self, live: LiveOperation) -> None:
        live.settled = True
        live.woken.set()

    def _forget(self, live: LiveOperation, done: "asyncio.Future[None] | None") -> None:
        if done is not None and not done.cancelled() and done.exception() is not None:
            self._log.error("operation.not_saved", operation_id=live.operation.id, reason=str(done.exception()))
        self._live.pop(live.operation.id, None)
        self._metrics.live_operations.set(len(self._live))

    # the life of the process

    def recover(self) -> int:
        """Take up what an earlier process left unfinished; how many operations."""
        found = self._stored.open()
        for operation in found:
            events = self._stored.events(operation.id)
            waits = operation.state is OperationState.AWAITING_INITIATOR
            live = LiveOperation(
                operation,
                recovered=not waits,
                queued=True,
                durable=True,
                events=events,
                stored_events=len(events),
            )
            self._live[operation.id] = live
            if waits:
                self._settle(live)
                self._arm(live)
            else:
                self.launch(live)
        return len(found)

    def drain(self) -> None:
        """Begin no more, and let those go who wait or follow: they are answered, and the operations go on."""
        self._closing = True
        for live in self._live.values():
            live.woken.set()
            live.changed.set()

    async def close(self, patience_s: float) -> None:
        """Let running operations end for a while; the rest goes on after the next start, from what is stored."""
        self.drain()
        for live in self._live.values():
            if live.expiry is not None:
                live.expiry.cancel()
        tasks = [live.task for live in self._live.values() if live.task is not None and not live.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
