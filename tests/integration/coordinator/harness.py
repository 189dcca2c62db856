"""A coordinator in this process, and a gateway's client of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from integration.coordinator.scripted import ScriptedCell
from keyquorum_core_signer.coordinator.serve import Coordinator, start_coordinator
from keyquorum_core_signer.telemetry import start_telemetry
from keyquorum_core_signer.wire.certificates import Credentials
from keyquorum_protos.signer.v1 import signer_pb2, signer_pb2_grpc
from keyquorum_protos.wallet.v1 import wallet_pb2_grpc


@dataclass
class GatewayClient:
    """What a gateway does: orders, and follows what becomes of them."""

    cell: ScriptedCell
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.signer = signer_pb2_grpc.SignerServiceStub(self.channel)
        self.wallets = wallet_pb2_grpc.WalletServiceStub(self.channel)

    async def sign(self, data: bytes, *, within_s: float | None = 20.0, metadata=()) -> list[signer_pb2.OperationEvent]:
        request = signer_pb2.SignRequest(intent=data, authorization=self.cell.authorize(data))
        return [
            event async for r in self.signer.Sign(request, timeout=within_s, metadata=metadata) for event in r.events
        ]

    async def create(self, data: bytes, *, within_s: float | None = 20.0) -> list[signer_pb2.OperationEvent]:
        request = signer_pb2.CreateKeyRequest(intent=data, authorization=self.cell.authorize(data))
        return [event async for r in self.signer.CreateKey(request, timeout=within_s) for event in r.events]

    async def make_key(self, key_id: str = "key_1", *, threshold: int = 2) -> None:
        events = await self.create(self.cell.intent(self.cell.create(key_id, threshold=threshold)))
        assert states(events)[-1] == "COMPLETE", events[-1]


def connect(port: int, server_certificate: str, client: Credentials, name: str = "coordinator-1") -> grpc.aio.Channel:
    """A gateway's channel, as the holder of ``client``."""
    credentials = grpc.ssl_channel_credentials(
        server_certificate.encode(), client.private_key, client.certificate.encode()
    )
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", name)])


async def settled(coordinator: Coordinator, *node_ids: str) -> None:
    """Wait until exactly these parties are linked and all pairwise channels between them stand."""
    expected = set(node_ids)
    async with asyncio.timeout(10):
        while True:
            links = {n: m.link for n, m in coordinator.committee.members.items() if m.link.up}
            if links.keys() == expected and all(
                link.channels >= expected - {node_id} and link.nonces for node_id, link in links.items()
            ):
                return
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(cell: ScriptedCell, **changes) -> AsyncIterator[Coordinator]:
    """A coordinator of the cell, linked with whoever runs."""
    telemetry = start_telemetry("keyquorum-coordinator", "coordinator-1", log_level="error")
    coordinator = await start_coordinator(cell.config(**changes), telemetry)
    try:
        await settled(coordinator, *(node_id for node_id, party in cell.parties.items() if party.server))
        yield coordinator
    finally:
        await coordinator.stop()
        telemetry.shutdown()
        structlog.reset_defaults()


@contextlib.asynccontextmanager
async def gateway_of(cell: ScriptedCell, coordinator: Coordinator) -> AsyncIterator[GatewayClient]:
    """The pinned gateway, connected to ``coordinator``."""
    async with connect(coordinator.port, cell.coordinator.certificate, cell.gateway) as channel:
        yield GatewayClient(cell, channel)


def states(events: list[signer_pb2.OperationEvent]) -> list[str]:
    """The states that events reached, by their short names."""
    return [signer_pb2.OperationState.Name(event.state).removeprefix("OPERATION_STATE_") for event in events]


async def refusal(call) -> tuple[grpc.StatusCode, str, bool]:
    """The status of a call that must fail, with the reason and retriability of its details."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return caught.value.code(), "", False
    info = ErrorInfo()
    status = Status.FromString(details)
    assert status.details[0].Unpack(info)
    assert info.domain == "keyquorum"
    assert status.message == caught.value.details()
    return caught.value.code(), info.reason, info.metadata["retriable"] == "true"
