"""Wake-up calls over a websocket: something happened to a transaction, go and look.

One connection serves all watchers. A notification is only a hint: what is reported always comes from a status request, so
a websocket that is late, wrong or gone costs time and nothing else. After a break every watcher is woken, the connection
is made again with growing pauses, and what is still watched is subscribed again.
"""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from keyquorum_plugin_api.chain import Clock, Logger

WATCHED_MAX = 10_000  # transactions
MESSAGE_BYTES_MAX = 64 * 1024
CONNECT_S = 10.0
SEND_S = 10.0  # a server that does not read is a broken one
HEARTBEAT_S = 15.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 30.0


class SignatureFeed:
    """Watches transactions at two commitments: processed and the configured one."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str | None, clock: Clock, log: Logger, *, commitment: str
    ) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._log = log
        self._commitments = ("processed", commitment)
        self._watchers: dict[str, list[asyncio.Event]] = {}
        self._ids = itertools.count(1)
        self._requested: dict[int, str] = {}  # request id -> txid
        self._subscribed: dict[int, str] = {}  # subscription -> txid
        self._unwanted: list[int] = []  # subscriptions to end
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether notifications can come."""
        return self._socket is not None

    @asynccontextmanager
    async def watch(self, txid: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the transaction may have moved; the caller clears it."""
        changed = asyncio.Event()
        if self._url is None or len(self._watchers) >= WATCHED_MAX:
            yield changed
            return
        first = txid not in self._watchers
        self._watchers.setdefault(txid, []).append(changed)
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(self._url), name="keyquorum-sol-feed")
            elif first and self._socket is not None:
                await self._subscribe(self._socket, txid)
            yield changed
        finally:
            await self._unwatch(txid, changed)

    async def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _unwatch(self, txid: str, changed: asyncio.Event) -> None:
        watchers = self._watchers[txid]
        watchers.remove(changed)
        if watchers:
            return
        del self._watchers[txid]
        for subscription in [number for number, watched in self._subscribed.items() if watched == txid]:
            if self._socket is not None:
                await self._unsubscribe(self._socket, subscription)

    async def _run(self, url: str) -> None:
        pause = PAUSE_S_MIN
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    socket = await self._http.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX)
            except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError, ValueError):
                self._log.warning("solana.websocket_unreachable", retry_s=pause)
            else:
                async with socket:
                    heard = await self._listen(socket)
                pause = PAUSE_S_MIN if heard else pause
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 spreads reconnections, hides nothing
            pause = min(2 * pause, PAUSE_S_MAX)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Serve a connection until it breaks; whether it was of any use."""
        heard = False
        self._socket = socket
        try:
            for txid in list(self._watchers):
                await self._subscribe(socket, txid)
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT or not self._hear(message.data):
                    break
                heard = True
                while self._unwanted:
                    await self._unsubscribe(socket, self._unwanted.pop())
        finally:
            self._socket = None
            self._requested.clear()
            self._subscribed.clear()
            self._unwanted.clear()
            self._wake(*self._watchers)
        return heard

    def _hear(self, text: str) -> bool:
        """Take in one message; False if the other side does not speak the protocol."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict):
            return False
        if message.get("method") == "signatureNotification":
            params = message.get("params")
            number = params.get("subscription") if isinstance(params, dict) else None
            if type(number) is int and number in self._subscribed:
                self._wake(self._subscribed.pop(number))  # the node cancels it after one notification
        elif type(message.get("id")) is int:
            txid = self._requested.pop(message["id"], None)
            number = message.get("result")
            if txid is not None and type(number) is int:
                self._subscribed[number] = txid
                if txid not in self._watchers:
                    self._unwanted.append(number)  # left before the answer came
        return True

    def _wake(self, *txids: str) -> None:
        for txid in txids:
            for changed in self._watchers.get(txid, ()):
                changed.set()

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse, txid: str) -> None:
        for commitment in self._commitments:
            request_id = next(self._ids)
            self._requested[request_id] = txid  # before sending: the answer is read by another task
            await self._send(socket, request_id, "signatureSubscribe", [txid, {"commitment": commitment}])

    async def _unsubscribe(self, socket: aiohttp.ClientWebSocketResponse, subscription: int) -> None:
        if self._subscribed.pop(subscription, None) is not None:
            await self._send(socket, next(self._ids), "signatureUnsubscribe", [subscription])

    async def _send(
        self, socket: aiohttp.ClientWebSocketResponse, request_id: int, method: str, params: list[Any]
    ) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await socket.send_json({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        except (aiohttp.ClientError, OSError, RuntimeError, TimeoutError):
            await socket.close()  # the listener finds it closed and connects again
