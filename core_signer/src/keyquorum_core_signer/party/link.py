"""One coordinator's stream, seen from the party: its nonces, its channels, its sessions.

Everything here ends with the stream. Frames are handled in the order in which they arrive, without waiting: what takes
time runs in a task of its own.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from keyquorum_core_signer.codecs.pool import CodecPool
from keyquorum_core_signer.intents.certificate import verify_certificate
from keyquorum_core_signer.intents.effects import codec_ref_to_proto
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.limits import MESSAGES_MAX
from keyquorum_core_signer.party import control
from keyquorum_core_signer.party.activation import activate
from keyquorum_core_signer.party.agreement import AgreedSession
from keyquorum_core_signer.party.attestation import Attestor
from keyquorum_core_signer.party.mesh import ChannelMesh
from keyquorum_core_signer.party.metrics import CHANNELS
from keyquorum_core_signer.party.nonces import NONCE_BYTES, SessionNonces
from keyquorum_core_signer.party.pairing import Pairing, PairingServices
from keyquorum_core_signer.party.presignatures import Pool
from keyquorum_core_signer.party.presigning import Presigning, PresigningServices
from keyquorum_core_signer.party.refusal import INTENT_INVALID, INTERNAL, OVERLOADED, Refusal
from keyquorum_core_signer.party.session import PartySession, SessionServices, session_id
from keyquorum_core_signer.store.ports import StoreError
from keyquorum_core_signer.wire.channel import PairwiseChannel, PinnedPeer
from keyquorum_core_signer.wire.codec import DecodeError
from keyquorum_core_signer.wire.envelope import peek_session
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.signer.v1 import signer_pb2

TEND_S: Final = 0.5  # how often channels and pairs are looked after
FILL_S: Final = 0.05  # between two looks at whether a pool of presignatures lacks some
TALKS_MAX: Final = 64  # messages outside of sessions that are being answered at once
DRAIN_S_MAX: Final = 2.0  # for what an ended link still has to say
TURN_FRAMES: Final = 32  # of a batch that are handled before other links have their turn
PRESIGNATURE_ID_BYTES: Final = 32
BATCH_BYTES_MAX: Final = 1 << 18  # of frames that are written at once; a frame on top still fits a message
_log = structlog.get_logger("party.link")


class LinkOverflow(Exception):
    """Says that the coordinator does not take what it is sent: the link ends."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What one coordinator can make this party hold."""

    sessions: int
    nonces: int
    outgoing_frames: int
    session_s_max: float


@dataclass(frozen=True, slots=True)
class LinkServices:
    """What every link of a party uses."""

    session: SessionServices
    identity: IdentityKey
    codecs: CodecPool
    attestor: Attestor
    pairing: PairingServices
    presigning: PresigningServices
    limits: LinkLimits
    version: str


class Link:
    """A stream from its hello on. ``outgoing`` holds what the coordinator is to be sent, None at the end."""

    def __init__(self, services: LinkServices, coordinator_id: str, expel: Callable[[], object]) -> None:
        """``expel`` ends the stream by force: whoever reads nothing could otherwise hold an ended link open."""
        self._services = services
        self._coordinator_id = coordinator_id
        self._expel = expel
        self._last_call: asyncio.TimerHandle | None = None
        self._ignored = False
        self._node_id = services.session.node_id
        self._roster = services.session.roster
        self.outgoing: asyncio.Queue[party_pb2.LinkResponse | None] = asyncio.Queue(services.limits.outgoing_frames)
        self._nonces = SessionNonces(secrets.token_bytes, services.limits.nonces)
        self._sessions: dict[bytes, PartySession | AgreedSession] = {}
        self._talks = 0
        self._stood: set[str] = set()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        me = self._roster.node(self._node_id)
        self._mesh = ChannelMesh(
            [(node.node_id, me.index < node.index) for node in self._roster.nodes if node is not me],
            self._open_channel,
            transmit=self._transmit,
            deliver=self._deliver,
            changed=self._channels_changed,
            clock=time.monotonic,
        )
        self._pairing = Pairing(services.pairing, self)
        self._presigning = Presigning(services.presigning, self, self._mesh.standing)

    async def open(self) -> None:
        """Introduce this party, offer nonces, start looking after channels."""
        prepared = await self._services.session.store.prepared_keys()
        hello = party_pb2.PartyHello(
            node_id=self._node_id,
            cell_id=self._roster.cell_id,
            roster_hash=self._roster.roster_hash,
            version=self._services.version,
            codecs=[codec_ref_to_proto(ref) for ref in self._services.codecs.refs],
            kek_kind=self._services.session.custody.kek_kind,
            prepared_key_ids=[record.key_id for record in prepared],
        )
        self.send(party_pb2.LinkResponse(hello=hello))
        self._offer_nonces()
        presignatures = self._services.session.presignatures
        presignatures.listen(self._pool_changed)
        self._services.session.pairs.watch(self._tell_peers)
        for pool in presignatures.pools():
            self._pool_changed(pool)
        self._spawn(self._tend())
        self._spawn(self._fill())

    async def next_frame(self) -> party_pb2.LinkResponse | None:
        """What the coordinator is to be sent next, all that waits at once; None at the end."""
        first = await self.outgoing.get()
        if first is None or first.HasField("hello") or self.outgoing.empty():  # a link begins with a hello alone
            return first
        frames, size = [first], first.ByteSize()
        while size < BATCH_BYTES_MAX and not self.outgoing.empty():
            frame = self.outgoing.get_nowait()
            if frame is None:
                self.outgoing.put_nowait(None)
                break
            frames.append(frame)
            size += frame.ByteSize()
        return party_pb2.LinkResponse(batch=party_pb2.LinkResponseBatch(frames=frames))

    async def take(self, frame: party_pb2.LinkRequest) -> None:
        """Take one frame, or a batch of them. :class:`LinkOverflow` ends the link.

        It waits for nothing, but gives other links their turn: a batch is as long as a coordinator likes.
        """
        if frame.WhichOneof("frame") != "batch":
            self._handle(frame)
            return
        for place, single in enumerate(frame.batch.frames, start=1):
            self._handle(single)
            if place % TURN_FRAMES == 0:
                await asyncio.sleep(0)

    def _handle(self, frame: party_pb2.LinkRequest) -> None:
        match frame.WhichOneof("frame"):
            case "relay":
                relay = frame.relay
                self._mesh.receive(relay.node_id, relay.channel_id, relay.data)
            case "start":
                self._start(frame.start)
            case "abort":
                self._abort(frame.abort)
            case "peers":
                self._mesh.reach(frame.peers.node_ids)
            case "attest":
                self._answer_attest(frame.attest)
            case "activate":
                self._answer_activate(frame.activate)
            case other:
                self._ignore(other or "unknown")

    async def close(self) -> None:
        """End everything that belongs to the link."""
        if self._last_call is not None:
            self._last_call.cancel()
        self._services.session.presignatures.unlisten(self._pool_changed)
        self._services.session.pairs.unwatch(self._tell_peers)
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._mesh.close()

    def send(self, frame: party_pb2.LinkResponse) -> None:
        """Queue a frame for the coordinator; :class:`LinkOverflow` when it does not take them."""
        try:
            self.outgoing.put_nowait(frame)
        except asyncio.QueueFull:
            raise LinkOverflow from None

    def send_peer(self, node_id: str, frame: bytes) -> bool:
        """Send a frame in the pairwise channel with ``node_id``; False where none stands."""
        return self._mesh.send(node_id, frame)

    def enroll(self, session: AgreedSession) -> None:
        """Have a session that no coordinator started receive its envelopes."""
        self._sessions[session.session_id] = session

    def dismiss(self, session: AgreedSession) -> None:
        """The session has ended."""
        self._sessions.pop(session.session_id, None)

    def _ignore(self, kind: str) -> None:
        """Say so once: how long the log becomes is not for a coordinator to decide."""
        if not self._ignored:
            _log.warning("frame ignored, as all of its kind will be", frame=kind, coordinator=self._coordinator_id)
        self._ignored = True

    def _start(self, start: party_pb2.StartSession) -> None:
        try:
            session = self._make_session(start)
        except Refusal as refusal:
            self._refuse(start.route, refusal)
            return
        self._sessions[session.session_id] = session
        task = asyncio.create_task(session.run())
        self._running[start.route] = task

        def ended(finished: asyncio.Task[None]) -> None:
            session.close()
            self._sessions.pop(session.session_id, None)
            self._running.pop(start.route, None)
            self._report_failure(finished)

        task.add_done_callback(ended)
        self._offer_nonces()

    def _make_session(self, start: party_pb2.StartSession) -> PartySession:
        if start.route in self._running:
            raise Refusal(INTENT_INVALID, "the route is taken", rule="route")
        if len(self._running) >= self._services.limits.sessions:
            raise Refusal(OVERLOADED, "this party runs as many sessions as it may", retriable=True)
        services = self._services.session
        ordered = services.admission.read(start.intent, start.authorization)
        participants = tuple((entry.node_id, entry.nonce) for entry in start.participants)
        self._check_participants(participants)
        own = dict(participants)[self._node_id]
        if not self._nonces.redeem(own):
            raise Refusal(
                INTENT_INVALID, "not a nonce that this party offered and nobody used", rule="nonce", retriable=True
            )
        presignature_ids = tuple(start.presignature_ids)
        if len(presignature_ids) > MESSAGES_MAX or any(len(name) != PRESIGNATURE_ID_BYTES for name in presignature_ids):
            raise Refusal(INTENT_INVALID, "not the names of presignatures", rule="presignature")
        deadline_s = min(start.deadline_ms / 1000, self._services.limits.session_s_max)
        return PartySession(
            services=services,
            link=self,
            route=start.route,
            ordered=ordered,
            participants=tuple(node_id for node_id, _ in participants),
            session_id=session_id(ordered.digest, self._roster.roster_hash, participants),
            deadline_s=deadline_s,
            traceparent=start.traceparent,
            presignature_ids=presignature_ids,
        )

    def _check_participants(self, participants: tuple[tuple[str, bytes], ...]) -> None:
        nodes = [self._roster.find_node(node_id) for node_id, _ in participants]
        indices = [node.index for node in nodes if node is not None]
        if len(indices) != len(nodes) or indices != sorted(set(indices)):
            raise Refusal(
                INTENT_INVALID, "the participants are not distinct nodes in the roster's order", rule="participants"
            )
        if self._node_id not in dict(participants):
            raise Refusal(INTENT_INVALID, "this party is not a participant", rule="participants")
        if any(len(nonce) != NONCE_BYTES for _, nonce in participants):
            raise Refusal(INTENT_INVALID, f"a nonce has {NONCE_BYTES} bytes", rule="nonce")

    def _abort(self, abort: party_pb2.AbortSession) -> None:
        task = self._running.get(abort.route)
        if task is not None:
            task.cancel()

    def _refuse(self, route: int, refusal: Refusal) -> None:
        error = refusal.to_proto(signer_pb2.OPERATION_STATE_PREPARE_SIGN)
        self.send(party_pb2.LinkResponse(result=party_pb2.SessionResult(route=route, error=error)))

    def _answer_attest(self, request: party_pb2.AttestAddress) -> None:
        if self._busy():
            full = Refusal(OVERLOADED, "this party attests as much at once as it may", retriable=True)
            error = full.to_proto(signer_pb2.OPERATION_STATE_UNSPECIFIED)
            self.send(party_pb2.LinkResponse(attested=party_pb2.Attested(route=request.route, error=error)))
        else:
            self._spawn(self._attest(request))

    def _answer_activate(self, request: party_pb2.ActivateKey) -> None:
        if self._busy():
            busy = party_pb2.KeyActivated(detail="this party activates as much at once as it may")
            self.send(party_pb2.LinkResponse(activated=busy))
        else:
            self._spawn(self._activate(request))

    async def _attest(self, request: party_pb2.AttestAddress) -> None:
        answer = party_pb2.Attested(route=request.route)
        try:
            async with asyncio.timeout(self._services.limits.session_s_max):
                await self._services.attestor.attest(request, answer)
        except Refusal as refusal:
            answer.error.CopyFrom(refusal.to_proto(signer_pb2.OPERATION_STATE_UNSPECIFIED))
        except (StoreError, TimeoutError):
            failure = Refusal(INTERNAL, "this party cannot attest now", retriable=True)
            answer.error.CopyFrom(failure.to_proto(signer_pb2.OPERATION_STATE_UNSPECIFIED))
        self.send(party_pb2.LinkResponse(attested=answer))

    async def _activate(self, request: party_pb2.ActivateKey) -> None:
        answer = party_pb2.KeyActivated()
        services = self._services.session
        try:
            certificate = verify_certificate(request.certificate, self._roster)
            answer.key_id = certificate.key_id
            await activate(services.store, certificate, request.certificate, services.now_ms())
            answer.active = True
        except (IntentError, Refusal) as error:
            answer.detail = error.detail
        except StoreError:
            answer.detail = "the share store cannot be written"
        self.send(party_pb2.LinkResponse(activated=answer))

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            self._mesh.tend()
            self._pair()

    def _pair(self) -> None:
        """Make what set-ups lack with those who can be reached."""
        for node_id in self._mesh.standing():
            if self._pairing.due(node_id):
                self._spawn(self._pairing.pair(node_id))

    async def _fill(self) -> None:
        while True:
            await asyncio.sleep(FILL_S)
            await self._presigning.fill()

    def _pool_changed(self, pool: Pool) -> None:
        stock = self._services.session.presignatures.stock(pool)
        changed = party_pb2.PresignaturePool(
            key_id=pool.key_id, epoch=pool.epoch, path=pool.path, node_ids=pool.node_ids, presignature_ids=stock
        )
        self.send(party_pb2.LinkResponse(pool=changed))

    def _offer_nonces(self) -> None:
        fresh = self._nonces.replenish()
        if fresh:
            self.send(party_pb2.LinkResponse(nonces=party_pb2.SessionNonces(nonces=fresh)))

    def _open_channel(self, peer: str, channel_id: bytes, *, initiate: bool) -> PairwiseChannel:
        node = self._roster.node(peer)
        pinned = PinnedPeer(node.node_id, node.identity_key, node.identity_certificate)
        make: Callable[..., PairwiseChannel] = PairwiseChannel.client if initiate else PairwiseChannel.server
        return make(
            self._services.identity,
            self._node_id,
            pinned,
            cell_id=self._roster.cell_id,
            channel_id=channel_id,
            utc=datetime.now(UTC),
            now=time.monotonic(),
        )

    def _transmit(self, peer: str, channel_id: bytes, data: bytes) -> None:
        relay = party_pb2.Relay(node_id=peer, channel_id=channel_id, data=data)
        self.send(party_pb2.LinkResponse(relay=relay))

    def _deliver(self, peer: str, frame: bytes) -> None:
        if control.is_control(frame):
            self._hear(peer, frame)
            return
        identifier = peek_session(frame)
        session = self._sessions.get(identifier) if identifier is not None else None
        if session is not None:
            session.receive(peer, frame)

    def _hear(self, peer: str, frame: bytes) -> None:
        """Take what a peer says outside of sessions; each takes a task, and there are only so many at a time."""
        try:
            message = control.decode(frame)
        except DecodeError:
            return
        if self._talks >= TALKS_MAX:
            return
        self._talks += 1
        self._spawn(self._answer(peer, message))

    async def _answer(self, peer: str, message: control.Control) -> None:
        try:
            await self._pairing.take(peer, message)
            await self._presigning.take(peer, message)
        finally:
            self._talks -= 1

    def _channels_changed(self) -> None:
        standing = self._mesh.standing()
        for node_id in set(standing) - self._stood:
            self._presigning.introduce(node_id)
        self._stood = set(standing)
        CHANNELS.labels(self._coordinator_id).set(len(standing))
        self._tell_peers()
        asyncio.get_running_loop().call_soon(self._pair)

    def _tell_peers(self) -> None:
        pairs = self._services.session.pairs
        changed = party_pb2.ChannelsChanged(
            node_ids=self._mesh.standing(), paired_node_ids=pairs.living, banned_node_ids=sorted(pairs.banned)
        )
        self.send(party_pb2.LinkResponse(channels=changed))

    def _busy(self) -> bool:
        return len(self._tasks) > self._services.limits.sessions

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._report_failure)

    def _report_failure(self, task: asyncio.Task[None]) -> None:
        """A task that failed in a way that nobody foresaw ends the link, loudly."""
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        _log.error("link task failed", error=type(error).__name__, coordinator=self._coordinator_id, exc_info=error)
        self.end()

    def end(self) -> None:
        """Have the stream end after what is queued is sent, which may take a while and no longer."""
        if self._last_call is None:
            self._last_call = asyncio.get_running_loop().call_later(DRAIN_S_MAX, self._expel)
            while self.outgoing.full():
                self.outgoing.get_nowait()
            self.outgoing.put_nowait(None)
