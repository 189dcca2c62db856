"""What a coordinator offers its gateways over gRPC: SignerService and WalletService.

The edge converts once: bytes become an :class:`Order`, or are refused before anything is recorded; failures become
statuses. Whoever calls is one of the roster's gateways, by the certificate that it presented.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc

from keyquorum_core_signer.coordinator.attestations import AddressQuery, Attestor
from keyquorum_core_signer.coordinator.committee import Committee
from keyquorum_core_signer.coordinator.events import OperationEvent
from keyquorum_core_signer.coordinator.failures import (
    BUSY,
    INTENT_INVALID,
    KEY_NOT_FOUND,
    OPERATION_NOT_FOUND,
    Failure,
    OperationFailed,
)
from keyquorum_core_signer.coordinator.limits import PAGE_DEFAULT, PAGE_MAX
from keyquorum_core_signer.coordinator.log import Kind
from keyquorum_core_signer.coordinator.operation import Order
from keyquorum_core_signer.coordinator.operations import Operations
from keyquorum_core_signer.coordinator.registry import KeyRegistry
from keyquorum_core_signer.coordinator.status import abort
from keyquorum_core_signer.coordinator.transport import GatewayPins
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import intent_hash, operation_id, parse_intent, verify_authorization
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_protos.signer.v1 import intent_pb2, signer_pb2, signer_pb2_grpc
from keyquorum_protos.wallet.v1 import wallet_pb2, wallet_pb2_grpc

Call: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_TRACEPARENT: Final = "traceparent"
_TOKEN_DIGITS_MAX: Final = 18  # below 2^63


class Edge:
    """What every call passes: whether its peer is a gateway, and how many streams there are."""

    def __init__(self, pins: GatewayPins, followers_max: int) -> None:
        self._pins = pins
        self._followers_max = followers_max
        self._followers = 0

    async def admit(self, context: Call) -> None:
        """Refuse peers whose certificate is not pinned itself, but only signed by one that is."""
        if self._pins.identify(context) is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the roster pins no gateway of this certificate")

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count a stream while it lasts; raises OperationFailed where there are too many."""
        if self._followers >= self._followers_max:
            raise OperationFailed(Failure(BUSY, f"{self._followers_max} streams are open already", retriable=True))
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1


@dataclass(frozen=True, slots=True)
class SignerEdge(signer_pb2_grpc.SignerServiceServicer):
    """SignerService over :class:`Operations` and :class:`Committee`."""

    edge: Edge
    operations: Operations
    committee: Committee
    roster: Roster

    async def CreateKey(  # noqa: N802 - the service's name
        self, request: signer_pb2.CreateKeyRequest, context: Call
    ) -> AsyncIterator[signer_pb2.CreateKeyResponse]:
        """Make a key and stream its progress."""
        async for events in self._follow("create_key", request.intent, request.authorization, context):
            yield signer_pb2.CreateKeyResponse(events=[event.to_proto() for event in events])

    async def Sign(  # noqa: N802 - the service's name
        self, request: signer_pb2.SignRequest, context: Call
    ) -> AsyncIterator[signer_pb2.SignResponse]:
        """Sign and stream the progress."""
        async for events in self._follow("sign", request.intent, request.authorization, context):
            yield signer_pb2.SignResponse(events=[event.to_proto() for event in events])

    async def GetOperation(  # noqa: N802 - the service's name
        self, request: signer_pb2.GetOperationRequest, context: Call
    ) -> signer_pb2.GetOperationResponse:
        """One operation as it stands."""
        await self.edge.admit(context)
        events = self.operations.events(request.operation_id)
        if not events:
            await abort(context, Failure(OPERATION_NOT_FOUND, "there is no operation of this id"))
        return signer_pb2.GetOperationResponse(events=[event.to_proto() for event in events])

    async def ListOperations(  # noqa: N802 - the service's name
        self, request: signer_pb2.ListOperationsRequest, context: Call
    ) -> signer_pb2.ListOperationsResponse:
        """Operations, newest first."""
        await self.edge.admit(context)
        limit, before = await _page(request.limit, request.page_token, context)
        latest, following = self.operations.page(limit, before)
        return signer_pb2.ListOperationsResponse(
            latest=[event.to_proto() for event in latest], next_page_token=_token(following)
        )

    async def ListParties(  # noqa: N802 - the service's name
        self,
        request: signer_pb2.ListPartiesRequest,  # noqa: ARG002 - it has no fields
        context: Call,
    ) -> signer_pb2.ListPartiesResponse:
        """The parties as the coordinator sees them."""
        await self.edge.admit(context)
        return signer_pb2.ListPartiesResponse(
            parties=[self._status(node_id) for node_id in self.committee.members],
            roster_hash=self.roster.roster_hash,
            cell_id=self.roster.cell_id,
        )

    def _status(self, node_id: str) -> signer_pb2.PartyStatus:
        link = self.committee.members[node_id].link
        return signer_pb2.PartyStatus(
            node_id=node_id,
            index=link.index,
            connected=link.up,
            since_ms=link.since_ms,
            version=link.introduction.version,
            codecs=link.introduction.codecs,
            channels=sorted(link.channels),
            kek_kind=link.introduction.kek_kind,
            identity_key=self.roster.node(node_id).identity_key,
            paired=sorted(link.paired),
            banned=sorted(link.banned),
        )

    async def _follow(
        self, kind: Kind, data: bytes, authorization: intent_pb2.Authorization, context: Call
    ) -> AsyncIterator[Sequence[OperationEvent]]:
        await self.edge.admit(context)
        try:
            with self.edge.following():
                order = read_order(kind, data, authorization)
                operation = self.operations.submit(
                    order, time_left_s=_time_left_s(context), traceparent=_traceparent(context)
                )
                await asyncio.sleep(0)  # a new operation takes its first steps before it is looked at
                async for events in operation.follow():
                    yield events
        except OperationFailed as error:
            await abort(context, error.failure)


@dataclass(frozen=True, slots=True)
class WalletEdge(wallet_pb2_grpc.WalletServiceServicer):
    """WalletService over :class:`KeyRegistry` and :class:`Attestor`."""

    edge: Edge
    registry: KeyRegistry
    attestor: Attestor

    async def GetKey(  # noqa: N802 - the service's name
        self, request: wallet_pb2.GetKeyRequest, context: Call
    ) -> wallet_pb2.GetKeyResponse:
        """A key's certificate."""
        await self.edge.admit(context)
        key = self.registry.find(request.key_id)
        if key is None:
            await abort(context, Failure(KEY_NOT_FOUND, "no certificate of this key is registered here"))
        return wallet_pb2.GetKeyResponse(certificate=key.signed)

    async def ListKeys(  # noqa: N802 - the service's name
        self, request: wallet_pb2.ListKeysRequest, context: Call
    ) -> wallet_pb2.ListKeysResponse:
        """The keys of a wallet, or all."""
        await self.edge.admit(context)
        limit, after = await _page(request.limit, request.page_token, context)
        certificates, following = self.registry.page(request.wallet_id, limit, after)
        return wallet_pb2.ListKeysResponse(certificates=certificates, next_page_token=_token(following))

    async def AttestAddress(  # noqa: N802 - the service's name
        self, request: wallet_pb2.AttestAddressRequest, context: Call
    ) -> wallet_pb2.AttestAddressResponse:
        """An address that at least t parties derived on their own."""
        await self.edge.admit(context)
        query = AddressQuery(request.key_id, tuple(request.path), request.chain, request.codec)
        try:
            attestation = await self.attestor.attest(query, time_left_s=_time_left_s(context))
        except OperationFailed as error:
            await abort(context, error.failure)
        return wallet_pb2.AttestAddressResponse(attestation=attestation)


def read_order(kind: Kind, data: bytes, authorization: intent_pb2.Authorization) -> Order:
    """Read what a gateway sent; raises OperationFailed for what no party would take.

    Parties check all of this again: it is here so that nonsense costs them nothing and is answered clearly.
    """
    try:
        intent = parse_intent(data)
        verify_authorization(intent, data, authorization)
    except IntentError as error:
        raise OperationFailed(Failure(error.code, error.detail)) from None
    order = Order(data, authorization, intent, intent_hash(data), operation_id(data))
    if order.kind != kind:
        raise OperationFailed(Failure(INTENT_INVALID, f"the intent orders {order.kind}, not {kind}"))
    return order


def _time_left_s(context: Call) -> float | None:
    return context.time_remaining()


def _traceparent(context: Call) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == _TRACEPARENT:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return ""


async def _page(limit: int, token: str, context: Call) -> tuple[int, int | None]:
    if limit > PAGE_MAX:
        await abort(context, Failure(INTENT_INVALID, f"a page has at most {PAGE_MAX} entries"))
    if token and not (token.isascii() and token.isdigit() and len(token) <= _TOKEN_DIGITS_MAX):
        await abort(context, Failure(INTENT_INVALID, "the page token is not one of ours"))
    return limit or PAGE_DEFAULT, int(token) if token else None


def _token(number: int | None) -> str:
    return "" if number is None else str(number)
