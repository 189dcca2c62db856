"""One operation while it runs: its order, its stage, its events, and those who follow them."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from keyquorum_core_signer.coordinator.database import STORAGE_ERRORS, Work
from keyquorum_core_signer.coordinator.events import OperationEvent
from keyquorum_core_signer.coordinator.failures import INTERNAL, Failure
from keyquorum_core_signer.coordinator.log import Kind, LoggedStep, OperationLog
from keyquorum_core_signer.coordinator.notice import Notice
from keyquorum_core_signer.coordinator.states import Stage, State, Trigger
from keyquorum_core_signer.intents.intent import CreateKey, Intent
from keyquorum_protos.signer.v1 import intent_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """An intent as a gateway sent it: the exact bytes, who authorized them, and how they read."""

    data: bytes
    authorization: intent_pb2.Authorization
    intent: Intent
    digest: bytes
    operation_id: str

    @property
    def kind(self) -> Kind:
        """Which of the two it is."""
        return "create_key" if isinstance(self.intent.command, CreateKey) else "sign"

    @property
    def scheme(self) -> str:
        """The signature scheme it is about."""
        return self.intent.command.scheme


@dataclass(frozen=True, slots=True)
class Made:
    """What an operation made: a key or signatures. ``also`` is written in the transaction that completes it."""

    certificate: certificate_pb2.SignedKeyCertificate | None = None
    signatures: tuple[bytes, ...] = ()
    detail: str = ""
    also: Work | None = None


@dataclass(frozen=True, slots=True)
class OperationClock:
    """The two clocks of an operation: ``monotonic`` seconds judge deadlines, ``now_ms`` dates events."""

    monotonic: Callable[[], float]
    now_ms: Callable[[], int]


class Operation:
    """Walks the table of :mod:`.states`; each step becomes one event, one row, and one wake-up of the followers."""

    def __init__(
        self,
        order: Order,
        history: Sequence[OperationEvent],
        log: OperationLog,
        clock: OperationClock,
        *,
        deadline: float,
        on_stage: Callable[[State, float], None] = lambda _state, _seconds: None,
    ) -> None:
        """``history`` holds the events of earlier runs, the last of them a retriable failure; ``deadline`` is the
        monotonic second at which the operation has failed; ``on_stage`` is told how long each state lasted.
        """
        self.order: Final = order
        self.deadline: Final = deadline
        self._log = log
        self._clock = clock
        self._on_stage = on_stage
        self._events = list(history)
        self._own = len(self._events)
        self._notice = Notice()
        self._began = self._entered = clock.monotonic()
        if history:
            self.stage = Stage(State.FAILED, None).after(Trigger.REOPENED, self._began, deadline)
        else:
            self.stage = Stage(State.KEY_SHARE, deadline)
        event = self._event()
        self._log.note(self._step(event))
        self._events.append(event)

    async def follow(self) -> AsyncIterator[Sequence[OperationEvent]]:
        """All events of this run, from its first to its terminal one: each time those that have come since."""
        position = self._own
        while True:
            events = self._events[position:]
            if events:
                position += len(events)
                yield events
                if events[-1].terminal:
                    return
            else:
                await self._notice.wait()

    @property
    def events(self) -> tuple[OperationEvent, ...]:
        """All events so far, those of earlier runs included."""
        return tuple(self._events)

    def advance(
        self, trigger: Trigger, until: float, *, round_number: int = 0, detail: str = "", quietly: bool = False
    ) -> None:
        """Take a step that is not terminal; the new state may last until the monotonic second ``until``.

        Where the next step follows at once, ``quietly`` lets followers hear of both together.
        Raises IllegalTransition, and LateProgress for progress behind the present state's deadline.
        """
        self._enter(self.stage.after(trigger, self._clock.monotonic(), min(until, self.deadline)))
        event = self._event(round_number=round_number, detail=detail)
        self._log.note(self._step(event))
        self._events.append(event)
        if not quietly:
            self._notice.give()

    async def complete(self, made: Made) -> None:
        """End with a result. A key is on disk before any follower hears of it; signatures are written by then."""
        now = self._clock.monotonic()
        stage = self.stage.after(Trigger.VERIFIED, now, self.deadline)
        event = OperationEvent(
            operation_id=self.order.operation_id,
            sequence=len(self._events) + 1,
            state=stage.state,
            time_ms=self._clock.now_ms(),
            detail=made.detail,
            certificate=made.certificate,
            signatures=made.signatures,
            duration_ms=(now - self._began) * 1000,
        )
        try:
            if made.also is not None:
                await self._log.commit(self._step(event), made.also)
            else:
                await self._log.write(self._step(event))
        except STORAGE_ERRORS:
            _log.exception("an operation's result could not be stored", operation_id=self.order.operation_id)
            failure = Failure(
                INTERNAL, "the result could not be stored; the same intent may be sent again", retriable=True
            )
            await self.fail(Trigger.GIVE_UP, failure)
            return
        self._enter(stage)
        self._publish(event)

    async def fail(self, trigger: Trigger, failure: Failure) -> None:
        """End without a result, for ``failure`` in the present stage.

        Where even that cannot be stored the followers hear it all the same: the row that says otherwise, if there is
        one, is failed at the next start.
        """
        failure = failure.at(self.stage.state)
        self._enter(self.stage.after(trigger, self._clock.monotonic(), self.deadline))
        event = self._event(failure=failure)
        try:
            await self._log.commit(self._step(event))
        except STORAGE_ERRORS:
            _log.exception("an operation's failure could not be stored", operation_id=self.order.operation_id)
        self._publish(event)

    def _event(self, *, round_number: int = 0, detail: str = "", failure: Failure | None = None) -> OperationEvent:
        return OperationEvent(
            operation_id=self.order.operation_id,
            sequence=len(self._events) + 1,
            state=self.stage.state,
            time_ms=self._clock.now_ms(),
            round=round_number,
            detail=detail,
            failure=failure,
        )

    def _enter(self, stage: Stage) -> None:
        now = self._clock.monotonic()
        self._on_stage(self.stage.state, now - self._entered)
        self.stage, self._entered = stage, now

    def _publish(self, event: OperationEvent) -> None:
        self._events.append(event)
        self._notice.give()

    def _step(self, event: OperationEvent) -> LoggedStep:
        deadline = self.stage.deadline
        left_ms = None if event.terminal or deadline is None else int((deadline - self._clock.monotonic()) * 1000)
        return LoggedStep(
            event=event,
            kind=self.order.kind,
            valid_until_ms=self.order.intent.valid_until_ms,
            deadline_ms=None if left_ms is None else event.time_ms + left_ms,
        )
