"""A coordinator under a test's control: real gRPC links to real parties, and a hand on every frame.

It can do all that a compromised coordinator can: it holds the coordinator's TLS key, sees and changes every frame, and
orders whatever it likes. What it lacks is every key that the parties believe.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from keyquorum_core_signer.intents.effects import CodecRef, Effect, MessageToSign
from keyquorum_core_signer.intents.intent import CreateKey, Intent, Sign, encode_intent
from keyquorum_core_signer.intents.policy import AssetLimit, Policy
from keyquorum_core_signer.wire.certificates import Credentials
from keyquorum_core_signer.wire.identity import INTENT_TAG, IdentityKey
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from keyquorum_protos.signer.v1 import intent_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2
from support.cell import Cell

RelayHook = Callable[[str, str, party_pb2.Relay], Iterable[tuple[str, party_pb2.Relay]]]
"""(from, to, relay) -> what is handed on: (to, relay) pairs; none to withhold, several to replay."""

SCHEME = "eddsa_ed25519"
CHAIN = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
SOL = f"{CHAIN}/slip44:501"


def forward(_sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
    """An honest relay."""
    return ((recipient, relay),)


def withhold_from(victim: str, frames: int) -> RelayHook:
    """Hands on everything but what comes to one party after that many frames from each peer."""
    counted: Counter[str] = Counter()

    def hook(sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
        if recipient != victim:
            return ((recipient, relay),)
        counted[sender] += 1
        return ((recipient, relay),) if counted[sender] <= frames else ()

    return hook


@dataclass
class PartyLink:
    """One open stream to a party."""

    node_id: str
    outgoing: asyncio.Queue[party_pb2.LinkRequest | None] = field(default_factory=asyncio.Queue)
    hello: asyncio.Future[party_pb2.PartyHello] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    nonces: list[bytes] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    paired: set[str] = field(default_factory=set)
    banned: set[str] = field(default_factory=set)
    ended: BaseException | None = None


@dataclass
class HostileCoordinator:
    """Links to every party of a cell; ``hook`` decides what becomes of each relayed frame."""

    cell: Cell
    hook: RelayHook = forward
    links: dict[str, PartyLink] = field(default_factory=dict)
    results: dict[tuple[str, int], asyncio.Future[party_pb2.SessionResult]] = field(default_factory=dict)
    attested: dict[tuple[str, int], asyncio.Future[party_pb2.Attested]] = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    relayed: list[tuple[str, str, party_pb2.Relay]] = field(default_factory=list)
    activated: asyncio.Queue[party_pb2.KeyActivated] = field(default_factory=asyncio.Queue)
    _route: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connected(
        self, nodes: Sequence[str] | None = None, *, channels: bool = True
    ) -> AsyncIterator["HostileCoordinator"]:
        """Open links, wait until all pairwise channels stand unless told not to, and close the links at the end."""
        nodes = tuple(nodes or self.cell.nodes)
        self.links = {node_id: PartyLink(node_id) for node_id in nodes}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run(node_id)) for node_id in nodes]
            try:
                async with asyncio.timeout(20):
                    for node_id in nodes:
                        await self.links[node_id].hello
                    self.announce(nodes)
                    if channels:
                        await self.standing(nodes)
                yield self
            finally:
                for task in tasks:
                    task.cancel()

    def announce(self, nodes: Sequence[str]) -> None:
        """Tell every party which nodes can be reached."""
        for node_id in nodes:
            self.send(node_id, party_pb2.LinkRequest(peers=party_pb2.PeersChanged(node_ids=nodes)))

    async def standing(self, nodes: Sequence[str]) -> None:
        """Wait until each of ``nodes`` has a channel with every other."""
        while not all(set(nodes) - {node} <= self.links[node].channels for node in nodes):
            self._changed.clear()
            await self._changed.wait()

    async def paired(self, nodes: Sequence[str]) -> None:
        """Wait until each of ``nodes`` is paired with every other: then nothing but sessions is relayed."""
        async with asyncio.timeout(20):
            while not all(set(nodes) - {node} <= self.links[node].paired for node in nodes):
                self._changed.clear()
                await self._changed.wait()

    def send(self, node_id: str, frame: party_pb2.LinkRequest) -> None:
        """Send any frame to a party."""
        self.links[node_id].outgoing.put_nowait(frame)

    def nonce(self, node_id: str) -> bytes:
        """One of the nonces that a party offered."""
        return self.links[node_id].nonces.pop()

    def start(
        self,
        nodes: Sequence[str],
        intent: bytes,
        authorization: intent_pb2.Authorization,
        *,
        nonces: Sequence[bytes] | None = None,
        change: Callable[[str, party_pb2.StartSession], None] | None = None,
        deadline_ms: int = 5000,
    ) -> dict[str, asyncio.Future[party_pb2.SessionResult]]:
        """Order a session; ``change`` may alter what each party is told."""
        self._route += 1
        route = self._route
        taken = list(nonces) if nonces is not None else [self.nonce(node) for node in nodes]
        for node in nodes:
            self.results[node, route] = asyncio.get_running_loop().create_future()
        for node in nodes:
            order = party_pb2.StartSession(
                route=route,
                intent=intent,
                authorization=authorization,
                participants=[
                    party_pb2.Participant(node_id=member, nonce=nonce)
                    for member, nonce in zip(nodes, taken, strict=True)
                ],
                deadline_ms=deadline_ms,
            )
            if change is not None:
                change(node, order)
            self.send(node, party_pb2.LinkRequest(start=order))
        return {node: self.results[node, route] for node in nodes}

    async def run(
        self,
        nodes: Sequence[str],
        intent: bytes,
        authorization: intent_pb2.Authorization,
        *,
        nonces: Sequence[bytes] | None = None,
        change: Callable[[str, party_pb2.StartSession], None] | None = None,
        deadline_ms: int = 5000,
    ) -> dict[str, party_pb2.SessionResult]:
        """Order a session and wait for every party's result."""
        futures = self.start(nodes, intent, authorization, nonces=nonces, change=change, deadline_ms=deadline_ms)
        async with asyncio.timeout(deadline_ms / 1000 + 10):
            return {node: await future for node, future in futures.items()}

    async def attest(self, node_id: str, key_id: str, path: Sequence[int] = (), **other: str) -> party_pb2.Attested:
        """Ask one party for an address."""
        self._route += 1
        answer = self.attested[node_id, self._route] = asyncio.get_running_loop().create_future()
        request = party_pb2.AttestAddress(
            route=self._route,
            key_id=key_id,
            path=path,
            chain=other.get("chain", CHAIN),
            codec=other.get("codec", "solana"),
        )
        self.send(node_id, party_pb2.LinkRequest(attest=request))
        async with asyncio.timeout(10):
            return await answer

    async def create_key(self, **policy: object) -> certificate_pb2.SignedKeyCertificate:
        """Make a key honestly; its certificate."""
        data, authorization = create_intent(self.cell, **policy)
        results = await self.run(self.cell.nodes, data, authorization, deadline_ms=10_000)
        (certificate, *others) = [result.certificate for result in results.values()]
        assert all(other == certificate for other in others), results
        assert certificate.certificate, results
        return certificate

    async def _run(self, node_id: str) -> None:
        link = self.links[node_id]
        async with channel_to(self.cell, node_id, self.cell.coordinator) as channel:
            hello = party_pb2.LinkHello(
                coordinator_id="coordinator-1",
                cell_id=self.cell.roster.cell_id,
                roster_hash=self.cell.roster.roster_hash,
            )
            link.outgoing.put_nowait(party_pb2.LinkRequest(hello=hello))
            stub = party_pb2_grpc.PartyServiceStub(channel)
            try:
                async for frame in stub.Link(_frames(link)):
                    batched = frame.WhichOneof("frame") == "batch"
                    assert not batched or link.hello.done(), "a link begins with a hello alone"
                    for single in frame.batch.frames if batched else (frame,):
                        self._take(link, single)
            except grpc.aio.AioRpcError as error:
                link.ended = error

    def _take(self, link: PartyLink, frame: party_pb2.LinkResponse) -> None:
        match frame.WhichOneof("frame"):
            case "hello":
                link.hello.set_result(frame.hello)
            case "nonces":
                link.nonces.extend(frame.nonces.nonces)
            case "channels":
                link.channels = set(frame.channels.node_ids)
                link.paired = set(frame.channels.paired_node_ids)
                link.banned = set(frame.channels.banned_node_ids)
                self._changed.set()
            case "relay":
                self._relay(link.node_id, frame.relay)
            case "progress":
                self.progress.append((link.node_id, frame.progress.route, frame.progress.round))
            case "result":
                future = self.results.get((link.node_id, frame.result.route))
                if future is not None and not future.done():
                    future.set_result(frame.result)
            case "attested":
                self.attested[link.node_id, frame.attested.route].set_result(frame.attested)
            case "activated":
                self.activated.put_nowait(frame.activated)

    def _relay(self, sender: str, relay: party_pb2.Relay) -> None:
        recipient = relay.node_id
        handed_on = party_pb2.Relay(node_id=sender, channel_id=relay.channel_id, data=relay.data)
        self.relayed.append((sender, recipient, handed_on))
        for target, changed in self.hook(sender, recipient, handed_on):
            if target in self.links:
                self.send(target, party_pb2.LinkRequest(relay=changed))


async def _frames(link: PartyLink) -> AsyncIterator[party_pb2.LinkRequest]:
    while (frame := await link.outgoing.get()) is not None:
        yield frame


@asynccontextmanager
async def channel_to(cell: Cell, node_id: str, credentials: Credentials) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to a party, with any TLS credentials."""
    node = cell.roster.node(node_id)
    tls = grpc.ssl_channel_credentials(
        root_certificates=node.transport_certificate.encode(),
        private_key=credentials.private_key,
        certificate_chain=credentials.certificate.encode(),
    )
    options = (("grpc.ssl_target_name_override", node_id),)
    async with grpc.aio.secure_channel(node.address, tls, options=options) as channel:
        yield channel


def authorize(data: bytes, key: IdentityKey) -> intent_pb2.Authorization:
    """An initiator's proof."""
    return intent_pb2.Authorization(public_key=key.public, signature=key.sign(INTENT_TAG, data))


def wrap(cell: Cell, initiator: IdentityKey, command: CreateKey | Sign, **fields: object) -> bytes:
    """Intent bytes around a command."""
    intent = Intent(
        cell_id=str(fields.get("cell_id", cell.roster.cell_id)),
        tenant_id=str(fields.get("tenant_id", "tenant-1")),
        initiator_key=initiator.public,
        nonce=fields.get("nonce") or secrets.token_bytes(32),  # type: ignore[arg-type]
        valid_until_ms=int(fields.get("valid_until_ms") or time.time() * 1000 + 60_000),  # type: ignore[call-overload]
        roster_hash=fields.get("roster_hash") or cell.roster.roster_hash,  # type: ignore[arg-type]
        command=command,
    )
    return encode_intent(intent)


def create_intent(cell: Cell, **fields: object) -> tuple[bytes, intent_pb2.Authorization]:
    """An honest create_key intent, signed by the tenant's root key."""
    per_transaction, per_window = int(fields.get("per_transaction", 10**9)), int(fields.get("per_window", 10**10))  # type: ignore[call-overload]
    limit = AssetLimit(SOL, per_transaction, per_window, int(fields.get("window_s", 86_400)))  # type: ignore[call-overload]
    policy = Policy((cell.initiator.public,), (limit,), allow_raw=bool(fields.get("allow_raw", True)))
    command = CreateKey(
        key_id=str(fields.get("key_id") or f"key_{secrets.token_hex(16)}"),
        wallet_id=f"wal_{secrets.token_hex(16)}",
        user_id="user-1",
        scheme=str(fields.get("scheme", SCHEME)),
        threshold=int(fields.get("threshold", 2)),  # type: ignore[call-overload]
        node_ids=tuple(cell.nodes),
        policy=policy,
        protocol=str(fields.get("protocol", "")),
    )
    data = wrap(cell, cell.root, command)
    return data, authorize(data, cell.root)


def raw_intent(
    cell: Cell, key_id: str, *messages: bytes, path: tuple[int, ...] = (), **fields: object
) -> tuple[bytes, intent_pb2.Authorization]:
    """A signing intent over raw messages, signed by the initiator that the policy names."""
    command = Sign(key_id=key_id, scheme=SCHEME, messages=tuple(MessageToSign(message, path) for message in messages))
    data = wrap(cell, cell.initiator, command, **fields)
    return data, authorize(data, cell.initiator)


def explained_intent(
    cell: Cell, key_id: str, payload: bytes, messages: Sequence[bytes], effects: Sequence[Effect], **fields: object
) -> tuple[bytes, intent_pb2.Authorization]:
    """A signing intent over a payload that the pinned codec explains."""
    command = Sign(
        key_id=key_id,
        scheme=SCHEME,
        messages=tuple(MessageToSign(message) for message in messages),
        chain=str(fields.get("chain", CHAIN)),
        codec=CodecRef(*cell.codec_ref),
        unsigned_payload=payload,
        effects=tuple(effects),
    )
    data = wrap(cell, cell.initiator, command, **fields)
    return data, authorize(data, cell.initiator)
