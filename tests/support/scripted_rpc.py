"""A JSON-RPC node that says what it is told to: true, wrong, hostile or nothing at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Reply = Callable[[web.Request, dict[str, Any]], Any]


def result(value: Any) -> Reply:
    """A well-formed answer."""

    async def reply(_request: web.Request, call: dict[str, Any]) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": value})

    return reply


def error(code: int, message: str, data: Any = None) -> Reply:
    """A well-formed refusal."""

    async def reply(_request: web.Request, call: dict[str, Any]) -> web.Response:
        body = {"code": code, "message": message, "data": data}
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "error": body})

    return reply


def preflight(cause: Any) -> Reply:
    """The refusal of a transaction that the node simulated."""
    return error(-32002, "Transaction simulation failed", {"err": cause, "logs": []})


def body(content: bytes | str, status: int = 200) -> Reply:
    """Any bytes, with any HTTP status."""
    data = content.encode() if isinstance(content, str) else content

    async def reply(_request: web.Request, _call: dict[str, Any]) -> web.Response:
        return web.Response(body=data, status=status, content_type="application/json")

    return reply


def raw(**members: Any) -> Reply:
    """A JSON object of one's own; the id is that of the request unless given."""

    async def reply(_request: web.Request, call: dict[str, Any]) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], **members})

    return reply


async def silence(_request: web.Request, _call: dict[str, Any]) -> web.Response:
    """Never an answer."""
    await asyncio.sleep(3600)
    raise AssertionError


async def hang_up(request: web.Request, _call: dict[str, Any]) -> web.Response:
    """The connection is cut after the request was read."""
    assert request.transport is not None
    request.transport.abort()
    raise asyncio.CancelledError


@dataclass
class ScriptedNode:
    """``replies``: method to what is said each time, the last of which is repeated."""

    url: str = ""
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)

    def says(self, method: str, *replies: Reply) -> None:
        """What ``method`` is answered with from now on."""
        self.replies[method] = list(replies)

    def called(self, method: str) -> list[list[Any]]:
        """The parameters of every call of ``method``."""
        return [params for name, params in self.calls if name == method]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = json.loads(await request.read())
        self.calls.append((call["method"], call["params"]))
        script = self.replies[call["method"]]
        reply = script.pop(0) if len(script) > 1 else script[0]
        return await reply(request, call)


@asynccontextmanager
async def scripted_node() -> AsyncIterator[ScriptedNode]:
    """A scripted node that listens."""
    node = ScriptedNode()
    app = web.Application()
    app.router.add_post("/", node.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield node
    finally:
        await runner.cleanup()
