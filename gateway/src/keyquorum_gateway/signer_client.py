"""The gateway's gRPC client of a cell's coordinator: SignerService and WalletService over mTLS.

An intent is sent with the same bytes however often a stream breaks, so that the coordinator follows one operation; what
an event says is checked by whoever uses it, never believed here.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from keyquorum_gateway.bounds import ATTESTATION_S, COORDINATOR_READ_S, EVENTS_PER_OPERATION_MAX, STREAM_RETRY_S
from keyquorum_gateway.ceremonies import CeremonyEvent, CeremonyState, MalformedEvent, event_from_proto
from keyquorum_gateway.intents import Authorization, CodecRef, ceremony_id
from keyquorum_plugin_api.signer import SigningError
from keyquorum_protos.signer.v1 import intent_pb2, signer_pb2, signer_pb2_grpc
from keyquorum_protos.wallet.v1 import wallet_pb2, wallet_pb2_grpc

UNREACHABLE_S: Final = 3.0
"""How long a coordinator that never answered is tried before the request ends with 503."""

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
KEEPALIVE_MS: Final = 10_000

_CODES: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "intent-invalid",
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.PERMISSION_DENIED: "policy-denied",
    grpc.StatusCode.ALREADY_EXISTS: "operation-conflict",
    grpc.StatusCode.ABORTED: "operation-conflict",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
    grpc.StatusCode.UNAVAILABLE: "coordinator-unavailable",
    grpc.StatusCode.CANCELLED: "coordinator-unavailable",  # its process ends: ours is never reported as a status
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline-exceeded",
    grpc.StatusCode.FAILED_PRECONDITION: "quorum-unavailable",
}
_DETAILS: Final = "grpc-status-details-bin"
_DOMAIN: Final = "keyquorum"
_REASON: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_OUR_CODES: Final = {"unavailable": "coordinator-unavailable"}
_RETRIABLE: Final = frozenset({"busy", "coordinator-unavailable", "quorum-unavailable"})


class Command(Enum):
    """What an intent orders."""

    CREATE_KEY = auto()
    SIGN = auto()


@dataclass(frozen=True, slots=True)
class PartyView:
    """A party as the coordinator sees it."""

    node_id: str
    index: int
    connected: bool
    since_ms: int
    version: str
    codecs: tuple[CodecRef, ...]
    channels: tuple[str, ...]
    kek_kind: str
    identity_key: bytes


@dataclass(frozen=True, slots=True)
class PartiesView:
    """The parties, and the roster that the coordinator serves."""

    parties: tuple[PartyView, ...]
    roster_hash: bytes
    cell_id: str


def open_channel(
    address: str, server_name: str, server_certificate: str, certificate: bytes, private_key: bytes
) -> grpc.aio.Channel:
    """A channel on which both sides present the certificate that the other one pinned."""
    credentials = grpc.ssl_channel_credentials(server_certificate.encode(), private_key, certificate)
    return grpc.aio.secure_channel(
        address,
        credentials,
        options=[
            ("grpc.ssl_target_name_override", server_name),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_retries", 0),
        ],
    )


class SignerClient:
    """Calls with a deadline each. Raises ``SigningError`` only."""

    def __init__(self, channel: grpc.aio.Channel, tracer: Tracer) -> None:
        self._channel = channel
        self._tracer = tracer
        self._signer: Any = signer_pb2_grpc.SignerServiceStub(channel)
        self._wallets: Any = wallet_pb2_grpc.WalletServiceStub(channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def follow(
        self, command: Command, intent: bytes, authorization: Authorization, deadline_s: float
    ) -> AsyncGenerator[CeremonyEvent, None]:
        """Order what the intent says and yield its events, each once, to the terminal one.

        A broken stream is opened again with the same bytes. Raises ``SigningError``: ``coordinator-unavailable`` where no
        event ever came, ``deadline-exceeded`` where the outcome is not known when the time is over.
        """
        expected = ceremony_id(intent)
        last, pause = 0, STREAM_RETRY_S[0]
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline_s
        with self._span(command.name.lower(), {"keyquorum.ceremony_id": expected}) as headers:
            while True:
                left = ends - loop.time()
                if left <= 0:
                    raise SigningError("deadline-exceeded", "the ceremony did not end in time", operation_id=expected)
                failed = None
                try:
                    stream = self._stream(command, intent, authorization, expected, left, headers)
                    async with aclosing(stream):
                        async for event in stream:
                            # A failure that was reopened by sending the intent again is history, not the end.
                            failed = event if event.state is CeremonyState.FAILED else None
                            if event.sequence > last and failed is None:
                                last = event.sequence
                                yield event
                            if event.state is CeremonyState.COMPLETE:
                                return
                            if last > EVENTS_PER_OPERATION_MAX:
                                raise SigningError("protocol-abort", "the coordinator reports without end")
                    if failed is not None:
                        yield failed
                        return
                except grpc.aio.AioRpcError as error:
                    failure = _signing_error(error, expected)
                    never_heard = last == 0 and loop.time() - (ends - deadline_s) > UNREACHABLE_S
                    if failure.code != "coordinator-unavailable" or never_heard:
                        raise failure from None
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                pause = min(pause * 2, STREAM_RETRY_S[1])

    async def _stream(  # noqa: PLR0917 - one call, spelled out
        self,
        command: Command,
        intent: bytes,
        authorization: Authorization,
        expected: str,
        deadline_s: float,
        headers: Sequence[tuple[str, str]],
    ) -> AsyncGenerator[CeremonyEvent, None]:
        proof = intent_pb2.Authorization(public_key=authorization.public_key, signature=authorization.signature)
        if command is Command.CREATE_KEY:
            request: Any = signer_pb2.CreateKeyRequest(intent=intent, authorization=proof)
            call = self._signer.CreateKey(request, timeout=deadline_s, metadata=headers)
        else:
            request = signer_pb2.SignRequest(intent=intent, authorization=proof)
            call = self._signer.Sign(request, timeout=deadline_s, metadata=headers)
        try:
            async for response in call:
                for event in response.events:
                    yield _event(event, expected)
        finally:
            call.cancel()

    async def ceremony(self, expected: str) -> tuple[CeremonyEvent, ...] | None:
        """All events of a ceremony so far; None where the coordinator never heard of it."""
        request = signer_pb2.GetOperationRequest(operation_id=expected)
        try:
            response = await self._unary(self._signer.GetOperation, request, COORDINATOR_READ_S)
        except SigningError as error:
            if error.code in ("operation-not-found", "not-found"):
                return None
            raise
        return tuple(_event(event, expected) for event in response.events)

    async def parties(self) -> PartiesView:
        """The parties as the coordinator sees them."""
        response = await self._unary(self._signer.ListParties, signer_pb2.ListPartiesRequest(), COORDINATOR_READ_S)
        return PartiesView(
            tuple(
                PartyView(
                    node_id=party.node_id,
                    index=party.index,
                    connected=party.connected,
                    since_ms=party.since_ms,
                    version=party.version,
                    codecs=tuple(CodecRef(codec.name, codec.version, codec.sha256) for codec in party.codecs),
                    channels=tuple(party.channels),
                    kek_kind=party.kek_kind,
                    identity_key=party.identity_key,
                )
                for party in response.parties
            ),
            response.roster_hash,
            response.cell_id,
        )

    async def attest_address(self, key_id: str, path: Sequence[int], chain: str, codec: str) -> bytes:
        """A serialized ``SignedAddressAttestation``, unverified."""
        request = wallet_pb2.AttestAddressRequest(key_id=key_id, path=path, chain=chain, codec=codec)
        response = await self._unary(self._wallets.AttestAddress, request, ATTESTATION_S)
        attestation: bytes = response.attestation.SerializeToString(deterministic=True)
        return attestation

    async def _unary(self, method: Callable[..., Any], request: Any, deadline_s: float) -> Any:
        with self._span(type(request).__name__.removesuffix("Request"), {}) as headers:
            try:
                return await method(request, timeout=deadline_s, metadata=headers)
            except grpc.aio.AioRpcError as error:
                raise _signing_error(error, "") from None

    def _span(self, name: str, attributes: Mapping[str, str]) -> "_CallSpan":
        return _CallSpan(self._tracer, f"coordinator {name}", attributes)


class _CallSpan:
    """A client span whose context travels in the call's metadata (W3C traceparent).

    Unlike ``start_as_current_span`` it can stay open across the yields of an async generator: it attaches nothing.
    """

    def __init__(self, tracer: Tracer, name: str, attributes: Mapping[str, str]) -> None:
        self._span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def __enter__(self) -> Sequence[tuple[str, str]]:
        carrier: dict[str, str] = {}
        inject(carrier, set_span_in_context(self._span))
        return tuple(carrier.items())

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, GeneratorExit | asyncio.CancelledError):
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def _event(message: signer_pb2.OperationEvent, expected: str) -> CeremonyEvent:
    try:
        return event_from_proto(message, expected)
    except MalformedEvent as error:
        raise SigningError("protocol-abort", f"the coordinator breaks its contract: {error}") from None


def _reason(error: grpc.aio.AioRpcError) -> str:
    """The code in the status details (google.rpc.ErrorInfo of our domain); empty where there is none."""
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS and isinstance(value, bytes):
            try:
                details = status_pb2.Status.FromString(value).details
                for detail in details:
                    info = error_details_pb2.ErrorInfo()
                    if detail.Unpack(info) and info.domain == _DOMAIN and _REASON.fullmatch(info.reason):
                        return _OUR_CODES.get(info.reason, str(info.reason))
            except DecodeError:
                return ""
    return ""


def _signing_error(error: grpc.aio.AioRpcError, operation_id: str) -> SigningError:
    code = _reason(error) or _CODES.get(error.code(), "internal")
    detail = (error.details() or error.code().name) if code != "internal" else "the coordinator failed"
    return SigningError(code, detail, retriable=code in _RETRIABLE, operation_id=operation_id)
