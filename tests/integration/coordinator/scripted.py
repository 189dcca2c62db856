"""Parties that follow a script: real gRPC servers over mutual TLS that speak PartyService, without any cryptography
of shares.

The keys of a scripted cell are whole and lie with the cell, so that scripted parties can make signatures and
certificates that verify. Sessions exchange real frames through the coordinator, and what a party does wrong is set in
its :class:`Script`.
"""

import asyncio
import contextlib
import hashlib
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyquorum_core_signer.config import CoordinatorConfig
from keyquorum_core_signer.intents.attestation import build_attestation, encode_attestation
from keyquorum_core_signer.intents.certificate import (
    KeyCertificate,
    assemble_certificate,
    build_certificate,
    encode_certificate,
    verify_certificate,
)
from keyquorum_core_signer.intents.effects import CodecRef, MessageToSign
from keyquorum_core_signer.intents.intent import CreateKey, Intent, Sign, encode_intent, intent_hash, parse_intent
from keyquorum_core_signer.intents.policy import Policy
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Node, Roster, Tenant
from keyquorum_core_signer.wire.certificates import Credentials, identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import ADDRESS_TAG, INTENT_TAG, KEY_CERTIFICATE_TAG, IdentityKey
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from keyquorum_protos.signer.v1 import intent_pb2, signer_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2

SCHEME = "eddsa_ed25519"
CHAIN = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
CODEC = CodecRef("solana", "0.1.0", hashlib.sha256(b"codec").digest())
NONCES = 16


@dataclass
class Script:
    """What a party does otherwise than it should."""

    silent: bool = False  # admits nothing, answers nothing
    stop_after: int | None = None  # says nothing more once it finished that round
    die_after: int | None = None  # its process ends once it finished that round
    think_s: float = 0.0  # before each round
    error: signer_pb2.OperationError | None = None  # answers every session so
    signatures: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] | None = None
    certificate: Callable[[certificate_pb2.SignedKeyCertificate], certificate_pb2.SignedKeyCertificate] | None = None
    withhold_result: bool = False
    attestation: Callable[[party_pb2.Attested], None] | None = None
    hello: Callable[[party_pb2.PartyHello], None] | None = None
    relay_bytes: int = 64  # size of a session's frames between parties
    progress: bool = True


@dataclass
class ScriptedCell:
    """Identities, roster, whole keys and initiators of a cell, and where its coordinator keeps its files."""

    folder: Path
    identities: dict[str, IdentityKey]
    transports: dict[str, Credentials]
    roster: Roster
    root: IdentityKey
    gateway: Credentials
    coordinator: Credentials
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    certificates: dict[str, certificate_pb2.SignedKeyCertificate] = field(default_factory=dict)
    parties: dict[str, "ScriptedParty"] = field(default_factory=dict)

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(node.node_id for node in self.roster.nodes)

    def intent(self, command, *, valid_s: float = 60.0, nonce: bytes | None = None, **changes) -> bytes:
        """An intent of the cell's initiator."""
        fields = {
            "cell_id": self.roster.cell_id,
            "tenant_id": "default",
            "initiator_key": self.root.public,
            "nonce": nonce or secrets.token_bytes(32),
            "valid_until_ms": int((time.time() + valid_s) * 1000),
            "roster_hash": self.roster.roster_hash,
            "command": command,
        }
        return encode_intent(Intent(**(fields | changes)))

    def authorize(self, data: bytes) -> intent_pb2.Authorization:
        """The initiator's signature."""
        return intent_pb2.Authorization(public_key=self.root.public, signature=self.root.sign(INTENT_TAG, data))

    def create(self, key_id: str, *, threshold: int = 2) -> CreateKey:
        return CreateKey(
            key_id=key_id,
            wallet_id=f"wal_of_{key_id}",
            user_id="user-1",
            scheme=SCHEME,
            threshold=threshold,
            node_ids=self.node_ids,
            policy=Policy((self.root.public,), (), allow_raw=True),
        )

    def sign(self, key_id: str, *messages: bytes, path: tuple[int, ...] = ()) -> Sign:
        return Sign(key_id, SCHEME, tuple(MessageToSign(message, path) for message in messages or (b"hello",)))

    def certify(self, data: bytes) -> certificate_pb2.SignedKeyCertificate:
        """What the parties make of a create_key intent: the same certificate, whoever asks."""
        intent = parse_intent(data)
        key_id = intent.command.key_id
        if key_id not in self.certificates:
            key = self.keys.setdefault(key_id, Ed25519PrivateKey.generate())
            self.certificates[key_id] = self.certificate_of(data, key)
        return self.certificates[key_id]

    def certificate_of(self, data: bytes, key: Ed25519PrivateKey) -> certificate_pb2.SignedKeyCertificate:
        intent = parse_intent(data)
        statement = encode_certificate(
            build_certificate(
                intent,
                intent_hash(data),
                self.roster,
                public_key=key.public_key().public_bytes_raw(),
                chain_code=bytes(32),
                public_shares=[bytes([index + 1]) * 32 for index, _ in enumerate(intent.command.node_ids)],
                transcript_hash=hashlib.sha256(data).digest(),
            )
        )
        signatures = {
            node_id: self.identities[node_id].sign(KEY_CERTIFICATE_TAG, statement)
            for node_id in intent.command.node_ids
        }
        return assemble_certificate(statement, signatures)

    def config(self, **changes) -> CoordinatorConfig:
        """A coordinator's configuration, with short deadlines."""
        table = {
            "coordinator_id": "coordinator-1",
            "roster": self.folder / "roster.toml",
            "listen": "127.0.0.1:0",
            "transport": {"certificate": self.folder / "coordinator.pem", "key": self.folder / "coordinator.key"},
            "operations": {"path": self.folder / "operations.sqlite3"},
            "deadlines": {
                "sign_ms": 1000,
                "create_key_ms": 2000,
                "operation_ms": 8000,
                "attest_ms": 2000,
                "shutdown_ms": 1000,
            },
        }
        return CoordinatorConfig.model_validate(table | changes)

    async def start(self, *node_ids: str) -> None:
        for node_id in node_ids or self.node_ids:
            self.parties[node_id] = ScriptedParty(self, node_id)
            await self.parties[node_id].start()

    async def stop(self) -> None:
        for party in self.parties.values():
            await party.kill()


class ScriptedParty(party_pb2_grpc.PartyServiceServicer):
    """One party, by its script."""

    def __init__(self, cell: ScriptedCell, node_id: str) -> None:
        self.cell = cell
        self.node_id = node_id
        self.node = cell.roster.node(node_id)
        self.script = Script()
        self.prepared: list[str] = []
        self.started: list[party_pb2.StartSession] = []
        self.aborted: list[int] = []
        self.activated: list[str] = []
        self.received: list[party_pb2.Relay] = []
        self.links = 0
        self.link: ScriptedLink | None = None
        self.server: grpc.aio.Server | None = None

    async def start(self) -> None:
        credentials = self.cell.transports[self.node_id]
        self.server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 5000)])
        party_pb2_grpc.add_PartyServiceServicer_to_server(self, self.server)
        roots = "".join(entry.transport_certificate for entry in self.cell.roster.coordinators).encode()
        pair = (credentials.private_key, credentials.certificate.encode())
        self.server.add_secure_port(
            self.node.address, grpc.ssl_server_credentials([pair], roots, require_client_auth=True)
        )
        await self.server.start()

    async def kill(self) -> None:
        """End at once: streams break, the port is closed."""
        server, self.server = self.server, None
        if server is not None:
            await server.stop(None)

    async def Link(self, requests, context):  # noqa: N802 - the service's name
        hello = (await anext(requests)).hello
        assert hello.roster_hash == self.cell.roster.roster_hash
        self.links += 1
        link = self.link = ScriptedLink(self)
        reader = asyncio.create_task(link.read(requests))
        try:
            link.greet()
            yield await link.outgoing.get()  # the hello, alone
            while (frame := await link.next_frame()) is not None:
                yield frame
        finally:
            reader.cancel()
            link.close()


class ScriptedLink:
    """One stream of a scripted party: nonces, pretended channels, sessions."""

    def __init__(self, party: ScriptedParty) -> None:
        self.party = party
        self.cell = party.cell
        self.me = party.node_id
        self.outgoing: asyncio.Queue[party_pb2.LinkResponse | None] = asyncio.Queue()
        self.reachable: set[str] = set()
        self.standing: set[str] = set()
        self.nonces: set[bytes] = set()
        self.sessions: dict[bytes, ScriptedSession] = {}
        self.early: dict[bytes, list[tuple[str, int]]] = {}
        self.tasks: set[asyncio.Task] = set()

    async def next_frame(self) -> party_pb2.LinkResponse | None:
        """All that waits, as one message."""
        frames = [await self.outgoing.get()]
        while not self.outgoing.empty() and frames[-1] is not None:
            frames.append(self.outgoing.get_nowait())
        if None in frames:
            return None
        return (
            frames[0] if len(frames) == 1 else party_pb2.LinkResponse(batch=party_pb2.LinkResponseBatch(frames=frames))
        )

    def send(self, **frame) -> None:
        self.outgoing.put_nowait(party_pb2.LinkResponse(**frame))

    def greet(self) -> None:
        hello = party_pb2.PartyHello(
            node_id=self.me,
            cell_id=self.cell.roster.cell_id,
            roster_hash=self.cell.roster.roster_hash,
            version="scripted",
            kek_kind="soft",
            prepared_key_ids=self.party.prepared,
        )
        if self.party.script.hello is not None:
            self.party.script.hello(hello)
        self.send(hello=hello)
        self.offer()

    def offer(self) -> None:
        fresh = [secrets.token_bytes(32) for _ in range(NONCES - len(self.nonces))]
        self.nonces.update(fresh)
        self.send(nonces=party_pb2.SessionNonces(nonces=fresh))

    def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    async def read(self, requests) -> None:
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            async for request in requests:
                batched = request.WhichOneof("frame") == "batch"
                for frame in request.batch.frames if batched else [request]:
                    kind = frame.WhichOneof("frame")
                    getattr(self, f"on_{kind}")(getattr(frame, kind))
        self.outgoing.put_nowait(None)

    def on_peers(self, peers) -> None:
        reachable = set(peers.node_ids) - {self.me}
        if self.standing - reachable:
            self.standing &= reachable
            self.tell_channels()
        for peer in reachable - self.reachable:
            if self.cell.roster.node(peer).index > self.party.node.index:
                self.relay(peer, b"\x01open")
        self.reachable = reachable

    def on_relay(self, relay) -> None:
        self.party.received.append(relay)
        if relay.data == b"\x01open":
            self.relay(relay.node_id, b"\x02opened")
            self.stand(relay.node_id)
        elif relay.data == b"\x02opened":
            self.stand(relay.node_id)
        elif relay.data[:1] == b"\x03":
            session_id, round_number = relay.data[1:33], relay.data[33]
            session = self.sessions.get(session_id)
            if session is None:
                self.early.setdefault(session_id, []).append((relay.node_id, round_number))
            else:
                session.receive(relay.node_id, round_number)

    def stand(self, peer: str) -> None:
        self.standing.add(peer)
        self.tell_channels()

    def tell_channels(self) -> None:
        self.send(channels=party_pb2.ChannelsChanged(node_ids=sorted(self.standing)))

    def relay(self, peer: str, data: bytes) -> None:
        self.send(relay=party_pb2.Relay(node_id=peer, channel_id=bytes(16), data=data))

    def on_start(self, start) -> None:
        self.party.started.append(start)
        own = {participant.node_id: participant.nonce for participant in start.participants}[self.me]
        assert own in self.nonces, "a nonce that was not offered, or twice"
        self.nonces.remove(own)
        if len(self.nonces) * 2 <= NONCES:
            self.offer()
        if self.party.script.silent:
            return
        if self.party.script.error is not None:
            self.send(result=party_pb2.SessionResult(route=start.route, error=self.party.script.error))
            return
        session = ScriptedSession(self, start)
        self.sessions[session.session_id] = session
        for peer, round_number in self.early.pop(session.session_id, ()):
            session.receive(peer, round_number)
        task = asyncio.create_task(session.run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_abort(self, abort) -> None:
        self.party.aborted.append(abort.route)

    def on_activate(self, activate) -> None:
        certificate = verify_certificate(activate.certificate, self.cell.roster)
        self.party.activated.append(certificate.key_id)
        self.send(activated=party_pb2.KeyActivated(key_id=certificate.key_id, active=True))

    def on_attest(self, attest) -> None:
        answer = party_pb2.Attested(route=attest.route)
        if self.party.script.error is not None:
            answer.error.CopyFrom(self.party.script.error)
        elif not self.party.script.silent:
            self.attest(attest, answer)
            if self.party.script.attestation is not None:
                self.party.script.attestation(answer)
        else:
            return
        self.send(attested=answer)

    def attest(self, attest, answer) -> None:
        certificate: KeyCertificate = verify_certificate(self.cell.certificates[attest.key_id], self.cell.roster)
        statement = encode_attestation(
            build_attestation(
                certificate,
                path=tuple(attest.path),
                chain=attest.chain,
                address=f"address-of-{attest.key_id}",
                public_key=certificate.public_key,
                codec=CODEC,
            )
        )
        answer.attestation = statement
        answer.signature.node_id = self.me
        answer.signature.signature = self.cell.identities[self.me].sign(ADDRESS_TAG, statement)


class ScriptedSession:
    """A session: in each round every participant sends a frame to every other one and waits for theirs."""

    def __init__(self, link: ScriptedLink, start: party_pb2.StartSession) -> None:
        self.link = link
        self.start = start
        self.intent = parse_intent(start.intent)
        self.others = [p.node_id for p in start.participants if p.node_id != link.me]
        nonces = b"".join(participant.nonce for participant in start.participants)
        self.session_id = hashlib.sha256(intent_hash(start.intent) + nonces).digest()
        self.rounds: dict[int, set[str]] = {}
        self.arrived = asyncio.Event()

    @property
    def script(self) -> Script:
        return self.link.party.script

    def receive(self, peer: str, round_number: int) -> None:
        self.rounds.setdefault(round_number, set()).add(peer)
        self.arrived.set()

    async def run(self) -> None:
        if not await self.finish(0):
            return
        for round_number in range(1, 4 if isinstance(self.intent.command, CreateKey) else 3):
            if self.script.think_s:
                await asyncio.sleep(self.script.think_s)
            head = b"\x03" + self.session_id + bytes([round_number])
            for peer in self.others:
                self.link.relay(peer, head + bytes(self.script.relay_bytes))
            while self.rounds.get(round_number, set()) != set(self.others):
                self.arrived.clear()
                await self.arrived.wait()
            if not await self.finish(round_number):
                return
        self.report()

    async def finish(self, round_number: int) -> bool:
        if self.script.progress:
            self.link.send(progress=party_pb2.SessionProgress(route=self.start.route, round=round_number))
        if self.script.die_after == round_number:
            self.script.die_after = None
            await asyncio.sleep(0.02)  # what it said before is on its way
            await asyncio.shield(asyncio.ensure_future(self.link.party.kill()))
            return False
        return self.script.stop_after != round_number

    def report(self) -> None:
        result = party_pb2.SessionResult(route=self.start.route)
        command = self.intent.command
        if isinstance(command, CreateKey):
            certificate = self.link.cell.certify(self.start.intent)
            change = self.script.certificate
            result.certificate.CopyFrom(change(certificate) if change else certificate)
        else:
            made = tuple(self.signature(message) for message in command.messages)
            change = self.script.signatures
            result.signatures.extend(change(made) if change else made)
        if not self.script.withhold_result:
            self.link.send(result=result)

    def signature(self, message: MessageToSign) -> bytes:
        if message.path:  # a derived key, which nobody here derives: the same bytes at every party
            return hashlib.sha512(repr(message).encode()).digest()
        return self.link.cell.keys[self.intent.command.key_id].sign(message.message)


def make_scripted_cell(folder: Path, parties: int = 3) -> ScriptedCell:
    """A cell whose files lie in ``folder``, with ports that were free a moment ago."""
    utc = datetime.now(UTC)
    identities, transports, nodes = {}, {}, []
    for index, port in enumerate(free_ports(parties), start=1):
        node_id = f"party-{index}"
        identities[node_id] = IdentityKey.generate()
        transports[node_id] = transport_credentials([node_id], utc)
        nodes.append(
            Node(
                node_id=node_id,
                index=index,
                identity_key=identities[node_id].public,
                identity_certificate=identity_certificate(identities[node_id], node_id, utc),
                transport_certificate=transports[node_id].certificate,
                address=f"127.0.0.1:{port}",
            )
        )
    root = IdentityKey.generate()
    gateway = transport_credentials(["gateway-1"], utc)
    coordinator = transport_credentials(["coordinator-1"], utc)
    roster = Roster(
        cell_id="cell-test",
        nodes=tuple(nodes),
        coordinators=(Coordinator("coordinator-1", coordinator.certificate),),
        gateways=(Gateway("gateway-1", gateway.certificate),),
        tenants=(Tenant("default", (root.public,)),),
    )
    (folder / "roster.toml").write_text(roster.dump())
    (folder / "coordinator.pem").write_text(coordinator.certificate)
    key = folder / "coordinator.key"
    key.touch(mode=0o600)
    key.write_bytes(coordinator.private_key)
    return ScriptedCell(folder, identities, transports, roster, root, gateway, coordinator)


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
