"""The chain's latest block, and wake-up calls when there is another one.

One websocket with one subscription (newHeads) serves everybody. A notification is only a hint: what is used always comes from
a request, so a websocket that is late, wrong or gone costs time and nothing else. After a break everybody is woken, the
connection is made again with growing pauses, and the subscription with it. Without a websocket, or while it is away,
what is known is asked again when it is older than ``age_s_max``.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from keyquorum_eth.node import EthereumNode
from keyquorum_eth.shapes import Block
from keyquorum_plugin_api.chain import Clock, Logger

MESSAGE_BYTES_MAX = 64 * 1024
CONNECT_S = 10.0
HEARTBEAT_S = 15.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 30.0
WAKE_S_MIN = 0.02  # between two wake-up calls, however many notifications a node sends
_SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}


class Heads:
    """The head that builds share, and events for those who follow the chain."""

    def __init__(
        self,
        node: EthereumNode,
        http: aiohttp.ClientSession,
        url: str | None,
        clock: Clock,
        log: Logger,
        *,
        age_s_max: float,
    ) -> None:
        self._node = node
        self._http = http
        self._url = url
        self._clock = clock
        self._log = log
        self._age_s_max = age_s_max
        self._head: tuple[float, Block] | None = None
        self._lock = asyncio.Lock()
        self._watchers: set[asyncio.Event] = set()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether notifications can come."""
        return self._socket is not None

    async def current(self) -> Block:
        """The latest block, asked for at most ``age_s_max`` ago; concurrent callers share one request."""
        if (head := self._fresh()) is not None:
            return head
        async with self._lock:
            if (head := self._fresh()) is not None:
                return head
            asked_at = self._clock.monotonic()
            head = await self._node.head()
            self._head = (asked_at, head)
            return head

    def forget(self) -> None:
        """Ask again next time."""
        self._head = None

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there may be another block; the caller clears it."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        if self._url is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(self._url), name="keyquorum-eth-heads")
        try:
            yield changed
        finally:
            self._watchers.discard(changed)

    async def pause(self, changed: asyncio.Event) -> None:
        """Wait until there may be another block, or as long as what is known may be used."""
        waits = {
            asyncio.ensure_future(changed.wait()),
            asyncio.ensure_future(self._clock.sleep(self._age_s_max)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _fresh(self) -> Block | None:
        if self._head is None or self._clock.monotonic() - self._head[0] > self._age_s_max:
            return None
        return self._head[1]

    async def _run(self, url: str) -> None:
        pause = PAUSE_S_MIN
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    socket = await self._http.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX)
            except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError, ValueError):
                self._log.warning("ethereum.websocket_unreachable", retry_s=pause)
            else:
                async with socket:
                    heard = await self._listen(socket)
                pause = PAUSE_S_MIN if heard else pause
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 spreads reconnections, hides nothing
            pause = min(2 * pause, PAUSE_S_MAX)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Serve a connection until it breaks; whether it was of any use."""
        heard = False
        try:
            await socket.send_json(_SUBSCRIBE)
            self._socket = socket
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT or not _is_object(message.data):
                    break
                heard = True
                self._wake()
                await self._clock.sleep(WAKE_S_MIN)
        except (aiohttp.ClientError, OSError, RuntimeError):
            self._log.warning("ethereum.websocket_broken")
        finally:
            self._socket = None
            self._wake()
        return heard

    def _wake(self) -> None:
        self.forget()
        for changed in self._watchers:
            changed.set()


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
