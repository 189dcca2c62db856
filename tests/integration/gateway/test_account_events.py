"""What reaches and leaves an account, followed as server-sent events."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from keyquorum_plugin_api.chain import ChainEvent
from keyquorum_plugin_api.errors import ChainUnavailable
from support.gateway_cell import ASSET, eventually


@pytest.fixture
async def account(client):
    """An account of the tenant."""
    return (await client.wallet())["accounts"][0]


@asynccontextmanager
async def watching(client, account, **headers):
    """The open stream, after its first comment; frames can be read from it."""
    url = f"{client.url}/v1/accounts/{account['id']}/events"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.get(url, headers={"Authorization": f"Bearer {client.key}", **named}) as response:
        assert response.status == 200, await response.read()
        assert await frame(response) == [": watching"]
        yield response


async def frame(response):
    """The lines of one frame."""
    async with asyncio.timeout(5):
        return (await response.content.readuntil(b"\n\n")).decode().strip().splitlines()


def happen(cell, address, amount, **rest):
    """A transaction in a block."""
    number = len(cell.ledger.events) + 1
    cell.ledger.events.append(ChainEvent(str(number), f"tx{number}", address, ASSET, amount, f"block-{number}", **rest))
    cell.ledger.changed.set()
    cell.ledger.changed = asyncio.Event()


async def test_a_deposit_a_payment_and_their_undoing_are_told(cell, client, account):
    """As they happen, in order, and of this account alone."""
    async with watching(client, account) as stream:
        happen(cell, account["address"], 7)
        happen(cell, "toy1" + "99" * 20, 1000)
        happen(cell, account["address"], -3)
        happen(cell, account["address"], 7, removed=True)
        frames = [await frame(stream) for _ in range(3)]
    assert [(lines[0], lines[1]) for lines in frames] == [
        ("id: 1", "event: received"),
        ("id: 3", "event: paid"),
        ("id: 4", "event: removed"),
    ]
    data = json.loads(frames[1][2].removeprefix("data: "))
    assert data == {"txid": "tx3", "asset": ASSET, "amount": "-3", "block": "block-3", "removed": False}
    await eventually(lambda: cell.ledger.streams_closed == 1)


async def test_a_stream_resumes_behind_an_event(cell, client, account):
    """What happened while nobody watched is not lost."""
    for amount in (1, 2, 3):
        happen(cell, account["address"], amount)
    async with watching(client, account, Last_Event_ID="1") as stream:
        assert (await frame(stream))[0] == "id: 2"
    wrong = await client.get(f"/v1/accounts/{account['id']}/events", **{"Last-Event-ID": "a b"})
    assert (wrong.status, wrong.body["code"]) == (400, "bad-request")


async def test_a_node_that_goes_away_ends_the_stream_with_its_code(cell, client, account):
    """The client comes again with Last-Event-ID."""
    async with watching(client, account) as stream:
        cell.ledger.events.append(ChainUnavailable("gone"))
        happen(cell, account["address"], 7)
        assert await frame(stream) == ["event: error", "data: chain-unavailable"]
        assert await stream.content.read() == b""


async def test_an_adapters_cursor_cannot_forge_frames(cell, client, account):
    """It comes from somebody else's code, and goes into a line of the stream."""
    async with watching(client, account) as stream:
        event = ChainEvent("1\nevent: received", "tx", account["address"], ASSET, 1, "b")
        cell.ledger.events.append(event)
        happen(cell, account["address"], 7)
        assert await frame(stream) == ["event: error", "data: chain-error"]


async def test_nobody_elses_account_is_followed(cell, gateway, account):
    """Nor does its existence show."""
    async with cell.client(gateway, tenant="other") as stranger:
        assert (await stranger.get(f"/v1/accounts/{account['id']}/events")).status == 404


async def test_a_gateway_that_stops_ends_its_streams(cell, monkeypatch):
    """Properly, and without waiting for its shutdown's deadline."""
    monkeypatch.setattr("keyquorum_gateway.routes.account_events._LOOK_S", 0.02)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(cell.running())
        client = await stack.enter_async_context(cell.client(running))
        async with watching(client, (await client.wallet())["accounts"][0]) as stream:
            stopping = asyncio.create_task(running.app.shutdown())
            async with asyncio.timeout(5):
                assert await stream.content.read() == b""
            await stopping
    assert cell.ledger.streams_closed == 1
