"""One session at one party: from a coordinator's order to the result, with this party's own rules in between.

========= =====================================================================================================
stage     what must have happened
========= =====================================================================================================
admission the initiator is proven, policy and codec agree, the operation id is durable (``Admission.admit``)
rounds    the worker runs the protocol; envelopes travel in the pairwise channels
storing   key generation only: the sealed share is durable before the certificate is signed
emission  the store grants the last-round message: the intent is still valid, the reservation still stands
result    key generation only: the certificate of all parties is durable before it is reported
========= =====================================================================================================

Whatever happens before emission gives the reservation back, cancellation too; nothing after it does.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from opentelemetry.trace import Span

from keyquorum_core_signer.hsm.ports import KekError
from keyquorum_core_signer.intents.certificate import assemble_certificate, verify_certificate
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import CreateKey
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.activation import activate
from keyquorum_core_signer.party.admission import Admission, Admitted, AdmittedCreate, AdmittedSign, Ordered
from keyquorum_core_signer.party.custody import Custody
from keyquorum_core_signer.party.metrics import SESSION_SECONDS, SESSIONS
from keyquorum_core_signer.party.refusal import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    OPERATION_CONFLICT,
    OVERLOADED,
    POLICY_DENIED,
    QUORUM_UNAVAILABLE,
    Refusal,
)
from keyquorum_core_signer.party.reservations import Reservations
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.runtime.session import Outgoing
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import PoolError, WorkerSession
from keyquorum_core_signer.store import commands
from keyquorum_core_signer.store.ports import Claimed, OutcomeUnknown, ShareStore, StoreError
from keyquorum_core_signer.telemetry import Telemetry
from keyquorum_core_signer.wire.codec import hash_typed
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.party.v1.envelope_pb2 import Envelope
from keyquorum_protos.signer.v1 import signer_pb2

EARLY_FRAMES_MAX: Final = 4  # from each peer while we still decide: it has its first round to say, and waits for ours
EARLY_FRAME_BYTES_MAX: Final = jobs.PAYLOAD_BYTES_MAX + 1024  # and the envelope around it
SIGN_ROUNDS: Final = 2
CREATE_ROUNDS: Final = 3
_log = structlog.get_logger("party.session")


def session_id(intent_hash: bytes, roster_hash: bytes, nonces: tuple[tuple[str, bytes], ...]) -> bytes:
    """What all parties of a session agree on before its first message, 32 bytes: nobody can make it come back."""
    return hash_typed("keyquorum/session/v1", intent_hash, roster_hash, nonces)


class LinkPort(Protocol):
    """What a session asks of its link."""

    def send(self, frame: party_pb2.LinkResponse) -> None:
        """Tell the coordinator."""

    def send_peer(self, node_id: str, frame: bytes) -> bool:
        """Tell a peer, in the pairwise channel; False where none stands."""


@dataclass(frozen=True, slots=True)
class SessionServices:
    """What every session of a party uses."""

    node_id: str
    roster: Roster
    admission: Admission
    custody: Custody
    store: ShareStore
    pool: WorkerPool
    reservations: Reservations
    telemetry: Telemetry
    now_ms: Callable[[], int]


@dataclass(slots=True)
class _Progress:
    stage: "signer_pb2.OperationState.ValueType" = signer_pb2.OPERATION_STATE_PREPARE_SIGN
    emitted: bool = False
    recorded: bool = False
    round_span: Span | None = None


@dataclass(slots=True)
class PartySession:
    """Runs once. ``receive`` may be called from the moment it is made."""

    services: SessionServices
    link: LinkPort
    route: int
    ordered: Ordered
    participants: tuple[str, ...]
    session_id: bytes
    deadline_s: float
    traceparent: str
    _worker: WorkerSession | None = None
    _early: list[tuple[PartyId, bytes]] = field(default_factory=list)
    _progress: _Progress = field(default_factory=_Progress)

    def receive(self, node_id: str, frame: bytes) -> None:
        """Take an envelope that came out of the channel with ``node_id``."""
        if node_id not in self.participants:
            return
        peer = PartyId(self.services.roster.node(node_id).index)
        if self._worker is not None:
            self._worker.deliver(peer, frame)
        elif len(frame) <= EARLY_FRAME_BYTES_MAX and sum(1 for p, _ in self._early if p == peer) < EARLY_FRAMES_MAX:
            self._early.append((peer, frame))

    async def run(self) -> None:
        """Run to the end, and report it. Cancellation reports nothing: the link is gone or wants no answer."""
        result = party_pb2.SessionResult(route=self.route)
        started = time.monotonic()
        self.services.reservations.enter(self.ordered.op_id)
        with self.services.telemetry.span(
            "party.session", self.traceparent, operation_id=self.ordered.op_id, node_id=self.services.node_id
        ):
            try:
                async with asyncio.timeout(self.deadline_s):
                    await self._run(result)
            except Refusal as refusal:
                result.error.CopyFrom(refusal.to_proto(self._progress.stage))
            except TimeoutError:
                late = Refusal(DEADLINE_EXCEEDED, "the session did not end in its time", retriable=True)
                result.error.CopyFrom(late.to_proto(self._progress.stage))
            except Exception as error:  # noqa: BLE001 - a bug that one session meets is not to end the others of its link
                _log.error("session failed", error=type(error).__name__, operation=self.ordered.op_id, exc_info=error)
                result.error.CopyFrom(Refusal(INTERNAL, "the session failed").to_proto(self._progress.stage))
            finally:
                self._close()
                await self._leave()
        kind = "create_key" if isinstance(self.ordered.intent.command, CreateKey) else "sign"
        SESSIONS.labels(kind, result.error.code or "ok").inc()
        SESSION_SECONDS.labels(kind).observe(time.monotonic() - started)
        self.link.send(party_pb2.LinkResponse(result=result))

    async def _run(self, result: party_pb2.SessionResult) -> None:
        try:
            admitted = await self._admit()
            job = await self._job(admitted)
            self._progress.stage = signer_pb2.OPERATION_STATE_SIGN_ROUND1
            made = await self._ceremony(job)
            if isinstance(admitted, AdmittedSign):
                result.signatures.extend(jobs.decode_signatures(made).signatures)
            else:
                await self._complete_key(jobs.decode_made_key(made), result)
        except KekError:
            raise Refusal(INTERNAL, "the key-encryption key cannot be used", retriable=True) from None
        except OutcomeUnknown:
            raise Refusal(INTERNAL, "the outcome of a write is unknown; the operation is not run again here") from None
        except StoreError:
            raise Refusal(INTERNAL, "the share store cannot be written", retriable=True) from None
        except PoolError:
            raise Refusal(OVERLOADED, "no worker process can take the session", retriable=True) from None

    async def _admit(self) -> Admitted:
        """Have the intent admitted. Whatever ends this but a refusal may leave it recorded."""
        self._progress.recorded = True
        try:
            return await self.services.admission.admit(self.ordered, self.participants)
        except Refusal:
            self._progress.recorded = False
            raise

    async def _job(self, admitted: Admitted) -> jobs.Job:
        seats = tuple(self._seat(node_id) for node_id in self.participants)
        if isinstance(admitted, AdmittedCreate):
            share_key = await self.services.custody.new_key(admitted.command)
            return jobs.CreateKeyJob(self.session_id, self.ordered.data, seats, admitted.command.threshold, share_key)
        share_key, sealed = await self.services.custody.fetch(admitted.key.certificate)
        return jobs.SignJob(
            session_id=self.session_id,
            intent_hash=self.ordered.digest,
            participants=seats,
            threshold=admitted.key.certificate.threshold,
            share_key=share_key,
            sealed=sealed,
            messages=tuple((message.message, message.path) for message in admitted.command.messages),
        )

    def _seat(self, node_id: str) -> jobs.Seat:
        node = self.services.roster.node(node_id)
        return jobs.Seat(node_id, node.index, node.identity_key)

    async def _ceremony(self, job: jobs.Job) -> bytes:
        """Drive the worker's session; returns what it made."""
        last_round = SIGN_ROUNDS if isinstance(job, jobs.SignJob) else CREATE_ROUNDS
        worker = self._worker = self.services.pool.open(jobs.encode(job), affinity=job.share_key.key_id)
        self._report(0, last_round)
        for peer, frame in self._early:
            worker.deliver(peer, frame)
        self._early.clear()
        async for event in worker:
            match event:
                case Outgoing(recipient, data):
                    self._emit(recipient, data, last_round)
                case events.Progress(round=finished):
                    self._report(finished, last_round)
                    self._progress.stage = signer_pb2.OPERATION_STATE_SIGN_ROUND2
                case events.Checkpoint(data):
                    await self._store_share(job, jobs.decode_prepared(data))
                    worker.resume()
                case events.Finished(data):
                    self._progress.stage = signer_pb2.OPERATION_STATE_VERIFY
                    return data
                case events.Failed():
                    raise self._refusal(event)
        raise Refusal(INTERNAL, "the session ended without a result", retriable=True)

    def _emit(self, recipient: PartyId, data: bytes, last_round: int) -> None:
        """Send an envelope; the last round's only after the store has said, just now, that it may leave."""
        if Envelope.FromString(data).round >= last_round and not self._progress.emitted:
            match self.services.store.claim_emission(self.ordered.op_id, self.services.now_ms()):
                case Claimed():
                    self._progress.emitted = True
                case commands.Expired():
                    raise Refusal(POLICY_DENIED, "the intent expired during the session", rule="expired")
                case _:
                    raise Refusal(OPERATION_CONFLICT, "the operation's reservation was given back", retriable=True)
        node_id = self.services.roster.node_at(recipient).node_id
        if not self.link.send_peer(node_id, data):
            raise Refusal(QUORUM_UNAVAILABLE, f"no channel with {node_id} stands", retriable=True)

    async def _store_share(self, job: jobs.Job, prepared: jobs.PreparedShare) -> None:
        command = self.ordered.intent.command
        assert isinstance(command, CreateKey)
        key = job.share_key
        outcome = await self.services.store.execute(
            commands.StorePreparedShare(
                op_id=self.ordered.op_id,
                key_id=key.key_id,
                epoch=key.epoch,
                version=key.version,
                wallet_id=command.wallet_id,
                user_id=command.user_id,
                tenant_id=self.ordered.intent.tenant_id,
                scheme=command.scheme,
                kek_id=key.kek_id,
                statement=prepared.statement,
                now_ms=self.services.now_ms(),
                sealed=prepared.sealed,
            )
        )
        if not isinstance(outcome, commands.Prepared):
            raise Refusal(OPERATION_CONFLICT, "another share of this key is already promised", rule="prepared")

    async def _complete_key(self, made: jobs.MadeKey, result: party_pb2.SessionResult) -> None:
        signatures: Mapping[str, bytes] = dict(made.signatures)
        signed = assemble_certificate(made.statement, signatures)
        try:
            certificate = verify_certificate(signed, self.services.roster)
        except IntentError as error:
            raise Refusal(INTERNAL, f"the made certificate does not verify: {error.detail}") from None
        await activate(self.services.store, certificate, signed, self.services.now_ms())
        result.certificate.CopyFrom(signed)

    def _report(self, finished_round: int, last_round: int) -> None:
        progress = party_pb2.SessionProgress(route=self.route, round=finished_round)
        self.link.send(party_pb2.LinkResponse(progress=progress))
        self._end_round_span()
        if finished_round < last_round:
            tracer = self.services.telemetry.tracer
            self._progress.round_span = tracer.start_span(
                f"party.round{finished_round + 1}", attributes={"node_id": self.services.node_id}
            )

    def _end_round_span(self) -> None:
        if self._progress.round_span is not None:
            self._progress.round_span.end()
            self._progress.round_span = None

    def _refusal(self, failure: events.Failed) -> Refusal:
        culprits = []
        for index in failure.culprits:
            with suppress(KeyError):
                culprits.append(self.services.roster.node_at(index).node_id)
        detail = failure.step or failure.detail
        if failure.code in {events.WORKER_LOST, events.OVERLOADED}:
            return Refusal(OVERLOADED, failure.detail, rule=failure.code, retriable=True)
        retriable = failure.code == events.PROTOCOL_ABORT
        return Refusal(failure.code, detail, retriable=retriable, culprits=culprits)

    def _close(self) -> None:
        self._end_round_span()
        if self._worker is not None:
            self._worker.close()

    async def _leave(self) -> None:
        """Give the reservation back, unless a last message left; the store decides, and an error leaves it standing."""
        unused = self._progress.recorded and not self._progress.emitted
        if self.services.reservations.leave(self.ordered.op_id, unused=unused):
            with suppress(StoreError):
                await self.services.store.execute(
                    commands.ReleaseReservation(op_id=self.ordered.op_id, now_ms=self.services.now_ms())
                )
