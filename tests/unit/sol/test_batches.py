"""Calls that travel together are answered, and fail, as if each had been sent alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import TypeAdapter

from keyquorum_sol.rpc import BATCH_BYTES_MAX, JsonRpc, NoAnswer, NodeError

NUMBER = TypeAdapter(int)
Answers = Callable[[Any], Any]


class Server:
    """Answers what ``says`` makes of a request's JSON."""

    def __init__(self) -> None:
        self.url = ""
        self.says: Answers = honest
        self.sizes: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.sizes.append(len(body) if isinstance(body, list) else 0)
        await self.may_answer.wait()
        answer = self.says(body)
        return answer if isinstance(answer, web.Response) else web.json_response(answer)


def honest(body: Any) -> Any:
    """The parameter of each call, in another order."""
    if isinstance(body, dict):
        return {"jsonrpc": "2.0", "id": body["id"], "result": body["params"][0]}
    return [honest(call) for call in reversed(body)]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application(client_max_size=10**7)
    app.router.add_post("/", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield server
    await runner.cleanup()


@pytest.fixture
async def rpc(server: Server, http: aiohttp.ClientSession) -> AsyncIterator[JsonRpc]:
    rpc = JsonRpc(http, server.url, timeout_s=10.0, response_bytes_max=65_536, batch_max=10)
    yield rpc
    await rpc.close()


async def called(rpc: JsonRpc, count: int) -> list[Any]:
    """The outcomes of so many calls at a time."""
    calls = (rpc.call("echo", [number], NUMBER) for number in range(count))
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_each_call_gets_its_own_answer(server: Server, rpc: JsonRpc) -> None:
    """Whatever order they come in; a lone call is no batch."""
    assert await called(rpc, 25) == list(range(25))
    assert sorted(server.sizes) == [5, 10, 10]
    assert await called(rpc, 1) == [0]
    assert server.sizes[-1] == 0


async def test_requests_have_a_size_in_bytes(server: Server, rpc: JsonRpc) -> None:
    """Nodes refuse more than fifty kilobytes."""
    text = "x" * (BATCH_BYTES_MAX // 3)
    server.says = lambda body: (
        honest(body) if isinstance(body, dict) else [{"jsonrpc": "2.0", "id": call["id"], "result": 1} for call in body]
    )
    calls = (rpc.call("echo", [1, text], NUMBER) for _ in range(6))
    assert await asyncio.gather(*calls) == [1] * 6
    assert server.sizes == [2, 2, 2]


async def test_one_refusal_is_one_calls(server: Server, rpc: JsonRpc) -> None:
    """As is a missing answer, one of the wrong form, and one with another id."""

    def says(body: Any) -> Any:
        answers = honest(body)[::-1]
        answers[0] = {"jsonrpc": "2.0", "id": body[0]["id"], "error": {"code": -32000, "message": "no"}}
        answers[1] = {"jsonrpc": "2.0", "id": body[1]["id"], "result": "one"}
        answers[2] = {"jsonrpc": "2.0", "id": 10**9, "result": 2}
        answers[3] = 7
        answers[4]["id"] = str(body[4]["id"])
        return answers

    server.says = says
    found = await called(rpc, 6)
    assert isinstance(found[0], NodeError)
    assert [type(outcome) for outcome in found[1:5]] == [NoAnswer] * 4
    assert found[5] == 5


@pytest.mark.parametrize(
    ("answer", "acted"),
    [
        ({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}}, True),
        ([], True),
        (None, True),
        (web.Response(status=503), False),
        (web.Response(status=500), True),
        (web.Response(body=b"["), True),
        (web.Response(body=b"x" * 70_000), True),
    ],
)
async def test_failure_of_a_batch_is_every_calls(server: Server, rpc: JsonRpc, answer: Any, *, acted: bool) -> None:
    """With what it says about whether the node may have acted."""

    def says(_body: Any) -> Any:
        return web.Response(status=answer.status, body=answer.body) if isinstance(answer, web.Response) else answer

    server.says = says
    found = await called(rpc, 3)
    assert [type(outcome) for outcome in found] == [NoAnswer] * 3
    assert {outcome.acted for outcome in found} == {acted}


async def test_closing_ends_what_is_under_way(server: Server, rpc: JsonRpc) -> None:
    """Nobody waits for ever, and nobody is told that nothing happened."""
    server.may_answer.clear()
    waiting = asyncio.create_task(called(rpc, 3))
    async with asyncio.timeout(5):
        while not server.sizes:
            await asyncio.sleep(0.01)
        await rpc.close()
        outcomes = await waiting
    assert [(type(outcome), outcome.acted) for outcome in outcomes] == [(NoAnswer, True)] * 3


async def test_caller_that_goes_takes_nobody_along(server: Server, rpc: JsonRpc) -> None:
    """The others' answers still arrive."""
    leaving, staying = (asyncio.create_task(rpc.call("echo", [number], NUMBER)) for number in (1, 2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2
    assert leaving.cancelled()
