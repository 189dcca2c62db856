"""Wake-up calls over a websocket that breaks, lies or is silent."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.testing import RecordingLogger
from keyquorum_sol.feed import SignatureFeed
from support.manual_clock import ManualClock
from support.solana import SOL, SolanaRpcCaller, signed, transfer_of


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


class Socket:
    """A websocket server that records what it is asked and says what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.connections: list[web.WebSocketResponse] = []

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections.append(socket)
        async for message in socket:
            self.asked.put_nowait(message.json())
        return socket

    async def next_request(self) -> dict[str, object]:
        async with asyncio.timeout(5):
            return await self.asked.get()


@pytest.fixture
async def server() -> AsyncIterator[Socket]:
    socket = Socket()
    app = web.Application()
    app.router.add_get("/", socket.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    socket.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    yield socket
    await runner.cleanup()


def feed_of(http: aiohttp.ClientSession, url: str | None, clock: ManualClock | None = None) -> SignatureFeed:
    return SignatureFeed(http, url, clock or ManualClock(), RecordingLogger(), commitment="confirmed")


async def woken(changed: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await changed.wait()
    changed.clear()


async def test_wakes_at_both_commitments(
    endpoint: Endpoint, client: AsyncClient, rpc: SolanaRpcCaller, http: aiohttp.ClientSession
) -> None:
    """On the real server: when the transaction is included, and when it is confirmed."""
    source = Keypair()
    await client.request_airdrop(source.pubkey(), 10 * SOL)
    blockhash = (await client.get_latest_blockhash()).value.blockhash
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], blockhash, source)
    feed = feed_of(http, endpoint.ws_url)
    async with feed.watch(str(transaction.signatures[0])) as changed:
        async with asyncio.timeout(5):
            while not feed.connected:
                await asyncio.sleep(0.005)
        await client.send_transaction(transaction)
        await woken(changed)
        await rpc.advance()
        await woken(changed)
    await feed.close()


async def test_subscribes_again_after_a_break(server: Socket, http: aiohttp.ClientSession) -> None:
    """Watchers are woken by the break, and what they watch is subscribed on the new connection."""
    clock = ManualClock()
    feed = feed_of(http, server.url, clock)
    async with feed.watch("tx") as changed:
        first = [await server.next_request() for _ in range(2)]
        await server.connections[0].close()
        await woken(changed)
        assert not feed.connected
        again: list[dict[str, object]] = []
        async with asyncio.timeout(5):
            while len(again) < 2:
                await clock.advance(1)
                await asyncio.sleep(0.005)
                while not server.asked.empty():
                    again.append(server.asked.get_nowait())
        assert [request["params"] for request in again] == [request["params"] for request in first]
        assert [request["params"] for request in first] == [
            ["tx", {"commitment": "processed"}],
            ["tx", {"commitment": "confirmed"}],
        ]
    await feed.close()


@pytest.mark.parametrize("nonsense", ["{", "7", "[" * 5000, "x" * 100_000])
async def test_nonsense_ends_the_connection_and_wakes(
    server: Socket, http: aiohttp.ClientSession, nonsense: str
) -> None:
    """A server that does not speak the protocol is left, and polling takes over at once."""
    feed = feed_of(http, server.url)
    async with feed.watch("tx") as changed:
        await server.next_request()
        await server.connections[0].send_str(nonsense)
        await woken(changed)
        assert not feed.connected
    await feed.close()


async def test_notifications_for_others_wake_nobody(server: Socket, http: aiohttp.ClientSession) -> None:
    """Only the subscription that the server itself confirmed."""
    feed = feed_of(http, server.url)
    async with feed.watch("tx") as changed:
        request = await server.next_request()
        (socket,) = server.connections
        for params in ({"subscription": 9, "result": {}}, {"subscription": True}, None, 7, {"subscription": "5"}):
            await socket.send_json({"jsonrpc": "2.0", "method": "signatureNotification", "params": params})
        await socket.send_json({"jsonrpc": "2.0", "id": 99, "result": 9})
        await socket.send_json({"jsonrpc": "2.0", "id": request["id"], "result": 5})
        notification = {
            "jsonrpc": "2.0",
            "method": "signatureNotification",
            "params": {"subscription": 5, "result": {}},
        }
        await asyncio.sleep(0.05)
        assert not changed.is_set()
        await socket.send_json(notification)
        await woken(changed)
    await feed.close()


async def test_watchers_of_one_transaction_share_its_subscriptions(server: Socket, http: aiohttp.ClientSession) -> None:
    """And the last one to go cancels them."""
    feed = feed_of(http, server.url)
    async with feed.watch("tx"):
        requests = [await server.next_request() for _ in range(2)]
        async with feed.watch("tx"):
            pass
        (socket,) = server.connections
        for number, request in enumerate(requests, 5):
            await socket.send_json({"jsonrpc": "2.0", "id": request["id"], "result": number})
        await asyncio.sleep(0.05)
        assert server.asked.empty()
    cancelled = [await server.next_request() for _ in range(2)]
    assert [(request["method"], request["params"]) for request in cancelled] == [
        ("signatureUnsubscribe", [5]),
        ("signatureUnsubscribe", [6]),
    ]
    await feed.close()


async def test_subscription_that_is_confirmed_too_late_is_ended(server: Socket, http: aiohttp.ClientSession) -> None:
    """Its watcher has gone, so nobody would ever end it."""
    feed = feed_of(http, server.url)
    async with feed.watch("other"):
        for _ in range(2):
            await server.next_request()
        async with feed.watch("tx"):
            requests = [await server.next_request() for _ in range(2)]
        for number, request in enumerate(requests, 5):
            await server.connections[0].send_json({"jsonrpc": "2.0", "id": request["id"], "result": number})
        ended = [await server.next_request() for _ in range(2)]
    assert {(request["method"], *request["params"]) for request in ended} == {
        ("signatureUnsubscribe", 5),
        ("signatureUnsubscribe", 6),
    }
    await feed.close()


async def test_server_that_does_not_read_is_left(
    server: Socket, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher waits for no server: sending has an end, and the connection is made again."""
    monkeypatch.setattr("keyquorum_sol.feed.SEND_S", 0.05)
    feed = feed_of(http, server.url)

    async def stuck(*_: object, **__: object) -> None:
        await asyncio.sleep(3600)

    async with feed.watch("tx"):
        for _ in range(2):
            await server.next_request()
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_json", stuck)
        async with asyncio.timeout(5), feed.watch("another") as changed:
            await woken(changed)
            assert not feed.connected
    await feed.close()


async def test_unreachable_server_is_tried_ever_more_rarely(http: aiohttp.ClientSession) -> None:
    """The pauses grow to half a minute and the log says so."""
    clock = ManualClock()
    log = RecordingLogger()
    feed = SignatureFeed(http, "ws://127.0.0.1:9/", clock, log, commitment="confirmed")
    async with feed.watch("tx"), asyncio.timeout(10):
        while len(log.records) < 9:
            await clock.advance(0.25)
            await asyncio.sleep(0.001)
    pauses = [fields["retry_s"] for _, _, fields in log.records]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    await feed.close()


async def test_without_a_url_nothing_runs(http: aiohttp.ClientSession) -> None:
    """Streams poll."""
    feed = feed_of(http, None)
    async with feed.watch("tx") as changed:
        assert not changed.is_set()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "keyquorum-sol-feed"]
    await feed.close()
