"""One session at one party: from a coordinator's order to the result, with this party's own rules in between.

========= =====================================================================================================
stage     what must have happened
========= =====================================================================================================
admission the initiator is proven, policy and codec agree, the operation id is durable (``Admission.admit``)
turn      ECDSA without presignatures: the sessions before it in its pairs have their verdicts
rounds    the worker runs the protocol; envelopes travel in the pairwise channels
storing   key generation only: the sealed share is durable before the certificate is signed
emission  the store grants the last-round message: the intent is still valid, the reservation still stands
result    key generation only: the certificate of all parties is durable before it is reported
========= =====================================================================================================

Whatever happens before emission gives the reservation back, cancellation too; nothing after it does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from opentelemetry.trace import Span

from keyquorum_core_signer.hsm.ports import KekError
from keyquorum_core_signer.intents.certificate import assemble_certificate, verify_certificate
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import CreateKey, Sign
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import ecdsa, jobs
from keyquorum_core_signer.party.activation import activate
from keyquorum_core_signer.party.admission import Admission, Admitted, AdmittedCreate, AdmittedSign, Ordered
from keyquorum_core_signer.party.checked import Checks
from keyquorum_core_signer.party.conversation import Conversation, SessionFailed
from keyquorum_core_signer.party.custody import Custody
from keyquorum_core_signer.party.demand import Demand
from keyquorum_core_signer.party.keyring import ActiveKey
from keyquorum_core_signer.party.metrics import SESSION_SECONDS, SESSIONS
from keyquorum_core_signer.party.pairs import DKLS23, Pairs
from keyquorum_core_signer.party.presignatures import Burned, Pool, Presignatures
from keyquorum_core_signer.party.refusal import (
    DEADLINE_EXCEEDED,
    INTENT_INVALID,
    INTERNAL,
    OPERATION_CONFLICT,
    OVERLOADED,
    POLICY_DENIED,
    PROTOCOL_ABORT,
    QUORUM_UNAVAILABLE,
    Refusal,
)
from keyquorum_core_signer.party.reservations import Reservations
from keyquorum_core_signer.party.turns import Turn
from keyquorum_core_signer.protocols.dkls23.errors import PAIR_COMPROMISED, PAIR_DESYNC
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import PoolError
from keyquorum_core_signer.store import commands
from keyquorum_core_signer.store.ports import Claimed, OutcomeUnknown, ShareStore, StoreError
from keyquorum_core_signer.telemetry import Telemetry
from keyquorum_core_signer.wire.codec import hash_typed
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.signer.v1 import signer_pb2

SIGN_ROUNDS: Final = 2
CREATE_ROUNDS: Final = 3
SMALL_PAYLOAD_BYTES: Final = 16 * 1024  # of a message of FROST, of key generation, or of the online phase
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
    pairs: Pairs
    presignatures: Presignatures
    demand: Demand
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
    presignature_ids: tuple[bytes, ...] = ()
    _conversation: Conversation = field(init=False)
    _turn: Turn | None = field(default=None, init=False)
    _last_round: int = field(default=CREATE_ROUNDS, init=False)
    _checkpoint: Callable[[bytes], Awaitable[None]] | None = field(default=None, init=False)
    _task: asyncio.Task[Any] | None = field(default=None, init=False)
    _expelled: bool = field(default=False, init=False)
    _progress: _Progress = field(default_factory=_Progress, init=False)

    def __post_init__(self) -> None:
        """Stand in line where a line is needed: in the order in which sessions were started, before anything waits."""
        command = self.ordered.intent.command
        checked = isinstance(command, Sign) and command.scheme == ecdsa.SCHEME and not self.presignature_ids
        if checked:
            self._turn = self.services.pairs.turns.queue(self._others())
        count = len(command.messages) if isinstance(command, Sign) else 1
        self._conversation = Conversation(
            self.services.pool,
            self.services.roster,
            self.participants,
            self.link.send_peer,
            payload_bytes_max=count * ecdsa.PAYLOAD_BYTES if checked else SMALL_PAYLOAD_BYTES,
        )

    def receive(self, node_id: str, frame: bytes) -> None:
        """Take an envelope that came out of the channel with ``node_id``."""
        self._conversation.receive(node_id, frame)

    async def run(self) -> None:
        """Run to the end, and report it. Cancellation reports nothing: the link is gone or wants no answer."""
        result = party_pb2.SessionResult(route=self.route)
        started = time.monotonic()
        task = self._task = asyncio.current_task()
        assert task is not None
        self.services.reservations.enter(self.ordered.op_id)
        with self.services.telemetry.span(
            "party.session", self.traceparent, operation_id=self.ordered.op_id, node_id=self.services.node_id
        ):
            try:
                self.services.pairs.require_unbanned(self.participants)
                with self.services.pairs.attending(self.participants, self._expel):
                    async with asyncio.timeout(self.deadline_s):
                        await self._run(result)
            except Refusal as refusal:
                result.error.CopyFrom(refusal.to_proto(self._progress.stage))
            except asyncio.CancelledError:
                if not self._expelled:
                    raise
                task.uncancel()
                banned = Refusal(QUORUM_UNAVAILABLE, "a participant was banned meanwhile", retriable=True)
                result.error.CopyFrom(banned.to_proto(self._progress.stage))
            except TimeoutError:
                late = Refusal(DEADLINE_EXCEEDED, "the session did not end in its time", retriable=True)
                result.error.CopyFrom(late.to_proto(self._progress.stage))
            except Exception as error:  # noqa: BLE001 - a bug that one session meets is not to end the others of its link
                _log.error("session failed", error=type(error).__name__, operation=self.ordered.op_id, exc_info=error)
                result.error.CopyFrom(Refusal(INTERNAL, "the session failed").to_proto(self._progress.stage))
            finally:
                self.close()
                await self._leave()
        kind = "create_key" if isinstance(self.ordered.intent.command, CreateKey) else "sign"
        SESSIONS.labels(kind, result.error.code or "ok").inc()
        SESSION_SECONDS.labels(kind).observe(time.monotonic() - started)
        self.link.send(party_pb2.LinkResponse(result=result))

    def _expel(self) -> None:
        """A participant was banned by what another session found: this one ends. The finder itself goes on to its end."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._expelled = True
            self._task.cancel()

    async def _run(self, result: party_pb2.SessionResult) -> None:
        try:
            admitted = await self._admit()
            if isinstance(admitted, AdmittedSign):
                made = jobs.decode(jobs.MadeSignatures, await self._sign(admitted))
                result.signatures.extend(made.signatures)
                self._note_use(admitted)
            else:
                await self._complete_key(jobs.decode(jobs.MadeKey, await self._create_key(admitted)), result)
        except SessionFailed as error:
            raise self._refusal(error.failure) from None
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
            burn = self._burn if self.presignature_ids else None
            return await self.services.admission.admit(self.ordered, self.participants, burn)
        except Refusal:
            self._progress.recorded = False
            raise

    def _note_use(self, admitted: AdmittedSign) -> None:
        if admitted.key.certificate.signing_protocol == DKLS23 and not admitted.command.raw:
            self.services.demand.note(
                admitted.key.certificate, dict.fromkeys(message.path for message in admitted.command.messages)
            )

    async def _sign(self, admitted: AdmittedSign) -> bytes:
        """Have the messages signed, by whatever signs with the key."""
        key = admitted.key.certificate
        terms = self._terms(key.threshold, key.key_id, key.epoch)
        if key.signing_protocol == DKLS23:
            return await self._sign_ecdsa(admitted, terms)
        share = jobs.Sealed(*await self.services.custody.fetch(key))
        self._last_round = SIGN_ROUNDS
        return await self._converse(jobs.SignJob(terms, share, ecdsa.messages_of(admitted)))

    async def _burn(self, key: ActiveKey) -> Burned:
        """Use up the presignatures that the coordinator named, one per message, each of this key, path and quorum."""
        command, names = self.ordered.intent.command, self.presignature_ids
        assert isinstance(command, Sign)
        certificate = key.certificate
        pools = [Pool(certificate.key_id, certificate.epoch, m.path, self.participants) for m in command.messages]
        if certificate.signing_protocol != DKLS23 or len(names) != len(pools) or len(set(names)) != len(pools):
            raise Refusal(INTENT_INVALID, "not one presignature per message", rule="presignature", retriable=True)
        return await self.services.presignatures.burn(self.ordered.op_id, self.session_id, pools, names)

    async def _sign_ecdsa(self, admitted: AdmittedSign, terms: jobs.SessionTerms) -> bytes:
        services, key = self.services, admitted.key.certificate
        if self.presignature_ids:
            self._last_round = ecdsa.ONLINE_ROUNDS
            return await self._converse(ecdsa.online_job(admitted, terms))
        assert self._turn is not None
        if any(services.pairs.lacking(peer) for peer in self._others()):
            self._turn.give_up()  # pairing takes the turn that we would wait with
            await services.pairs.require_paired(self._others(), ecdsa.PAIRING_S)
            self._turn = services.pairs.turns.queue(self._others())
        if not await self._turn.wait(ecdsa.TURN_S):
            raise Refusal(OVERLOADED, "earlier sessions of the same pairs take too long", rule="turn", retriable=True)
        self._last_round = ecdsa.SIGN_ROUNDS
        halves = await services.pairs.halves(self._others())
        share = jobs.Sealed(*await services.custody.fetch(key))
        job = jobs.EcdsaSignJob(terms, share, halves, ecdsa.messages_of(admitted))
        checks = Checks(services.pairs, services.roster, self.session_id, self.ordered.op_id, halves)
        self._checkpoint = checks.begin
        async with checks.watched():
            return await self._converse(job)

    async def _create_key(self, admitted: AdmittedCreate) -> bytes:
        command = admitted.command
        share_key = await self.services.custody.new_key(command)
        self._last_round = CREATE_ROUNDS
        self._checkpoint = lambda data: self._store_share(share_key, jobs.decode(jobs.PreparedShare, data))
        terms = self._terms(command.threshold, share_key.key_id, share_key.epoch)
        return await self._converse(jobs.CreateKeyJob(terms, self.ordered.data, share_key))

    def _terms(self, threshold: int, key_id: str, epoch: int) -> jobs.SessionTerms:
        seats = tuple(self._seat(node_id) for node_id in self.participants)
        return jobs.SessionTerms(self.session_id, seats, threshold, key_id, epoch, self.ordered.digest)

    def _others(self) -> tuple[str, ...]:
        return tuple(node_id for node_id in self.participants if node_id != self.services.node_id)

    def _seat(self, node_id: str) -> jobs.Seat:
        node = self.services.roster.node(node_id)
        return jobs.Seat(node_id, node.index, node.identity_key)

    async def _converse(self, job: jobs.Job) -> bytes:
        """Run the worker's session; returns what it made. :class:`Refusal` where it made nothing."""
        self._progress.stage = signer_pb2.OPERATION_STATE_SIGN_ROUND1
        made = await self._conversation.run(job, job.terms.key_id, self)
        self._progress.stage = signer_pb2.OPERATION_STATE_VERIFY
        return made

    def progressed(self, finished_round: int) -> None:
        """Tell the coordinator, and the trace."""
        if finished_round:
            self._progress.stage = signer_pb2.OPERATION_STATE_SIGN_ROUND2
        self.link.send(
            party_pb2.LinkResponse(progress=party_pb2.SessionProgress(route=self.route, round=finished_round))
        )
        self._end_round_span()
        if finished_round < self._last_round:
            tracer = self.services.telemetry.tracer
            self._progress.round_span = tracer.start_span(
                f"party.round{finished_round + 1}", attributes={"node_id": self.services.node_id}
            )

    def leaving(self, round_number: int) -> None:
        """The last round's envelopes leave only after the store has said, just now, that they may."""
        if round_number < self._last_round or self._progress.emitted:
            return
        match self.services.store.claim_emission(self.ordered.op_id, self.services.now_ms()):
            case Claimed():
                self._progress.emitted = True
            case commands.Expired():
                raise Refusal(POLICY_DENIED, "the intent expired during the session", rule="expired")
            case _:
                raise Refusal(OPERATION_CONFLICT, "the operation's reservation was given back", retriable=True)

    async def checkpoint(self, data: bytes) -> None:
        """Make durable what the kind of session has to."""
        if self._checkpoint is None:
            raise Refusal(INTERNAL, "a session without checkpoints has come to one")
        await self._checkpoint(data)

    async def _store_share(self, key: jobs.ShareKey, prepared: jobs.PreparedShare) -> None:
        command = self.ordered.intent.command
        assert isinstance(command, CreateKey)
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
        if failure.code in {PAIR_COMPROMISED, PAIR_DESYNC}:
            return Refusal(PROTOCOL_ABORT, detail, rule=failure.code, retriable=True, culprits=culprits)
        retriable = failure.code == events.PROTOCOL_ABORT
        return Refusal(failure.code, detail, retriable=retriable, culprits=culprits)

    def close(self) -> None:
        """Let go of worker and turn; a session whose task never began has only this. May be called again."""
        self._end_round_span()
        self._conversation.close()
        if self._turn is not None:
            self._turn.give_up()

    async def _leave(self) -> None:
        """Give the reservation back, unless a last message left; the store decides, and an error leaves it standing."""
        unused = self._progress.recorded and not self._progress.emitted
        if self.services.reservations.leave(self.ordered.op_id, unused=unused):
            with suppress(StoreError):
                await self.services.store.execute(
                    commands.ReleaseReservation(op_id=self.ordered.op_id, now_ms=self.services.now_ms())
                )
