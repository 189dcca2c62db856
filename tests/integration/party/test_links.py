"""Streams against one party: what a coordinator, or a peer through it, cannot make the party hold or stop doing."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from support.cell import Cell
from support.hostile_coordinator import HostileCoordinator, channel_to, raw_intent

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUORUM = ("party-1", "party-2")


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
            frames=[party_pb2.LinkRequest(start=party_pb2.StartSession(route=route)) for route in range(20_000)]
        )
    )
    async with channel_to(cell, "party-1", cell.coordinator) as channel:
        calls = []
        for _ in range(3):
            frames: asyncio.Queue[party_pb2.LinkRequest] = asyncio.Queue()
            calls.append(await opened(cell, channel, frames))
            for _ in range(3):
                frames.put_nowait(flood)
            await asyncio.sleep(2)
        async with asyncio.timeout(20):
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


async def test_more_questions_than_may_run_at_once_are_refused_one_by_one(cell: Cell) -> None:
    """A gateway that asks for a thousand addresses at once does not end the link that everybody's sessions are on."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id = parse_certificate((await coordinator.create_key()).certificate).key_id
        running = coordinator.start(QUORUM, *raw_intent(cell, key_id, b"in the middle of it"), deadline_ms=20_000)
        answers = await asyncio.gather(*(coordinator.attest("party-1", key_id, (place,)) for place in range(1000)))
        assert {answer.error.code for answer in answers} == {"", "overloaded"}
        for result in running.values():
            assert (await result).signatures


async def test_a_flood_of_denials_does_not_fill_the_disk(cell: Cell) -> None:
    """Intents under keys of the attacker's own leave so many audit rows, and no more; who may order is served as before."""
    store = cell.parties["party-1"].folder / "shares.db"
    stranger = copy.copy(cell)
    stranger.initiator = IdentityKey.generate()
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id = parse_certificate((await coordinator.create_key()).certificate).key_id
        before = denials(store)
        for _ in range(40):
            orders = [raw_intent(stranger, key_id, b"mine") for _ in range(30)]
            waiting = [coordinator.start(QUORUM, *order) for order in orders]
            for results in waiting:
                for result in results.values():
                    assert (await result).error.code == "policy-denied"
        assert denials(store) - before < 1150
        results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"ours"))
        assert all(result.signatures for result in results.values())


def denials(store: Path) -> int:
    """How many audit rows say that something was denied."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        ((count,),) = connection.execute("SELECT count(*) FROM audit WHERE action = 'denied'")
    finally:
        connection.close()
    return int(count)
