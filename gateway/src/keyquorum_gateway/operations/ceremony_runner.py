"""Runs one ceremony of an operation: durable first, then sent, followed to its end, and resolved after a restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from keyquorum_gateway.bounds import STREAM_RETRY_S
from keyquorum_gateway.ceremonies import CeremonyError, CeremonyEvent, CeremonyState
from keyquorum_gateway.intents import Authorization
from keyquorum_gateway.operations.engine import LiveOperation, OperationEngine, Write
from keyquorum_gateway.operations.record import Ceremony
from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.signer_client import Command, SignerClient
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.signer import SigningError

RECOVERY_GRACE_S: Final = 30.0
"""How long after an intent's end the coordinator is still asked what became of it: parties' clocks may be 30 s behind."""


class CeremonyFailed(SigningError):
    """The coordinator reports that a ceremony failed. ``culprits`` are the nodes that it names."""

    def __init__(self, error: CeremonyError, ceremony_id: str) -> None:
        super().__init__(error.code, error.detail, retriable=error.retriable, operation_id=ceremony_id)
        self.culprits: Final = error.culprits


class CeremonyRunner:
    """See the module. ``deadlines_s`` by command."""

    def __init__(
        self, engine: OperationEngine, client: SignerClient, metrics: Metrics, deadlines_s: Mapping[str, float]
    ) -> None:
        self._engine = engine
        self._client = client
        self._metrics = metrics
        self._deadlines_s = deadlines_s

    async def run(self, live: LiveOperation, ceremony: Ceremony, *writes: Write) -> CeremonyEvent:
        """The ceremony's COMPLETE event. ``writes`` become durable with the intent, before it is sent.

        Raises ``SigningError``; :class:`OperationFailed` where a restart found something that cannot be resolved.
        """
        ceremony.sent = True
        await self._engine.persist(live, *writes)
        if live.recovered:  # the intent may be of before the restart, or a new one: either is stored by now
            live.recovered = False
            return await self._timed(live, ceremony, self._resolve)
        return await self._timed(live, ceremony, self._follow)

    async def run_harmless(self, live: LiveOperation, ceremony: Ceremony) -> CeremonyEvent:
        """As :meth:`run`, for an intent that can move nothing: it is sent while it is made durable.

        What a crash in between costs is a second signature over the same message. The result still waits for both.
        """
        if live.recovered:
            return await self.run(live, ceremony)
        ceremony.sent = True
        saving = asyncio.ensure_future(self._engine.persist(live))
        try:
            return await self._timed(live, ceremony, self._follow)
        finally:
            await saving

    async def _timed(
        self,
        live: LiveOperation,
        ceremony: Ceremony,
        way: Callable[[LiveOperation, Ceremony, Authorization], Awaitable[CeremonyEvent]],
    ) -> CeremonyEvent:
        authorization = ceremony.authorization
        if authorization is None:
            raise AssertionError("a ceremony runs only once it is authorized")
        started = time.perf_counter()
        outcome = "unknown"
        try:
            terminal = await way(live, ceremony, authorization)
            outcome = terminal.state.value
        finally:
            elapsed_s = time.perf_counter() - started
            self._metrics.ceremonies.labels(ceremony.command, ceremony.scheme, outcome).observe(elapsed_s)
        if terminal.error is not None:
            raise CeremonyFailed(terminal.error, ceremony.id)
        live.operation.signing_ms = elapsed_s * 1000
        ceremony.complete = True
        self._publish(live, terminal)
        return terminal

    async def _follow(self, live: LiveOperation, ceremony: Ceremony, authorization: Authorization) -> CeremonyEvent:
        """Send the intent and publish what comes."""
        seen = sum(event.ceremony_id == ceremony.id for event in live.events)
        command = Command.CREATE_KEY if ceremony.command == "create_key" else Command.SIGN
        deadline_s = self._deadlines_s[ceremony.command]
        async with aclosing(self._client.follow(command, ceremony.intent, authorization, deadline_s)) as events:
            async for event in events:
                if event.terminal:
                    return event
                if seen > 0:
                    seen -= 1
                else:
                    self._publish(live, event)
        raise SigningError("protocol-abort", "the coordinator's stream ended without a result")

    def _catch_up(self, live: LiveOperation, ceremony: Ceremony, events: Sequence[CeremonyEvent]) -> None:
        """Publish what happened while nobody here listened."""
        seen = sum(event.ceremony_id == ceremony.id for event in live.events)
        for event in [event for event in events if not event.terminal][seen:]:
            self._publish(live, event)

    async def _resolve(self, live: LiveOperation, ceremony: Ceremony, authorization: Authorization) -> CeremonyEvent:
        """Learn what became of an intent that an earlier process may or may not have sent. Never makes another one."""
        pause = STREAM_RETRY_S[0]
        while True:
            left_s = ceremony.valid_until_ms / 1000 - time.time()
            try:
                events = await self._client.ceremony(ceremony.id)
                if events and events[-1].terminal:
                    self._catch_up(live, ceremony, events[:-1])
                    return events[-1]
                if left_s > 0:
                    return await self._follow(live, ceremony, authorization)
                if not events:
                    raise OperationFailed("interrupted", "the intent expired before it was sent")
            except SigningError as error:
                if not (error.retriable or error.code == "deadline-exceeded"):
                    raise
            if left_s < -RECOVERY_GRACE_S:
                raise OperationFailed("outcome-unknown", "the coordinator could not say what became of the intent")
            await asyncio.sleep(pause)
            pause = min(pause * 2, STREAM_RETRY_S[1])

    def _publish(self, live: LiveOperation, event: CeremonyEvent) -> None:
        stage = "ceremony_complete" if event.state is CeremonyState.COMPLETE else event.state.value
        self._engine.publish(
            live,
            stage,
            detail=event.detail,
            ceremony_id=event.ceremony_id,
            round_number=event.round,
            node_id=event.node_id,
        )
