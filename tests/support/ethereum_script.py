"""A scripted Ethereum node: the scripted JSON-RPC node, which also takes batches."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from support.scripted_rpc import ScriptedNode

HASH = "0x" + "ab" * 32


def block(number: int = 16, **changes: Any) -> dict[str, Any]:
    """A block as nodes give it."""
    honest = {"number": hex(number), "hash": HASH, "parentHash": "0x" + "aa" * 32, "baseFeePerGas": "0x3b9aca00"}
    return {**honest, **changes}


def receipt(txid: str, **changes: Any) -> dict[str, Any]:
    """A receipt as nodes give it."""
    honest = {
        "transactionHash": txid,
        "blockHash": HASH,
        "blockNumber": "0x10",
        "transactionIndex": "0x0",
        "status": "0x1",
        "gasUsed": "0x5208",
        "effectiveGasPrice": "0x3b9aca00",
    }
    return {**honest, **changes}


class ScriptedEthereum(ScriptedNode):
    """Answers a batch with what it says to each call."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        calls = json.loads(await request.read())
        if isinstance(calls, dict):
            return await self._one(request, calls)
        answers = [await self._one(request, call) for call in calls]
        strange = [answer for answer in answers if answer.status != 200]
        return strange[0] if strange else web.Response(body=b"[" + b",".join(map(_body, answers)) + b"]")

    async def _one(self, request: web.Request, call: dict[str, Any]) -> web.Response:
        self.calls.append((call["method"], call["params"]))
        script = self.replies[call["method"]]
        reply = script.pop(0) if len(script) > 1 else script[0]
        return await reply(request, call)


def _body(answer: web.Response) -> bytes:
    return bytes(answer.body)


@asynccontextmanager
async def scripted_ethereum() -> AsyncIterator[ScriptedEthereum]:
    """A scripted node that listens."""
    node = ScriptedEthereum()
    app = web.Application()
    app.router.add_post("/", node.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await asyncio.sleep(0)
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield node
    finally:
        await runner.cleanup()
