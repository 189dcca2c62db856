"""Server-sent events: every signing round as it happens, resumable, to the terminal event."""

import asyncio
import json

import pytest

from support.gateway_cell import RECIPIENT, eventually

STAGES = [
    "accepted",
    "building",
    "built",
    "key_share",
    "prepare_sign",
    "sign_round1",
    "sign_round2",
    "verify",
    "ceremony_complete",
    "signed",
    "broadcasting",
    "submitted",
    "succeeded",
]


def parse(text):
    """(id, event, data) of each event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


@pytest.fixture
async def body(cell, client):
    """A transfer that can be made."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def test_the_events_tell_the_whole_story(client, body):
    """One per step, numbered without gaps, one per signing round with the round's number, and the stream ends."""
    made = (await client.post("/v1/transactions", body)).body
    reply = await client.get(f"/v1/operations/{made['operation_id']}/events")
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    events = parse(reply.raw.decode())
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [stage for _, stage, _ in events] == STAGES
    rounds = {stage: data["round"] for _, stage, data in events if data["round"]}
    assert rounds == {"sign_round1": 1, "sign_round2": 2, "verify": 3}
    assert events[-1][2]["state"] == "succeeded"
    assert {data["operation_id"] for _, _, data in events} == {made["operation_id"]}


async def test_a_stream_resumes_after_the_last_event(client, body):
    """``Last-Event-ID`` skips what the client has seen, also when the operation has long ended."""
    made = (await client.post("/v1/transactions", body)).body
    path = f"/v1/operations/{made['operation_id']}/events"
    everything = parse((await client.get(path)).raw.decode())
    rest = parse((await client.get(path, **{"Last-Event-ID": "9"})).raw.decode())
    assert rest == everything[9:]
    assert parse((await client.get(path, **{"Last-Event-ID": "9999"})).raw.decode()) == []
    reply = await client.get(path, **{"Last-Event-ID": "nine"})
    assert (reply.status, reply.body["code"]) == (400, "bad-request")


async def test_events_arrive_while_the_operation_runs(cell, client, gateway, body):
    """A follower sees the rounds before the result exists; many followers see the same."""
    cell.double.behaviour.gate = asyncio.Event()
    reply = await client.post("/v1/transactions", body, Prefer="respond-async")
    assert reply.status == 202
    path = f"/v1/operations/{reply.body['id']}/events"

    async def follow():
        seen = []
        async with client.session.get(client.url + path, headers={"Authorization": f"Bearer {client.key}"}) as stream:
            async for line in stream.content:
                if line.startswith(b"event: "):
                    seen.append(line[7:].decode().strip())
                    if seen[-1] == "verify":
                        cell.double.behaviour.gate.set()
        return seen

    async with asyncio.timeout(10):
        assert await asyncio.gather(*(follow() for _ in range(5))) == [STAGES] * 5


async def test_a_silent_stream_is_kept_alive(cell, client, body, monkeypatch):
    """Comments while nothing happens, so that proxies do not close the connection."""
    monkeypatch.setattr("keyquorum_gateway.routes.operations.EVENT_STREAM_HEARTBEAT_S", 0.05)
    cell.double.behaviour.gate = asyncio.Event()
    reply = await client.post("/v1/transactions", body, Prefer="respond-async")
    headers = {"Authorization": f"Bearer {client.key}"}
    async with client.session.get(f"{client.url}/v1/operations/{reply.body['id']}/events", headers=headers) as stream:
        async for line in stream.content:
            if line.startswith(b":"):
                break
    cell.double.behaviour.gate.set()


async def test_open_streams_are_bounded(cell, client, gateway, body, monkeypatch):
    """One too many is a 503 and not a thread of its own."""
    monkeypatch.setattr("keyquorum_gateway.routes.operations.EVENT_STREAMS_MAX", 0)
    made = (await client.post("/v1/transactions", body)).body
    reply = await client.get(f"/v1/operations/{made['operation_id']}/events")
    assert (reply.status, reply.body["code"]) == (503, "busy")


async def test_a_failed_operation_ends_its_stream_with_stage_and_cause(cell, client, body):
    """The terminal event names the code."""
    cell.double.behaviour.failure = ("protocol-abort", False)
    reply = await client.post("/v1/transactions", body)
    assert (reply.status, reply.body["stage"]) == (502, "verify")
    last = parse((await client.get(f"/v1/operations/{reply.body['operation_id']}/events")).raw.decode())[-1][2]
    assert (last["state"], last["stage"]) == ("failed", "failed")
    assert last["detail"].startswith("protocol-abort")


async def test_operations_are_listed_newest_first(client, body):
    """With the wallet's creation among them."""
    made = (await client.post("/v1/transactions", body)).body
    page = (await client.get("/v1/operations?limit=1")).body
    assert [o["id"] for o in page["items"]] == [made["operation_id"]]
    page = (await client.get(f"/v1/operations?page_token={page['next_page_token']}")).body
    assert [o["kind"] for o in page["items"]] == ["wallet"]


async def test_nobody_waits_for_a_gateway_that_stops(cell):
    """Who waits for a result gets 202, who follows gets the end of the stream; the operation goes on after the start."""
    cell.double.behaviour.gate = asyncio.Event()
    async with cell.running(SERVER__SHUTDOWN_S="0") as running, cell.client(running) as client:
        cell.double.behaviour.gate.set()
        account = (await client.wallet())["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        cell.double.behaviour.gate.clear()
        request = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
        waiting = asyncio.create_task(client.post("/v1/transactions", request, Prefer="wait=30"))
        await eventually(lambda: cell.double.sign_intents)
        (live,) = running.services.engine._live.values()
        following = asyncio.create_task(client.get(f"/v1/operations/{live.operation.id}/events"))
        await eventually(lambda: running.services.streams.open)
        running.services.engine.drain()
        async with asyncio.timeout(5):
            assert ((await waiting).status, (await following).status) == (202, 200)
    cell.double.behaviour.gate.set()
