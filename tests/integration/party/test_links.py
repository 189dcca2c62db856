"""Streams against one party: what a coordinator, or a peer through it, cannot make the party hold or stop doing."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from support.cell import Cell
from support.hostile_coordinator import HostileCoordinator, channel_to

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(cell: Cell, channel: grpc.aio.Channel, frames: asyncio.Queue[party_pb2.LinkRequest]) -> grpc.aio.Call:
    """A link to party-1 that sends ``frames`` and has read nothing."""
    frames.put_nowait(
        party_pb2.LinkRequest(
            hello=party_pb2.LinkHello(
                coordinator_id="coordinator-1", cell_id=cell.roster.cell_id, roster_hash=cell.roster.roster_hash
            )
        )
    )

    async def sent() -> AsyncIterator[party_pb2.LinkRequest]:
        while True:
            yield await frames.get()

    return party_pb2_grpc.PartyServiceStub(channel).Link(sent())


async def test_streams_that_nobody_reads_are_ended(cell: Cell) -> None:
    """A coordinator that opens links and takes no answer holds the newest one open at most, and is served again."""
    log = cell.parties["party-1"].log
    before = log().count("link opened") - log().count("link closed")
    flood = party_pb2.LinkRequest(
        batch=party_pb2.LinkRequestBatch(
            frames=[party_pb2.LinkRequest(start=party_pb2.StartSession(route=route)) for route in range(3000)]
        )
    )
    async with channel_to(cell, "party-1", cell.coordinator) as channel:
        calls = []
        for _ in range(4):
            frames: asyncio.Queue[party_pb2.LinkRequest] = asyncio.Queue()
            calls.append(await opened(cell, channel, frames))
            for _ in range(4):
                frames.put_nowait(flood)
            await asyncio.sleep(1)
        async with asyncio.timeout(10):
            while log().count("link opened") - log().count("link closed") > before + 1:
                await asyncio.sleep(0.2)
        for call in calls:
            call.cancel()
    async with HostileCoordinator(cell).connected():
        pass


async def test_streams_are_counted(cell: Cell) -> None:
    """Greetings that never come are no way to hold a party's memory."""
    async with channel_to(cell, "party-1", cell.coordinator) as channel:
        stub = party_pb2_grpc.PartyServiceStub(channel)

        async def silence() -> AsyncIterator[party_pb2.LinkRequest]:
            await asyncio.sleep(60)
            yield party_pb2.LinkRequest()

        calls = [stub.Link(silence()) for _ in range(30)]
        reads = [asyncio.create_task(call.read()) for call in calls]
        done, _ = await asyncio.wait(reads, timeout=3)
        refused = [task.exception() for task in done]
        assert len(refused) >= 20
        assert {error.code() for error in refused if isinstance(error, grpc.aio.AioRpcError)} == {
            grpc.StatusCode.RESOURCE_EXHAUSTED
        }
        for call in calls:
            call.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_a_long_batch_leaves_others_their_turn(cell: Cell) -> None:
    """Two million frames in one message neither stop the party nor fill its log."""
    log = cell.parties["party-1"].log
    batch = party_pb2.LinkRequestBatch(frames=[party_pb2.LinkRequest()] * 2_000_000)
    length = len(log())
    async with HostileCoordinator(cell).connected(("party-1",)) as coordinator:
        coordinator.send("party-1", party_pb2.LinkRequest(batch=batch))
        await asyncio.sleep(0.5)
        async with channel_to(cell, "party-1", cell.coordinator) as channel:
            began, worst = time.monotonic(), 0.0
            while time.monotonic() - began < 3:
                asked = time.monotonic()
                answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                worst = max(worst, time.monotonic() - asked)
        assert worst < 1.5, worst
    assert len(log()) - length < 10_000
