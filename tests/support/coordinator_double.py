"""A coordinator of one process for the gateway's own tests: real gRPC, real mTLS, real statements and signatures.

It holds whole Ed25519 keys, which no real cell does, and reads intents with the core signer's own strict parser, so that an
intent that a party would refuse as malformed is refused here. ``behaviour`` holds the switches for what a hostile or
failing coordinator does.
"""

# ruff: noqa: N802 - the services' own names
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from toychain.codec import address_of

from keyquorum_core_signer.coordinator.failures import Failure
from keyquorum_core_signer.coordinator.status import abort
from keyquorum_core_signer.intents.attestation import AddressAttestation, encode_attestation
from keyquorum_core_signer.intents.certificate import KeyCertificate, encode_certificate
from keyquorum_core_signer.intents.effects import CodecRef
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import (
    CreateKey,
    Intent,
    Sign,
    intent_hash,
    operation_id,
    parse_intent,
    verify_authorization,
)
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.wire.identity import ADDRESS_TAG, KEY_CERTIFICATE_TAG, IdentityKey
from keyquorum_protos.signer.v1 import intent_pb2, signer_pb2, signer_pb2_grpc
from keyquorum_protos.wallet.v1 import certificate_pb2, wallet_pb2, wallet_pb2_grpc

ROUNDS = (
    signer_pb2.OPERATION_STATE_KEY_SHARE,
    signer_pb2.OPERATION_STATE_PREPARE_SIGN,
    signer_pb2.OPERATION_STATE_SIGN_ROUND1,
    signer_pb2.OPERATION_STATE_SIGN_ROUND2,
    signer_pb2.OPERATION_STATE_VERIFY,
)


def new_key() -> Ed25519PrivateKey:
    """A key that no real cell would hold in one place."""
    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Its public half."""
    return key.public_key().public_bytes_raw()


@dataclass
class Behaviour:
    """What goes wrong, and where the double stops."""

    failure: tuple[str, bool] | None = None  # (code, retriable): every new run fails like this
    gate: asyncio.Event | None = None  # runs wait here before their last step
    break_after: int = 0  # the stream breaks after so many events, once
    certificate: Callable[[KeyCertificate], KeyCertificate] | None = None
    certificate_signers: Callable[[str], IdentityKey | None] | None = None
    attestation: Callable[[AddressAttestation], AddressAttestation] | None = None
    attestation_signers: Callable[[str], IdentityKey | None] | None = None
    signature: Callable[[bytes], bytes] | None = None
    admit: Callable[[Intent], Awaitable[None]] | None = None
    abort: Failure | None = None  # every call ends with this status
    mangle: Callable[[signer_pb2.OperationEvent], list[signer_pb2.OperationEvent]] | None = None


@dataclass
class Run:
    """One operation."""

    order: bytes
    events: list[signer_pb2.OperationEvent] = field(default_factory=list)
    begins: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    sent: int = 0


class CoordinatorDouble(signer_pb2_grpc.SignerServiceServicer, wallet_pb2_grpc.WalletServiceServicer):
    """See the module."""

    def __init__(self, roster: Roster, identities: dict[str, IdentityKey], codec: CodecRef) -> None:
        self.roster = roster
        self.identities = identities
        self.codec = codec
        self.behaviour = Behaviour()
        self.schemes = {"eddsa_ed25519"}
        self.connected = set(identities)
        self.keys: dict[str, Ed25519PrivateKey] = {}
        self.children: dict[tuple[str, tuple[int, ...]], Ed25519PrivateKey] = {}
        self.certificates: dict[str, tuple[KeyCertificate, certificate_pb2.SignedKeyCertificate]] = {}
        self.runs: dict[str, Run] = {}
        self.traceparents: list[str] = []

    @property
    def sign_intents(self) -> list[Intent]:
        """Every distinct intent to sign that arrived."""
        return [i for i in map(parse_intent, (run.order for run in self.runs.values())) if isinstance(i.command, Sign)]

    def signer(self, key_id: str, path: tuple[int, ...]) -> Ed25519PrivateKey:
        """The key at a path: the certified one, or a child that was made up."""
        return self.keys[key_id] if not path else self.children.setdefault((key_id, path), new_key())

    async def CreateKey(self, request, context):
        """Make a key."""
        async for event in self._follow(request, context):
            yield signer_pb2.CreateKeyResponse(events=[event])

    async def Sign(self, request, context):
        """Sign."""
        async for event in self._follow(request, context):
            yield signer_pb2.SignResponse(events=[event])

    async def GetOperation(self, request, context):
        """One operation."""
        run = self.runs.get(request.operation_id)
        if run is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no operation of this id")
        return signer_pb2.GetOperationResponse(events=run.events)

    async def ListParties(self, request, context):
        """The parties."""
        ref = intent_pb2.CodecRef(name=self.codec.name, version=self.codec.version, sha256=self.codec.sha256)
        return signer_pb2.ListPartiesResponse(
            parties=[
                signer_pb2.PartyStatus(
                    node_id=node.node_id,
                    index=node.index,
                    connected=node.node_id in self.connected,
                    since_ms=1_700_000_000_000,
                    version="0.1.0",
                    codecs=[ref],
                    channels=sorted(self.connected - {node.node_id}),
                    kek_kind="soft",
                    identity_key=node.identity_key,
                )
                for node in self.roster.nodes
            ],
            roster_hash=self.roster.roster_hash,
            cell_id=self.roster.cell_id,
        )

    async def AttestAddress(self, request, context):
        """Every party attests."""
        if self.behaviour.abort is not None:
            await abort(context, self.behaviour.abort)
        if request.key_id not in self.certificates:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such key")
        certificate, signed = self.certificates[request.key_id]
        path = tuple(request.path)
        public_key = certificate.public_key if not path else public_bytes(self.signer(request.key_id, path))
        attestation = AddressAttestation(
            cell_id=certificate.cell_id,
            wallet_id=certificate.wallet_id,
            key_id=certificate.key_id,
            certificate_hash=sha256(signed.certificate).digest(),
            path=path,
            chain=request.chain,
            address=address_of(public_key),
            public_key=public_key,
            codec=self.codec,
        )
        if self.behaviour.attestation is not None:
            attestation = self.behaviour.attestation(attestation)
        data = encode_attestation(attestation)
        signatures = self._signatures(ADDRESS_TAG, data, self.behaviour.attestation_signers)
        return wallet_pb2.AttestAddressResponse(
            attestation=certificate_pb2.SignedAddressAttestation(attestation=data, signatures=signatures)
        )

    async def _follow(self, request, context) -> AsyncIterator[signer_pb2.OperationEvent]:
        if self.behaviour.abort is not None:
            await abort(context, self.behaviour.abort)
        self.traceparents += [value for name, value in context.invocation_metadata() if name == "traceparent"]
        try:
            intent = parse_intent(request.intent)
            verify_authorization(intent, request.intent, request.authorization)
        except IntentError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.detail)
        name = operation_id(request.intent)
        run = self.runs.get(name)
        if run is None or (run.events and run.events[-1].error.retriable):
            run = self._start(name, request.intent, intent, run)
        run.sent += 1
        position, told = run.begins, 0
        while True:
            while position < len(run.events):
                if self.behaviour.break_after and told == self.behaviour.break_after:
                    self.behaviour.break_after = 0
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke")
                event = run.events[position]
                position, told = position + 1, told + 1
                for each in self.behaviour.mangle(event) if self.behaviour.mangle else [event]:
                    yield each
                if event.state in (signer_pb2.OPERATION_STATE_COMPLETE, signer_pb2.OPERATION_STATE_FAILED):
                    return
            await run.changed.wait()

    def _start(self, name: str, order: bytes, intent: Intent, earlier: Run | None) -> Run:
        run = self.runs[name] = earlier or Run(order)
        run.begins = len(run.events)
        run.task = asyncio.create_task(self._run(run, name, intent))
        return run

    async def _run(self, run: Run, name: str, intent: Intent) -> None:
        started = time.perf_counter()
        for number, state in enumerate(ROUNDS):
            self._tell(run, name, state, round=number - 1 if number >= 2 else 0)
        if self.behaviour.gate is not None:
            await self.behaviour.gate.wait()
        if self.behaviour.admit is not None:
            await self.behaviour.admit(intent)
        failure = self.behaviour.failure
        command = intent.command
        if failure is None and isinstance(command, Sign) and command.key_id not in self.keys:
            failure = ("key-not-found", False)
        if failure is None and isinstance(command, CreateKey) and command.scheme not in self.schemes:
            failure = ("scheme-unavailable", False)
        if failure is not None:
            code, retriable = failure
            stage = signer_pb2.OPERATION_STATE_PREPARE_SIGN
            error = signer_pb2.OperationError(code=code, stage=stage, detail=f"{code} by the test", retriable=retriable)
            self._tell(run, name, signer_pb2.OPERATION_STATE_FAILED, error=error)
            return
        made: dict[str, object]
        if isinstance(command, CreateKey):
            made = {"certificate": self._certify(intent, command, intent_hash(run.order))}
        else:
            made = {"signatures": [self._signature(command.key_id, m.message, m.path) for m in command.messages]}
        duration_ms = (time.perf_counter() - started) * 1000
        self._tell(run, name, signer_pb2.OPERATION_STATE_COMPLETE, duration_ms=duration_ms, **made)

    def _signature(self, key_id: str, message: bytes, path: tuple[int, ...]) -> bytes:
        signature = self.signer(key_id, path).sign(message)
        return self.behaviour.signature(signature) if self.behaviour.signature else signature

    def _tell(self, run: Run, name: str, state: int, **fields: object) -> None:
        run.events.append(
            signer_pb2.OperationEvent(
                operation_id=name,
                sequence=len(run.events) + 1,
                state=state,
                time_ms=time.time_ns() // 1_000_000,
                **fields,
            )
        )
        run.changed.set()
        run.changed = asyncio.Event()

    def _certify(self, intent: Intent, command: CreateKey, ordered_by: bytes) -> certificate_pb2.SignedKeyCertificate:
        key = self.keys[command.key_id] = new_key()
        certificate = KeyCertificate(
            cell_id=intent.cell_id,
            tenant_id=intent.tenant_id,
            wallet_id=command.wallet_id,
            user_id=command.user_id,
            key_id=command.key_id,
            scheme=command.scheme,
            threshold=command.threshold,
            node_ids=command.node_ids,
            indices=tuple(self.roster.node(node_id).index for node_id in command.node_ids),
            public_key=_in_scheme(command.scheme, public_bytes(key)),
            chain_code=bytes(32),
            public_shares=tuple(_in_scheme(command.scheme, public_bytes(new_key())) for _ in command.node_ids),
            roster_hash=self.roster.roster_hash,
            epoch=1,
            policy=command.policy,
            intent_hash=ordered_by,
            transcript_hash=bytes(32),
        )
        if self.behaviour.certificate is not None:
            certificate = self.behaviour.certificate(certificate)
        data = encode_certificate(certificate)
        signatures = self._signatures(KEY_CERTIFICATE_TAG, data, self.behaviour.certificate_signers)
        signed = certificate_pb2.SignedKeyCertificate(certificate=data, signatures=signatures)
        self.certificates[command.key_id] = (certificate, signed)
        return signed

    def _signatures(self, tag, data, choose) -> list[certificate_pb2.NodeSignature]:
        """One per node; ``choose`` may give another key for a node, or none."""
        signatures = []
        for node_id, identity in self.identities.items():
            chosen = choose(node_id) if choose is not None else identity
            if chosen is not None:
                signatures.append(certificate_pb2.NodeSignature(node_id=node_id, signature=chosen.sign(tag, data)))
        return signatures


def _in_scheme(scheme: str, public_key: bytes) -> bytes:
    """A public key of the scheme's length; nothing is ever signed with one that is no Ed25519 key."""
    return public_key if scheme == "eddsa_ed25519" else b"\x02" + public_key


def other_policy(certificate: KeyCertificate) -> KeyCertificate:
    """A certificate whose policy names another initiator."""
    return replace(certificate, policy=replace(certificate.policy, initiator_keys=(public_bytes(new_key()),)))
