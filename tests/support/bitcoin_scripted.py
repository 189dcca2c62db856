"""A Bitcoin node that says what it is told to, as Esplora and as bitcoind: true, wrong, hostile or nothing at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from keyquorum_devnet.bitcoin import GENESIS_HASH

TIP = "11" * 32
SECRET = "s3cret-t0ken"


@dataclass(frozen=True)
class Says:
    """An answer. ``body`` is sent as it is if it is bytes or text, else as JSON."""

    body: Any
    status: int = 200

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Silence(Says):
    """Never an answer."""


class HangUp(Says):
    """The connection is cut after the request was read."""


@dataclass
class ScriptedBitcoin:
    """``paths``: Esplora's answers by path; ``methods``: bitcoind's results by name (Says: the whole body)."""

    url: str = ""
    paths: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(f"/{SECRET}")
        self.headers.append(dict(request.headers))
        if path == "/":
            return await self._rpc(request)
        self.requests.append(path)
        return await self._say(request, self.paths.get(path, Says("not here", 404)))

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        call = json.loads(await request.read())
        self.requests.append(call["method"])
        says = self.methods.get(call["method"], {"code": -32601, "message": "Method not found"})
        if callable(says):
            says = says(call["params"])
        if isinstance(says, Says):
            return await self._say(request, says)
        failed = isinstance(says, dict) and set(says) == {"code", "message"}
        answer = {"result": None if failed else says, "error": says if failed else None, "id": call["id"]}
        return web.json_response(answer, status=500 if failed else 200)

    async def _say(self, request: web.Request, says: Any) -> web.StreamResponse:
        if isinstance(says, list) and says and isinstance(says[0], Says):
            says = says.pop(0) if len(says) > 1 else says[0]
        says = says if isinstance(says, Says) else Says(says)
        if isinstance(says, Silence):
            await asyncio.sleep(3600)
        if isinstance(says, HangUp):
            assert request.transport is not None
            request.transport.abort()
        headers = {"Location": "http://127.0.0.1:9/"} if says.status == 302 else {}
        return web.Response(body=says.encoded(), status=says.status, headers=headers)


@asynccontextmanager
async def scripted_bitcoin() -> AsyncIterator[ScriptedBitcoin]:
    """A scripted node that listens, of the right network and with one block on top."""
    node = ScriptedBitcoin()
    node.paths = {
        "/block-height/0": GENESIS_HASH,
        "/blocks/tip/hash": TIP,
        f"/block/{TIP}": {"id": TIP, "height": 1, "previousblockhash": GENESIS_HASH, "tx_count": 1},
        f"/block/{TIP}/status": {"in_best_chain": True, "height": 1},
        "/fee-estimates": {},
    }
    node.methods = {
        "getblockhash": GENESIS_HASH,
        "getblockchaininfo": {"blocks": 1, "bestblockhash": TIP},
    }
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", node.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}"
    try:
        yield node
    finally:
        await runner.cleanup()
