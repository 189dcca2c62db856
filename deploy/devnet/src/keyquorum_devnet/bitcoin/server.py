"""The HTTP server: ``POST /`` is bitcoind's JSON-RPC, every GET and ``POST /tx`` are Esplora's, all on one port."""

import asyncio
import base64
import hmac
import ipaddress
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from keyquorum_devnet.bitcoin import esplora
from keyquorum_devnet.bitcoin.faucet import Faucet
from keyquorum_devnet.bitcoin.kernel import BlockRefused
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.rpc import dispatch

REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024  # the hex of a block that is full of witnesses is the most there is
TRANSACTION_BYTES_MAX: Final = 1_000_000  # electrs' own limit; a standard transaction has 800,000 digits
REQUEST_S_MAX: Final = 30.0  # electrs' own limit on reading a body
HISTORY_BLOCKS: Final = 120  # mined at the start: a coinbase can be spent 100 blocks later

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the chain runs. ``block_every_s`` 0: blocks come only when asked for. ``rpc_user`` "": JSON-RPC asks for no
    password. ``full_rbf``: a replacement needs no BIP 125 signal."""

    block_every_s: float = 0.0
    full_rbf: bool = True
    history_blocks: int = HISTORY_BLOCKS
    rpc_user: str = ""
    rpc_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.block_every_s <= 3600:
            raise ValueError("block_every_s is between 0 and 3600")
        if not 0 <= self.history_blocks <= 5_000:
            raise ValueError("history_blocks is between 0 and 5000")
        if bool(self.rpc_user) != bool(self.rpc_password):
            raise ValueError("a user and a password come together")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens. ``url`` ends without a slash: it is Esplora's base, and the JSON-RPC's address."""

    url: str
    node: Node
    faucet: Faucet


NODE = web.AppKey("node", Node)
FAUCET = web.AppKey("faucet", Faucet)
AUTHORIZATION = web.AppKey("authorization", bytes)


@asynccontextmanager
async def running(host: str = "127.0.0.1", port: int = 0, settings: Settings | None = None) -> AsyncIterator[Running]:
    """A server with a fresh chain for as long as the context is open; port 0 takes a free one. Refuses to bind off
    loopback."""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError("the development chain hands out coins and listens on loopback only")
    settings = settings or Settings()
    with tempfile.TemporaryDirectory(prefix="keyquorum-bitcoin-") as folder:
        node = Node(Path(folder), time.time, os.urandom(32), full_rbf=settings.full_rbf)
        try:
            faucet = Faucet(node, os.urandom(32))
            node.mine_history(faucet.script, settings.history_blocks)
            async with _listening(host, port, _app(node, faucet, settings)) as url:
                yield Running(url, node, faucet)
        finally:
            node.close()


async def serve(
    host: str = "127.0.0.1",
    port: int = 18443,
    settings: Settings | None = None,
    ready: Callable[[Running], None] | None = None,
) -> None:
    """Serve until cancelled; ``ready`` is called once connections are accepted."""
    async with running(host, port, settings) as server:
        if ready is not None:
            ready(server)
        await asyncio.Event().wait()


@asynccontextmanager
async def _listening(host: str, port: int, app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        bound = runner.addresses[0][1]
        yield f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
    finally:
        await runner.cleanup()


def _app(node: Node, faucet: Faucet, settings: Settings) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app[NODE], app[FAUCET] = node, faucet
    credentials = f"{settings.rpc_user}:{settings.rpc_password}" if settings.rpc_user else ""
    app[AUTHORIZATION] = b"Basic " + base64.b64encode(credentials.encode()) if credentials else b""
    app.router.add_post("/", _rpc)
    app.router.add_post("/tx", _broadcast)
    app.router.add_route("*", "/{path:.*}", _read)
    if settings.block_every_s:

        async def timer(_app: web.Application) -> AsyncIterator[None]:
            task = asyncio.create_task(_mine_every(settings.block_every_s, node, faucet))
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        app.cleanup_ctx.append(timer)
    return app


async def _rpc(request: web.Request) -> web.Response:
    expected = request.app[AUTHORIZATION]
    if expected and not hmac.compare_digest(
        request.headers.get("Authorization", "").encode("utf-8", "replace"), expected
    ):
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="jsonrpc"'})
    status, body = dispatch.answer(request.app[NODE], request.app[FAUCET], await _body(request, REQUEST_BYTES_MAX))
    return web.Response(body=body, status=status, content_type="application/json")


async def _broadcast(request: web.Request) -> web.Response:
    return esplora.broadcast(request.app[NODE], await _body(request, TRANSACTION_BYTES_MAX))


async def _read(request: web.Request) -> web.Response:
    if request.method != "GET":
        return esplora.unknown(request.path)
    return esplora.answer(request.app[NODE], request.path)


async def _body(request: web.Request, bytes_max: int) -> bytes:
    """What was sent; 413 for more than ``bytes_max``, 408 for a sender that takes too long."""
    try:
        async with asyncio.timeout(REQUEST_S_MAX):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="Request timeout") from None
    if len(body) > bytes_max:
        raise web.HTTPRequestEntityTooLarge(bytes_max, len(body), text="Request body too large")
    return body


async def _mine_every(seconds: float, node: Node, faucet: Faucet) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + seconds, loop.time())
        await asyncio.sleep(due - loop.time())
        if node.mining:
            try:
                node.mine(faucet.script)
            except BlockRefused as refused:
                _log.warning("no block: %s", refused)
