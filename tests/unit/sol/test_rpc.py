"""A node that is slow, wrong or hostile gets a typed error out of us, in time, and nothing else."""

import asyncio

import aiohttp
import pytest
from pydantic import StrictInt, TypeAdapter

from keyquorum_sol.rpc import JsonRpc, NoAnswer, NodeError
from support.scripted_rpc import ScriptedNode, body, error, hang_up, raw, result, silence

NUMBER = TypeAdapter(StrictInt)


async def test_answer_in_shape(rpc: JsonRpc, script: ScriptedNode) -> None:
    """The result of the very request, parsed."""
    script.says("getSlot", result(7))
    assert await rpc.call("getSlot", [{"commitment": "confirmed"}], NUMBER) == 7
    assert script.called("getSlot") == [[{"commitment": "confirmed"}]]


@pytest.mark.parametrize(
    "reply",
    [
        body(""),
        body("{"),
        body("7"),
        body("null"),
        body("[]"),
        body("<html>blocked</html>"),
        body(b"\xff\xfe\x00"),
        body("[" * 4000),
        body('{"jsonrpc": "2.0", "id": 1, "result": NaN}'),
        body('{"jsonrpc": "2.0", "id": 1, "result": 1' + "0" * 5000 + "}"),
        raw(),
        raw(result=None),
        raw(result="7"),
        raw(result=7, id=99),
        raw(result=7, id="1"),
        raw(result=7, id=True),
        raw(result=7, jsonrpc="1.0"),
        raw(error="no"),
        raw(error={"code": "429", "message": "no"}),
        raw(error={"code": 1}),
        raw(error={"code": 1, "message": "no"}, id=99),
        raw(result={"a": {"b": 1}}),
        body("x" * 20_000),
    ],
)
async def test_nonsense_is_no_answer(rpc: JsonRpc, script: ScriptedNode, reply: object) -> None:
    """Whatever is not a well-formed answer of the right form may still follow an action of the node."""
    script.says("getSlot", reply)
    with pytest.raises(NoAnswer) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert caught.value.acted


async def test_endless_answer_is_cut(rpc: JsonRpc, script: ScriptedNode) -> None:
    """A body that does not end costs no more than the limit."""

    async def endless(request: aiohttp.web.Request, _call: object) -> aiohttp.web.StreamResponse:
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000_000):
            await response.write(b" " * 4096)
        return response

    script.says("getSlot", endless)
    with pytest.raises(NoAnswer, match="too long"):
        await rpc.call("getSlot", [], NUMBER)


@pytest.mark.parametrize("timeout_s", [0.5])
async def test_silence_ends_in_time(rpc: JsonRpc, script: ScriptedNode, timeout_s: float) -> None:
    """No request hangs; the node may have acted."""
    script.says("getSlot", silence)
    async with asyncio.timeout(5):
        with pytest.raises(NoAnswer, match="in time") as caught:
            await rpc.call("getSlot", [], NUMBER)
    assert caught.value.acted


async def test_broken_connection_leaves_the_outcome_open(rpc: JsonRpc, script: ScriptedNode) -> None:
    """The node had the request."""
    script.says("getSlot", hang_up)
    with pytest.raises(NoAnswer) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert caught.value.acted


async def test_refused_connection_means_that_nothing_happened(http: aiohttp.ClientSession) -> None:
    """The node never had the request."""
    rpc = JsonRpc(http, "http://127.0.0.1:9/", timeout_s=1, response_bytes_max=4096)
    with pytest.raises(NoAnswer, match="reached") as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert not caught.value.acted


async def test_closed_session_is_no_answer(script: ScriptedNode) -> None:
    """A host that shuts down does not crash its adapters."""
    http = aiohttp.ClientSession()
    await http.close()
    rpc = JsonRpc(http, script.url, timeout_s=1, response_bytes_max=4096)
    with pytest.raises(NoAnswer):
        await rpc.call("getSlot", [], NUMBER)


@pytest.mark.parametrize(
    ("status", "acted"), [(429, False), (503, False), (403, False), (500, True), (502, True), (504, True)]
)
async def test_http_status_tells_whether_the_node_can_have_acted(
    rpc: JsonRpc, script: ScriptedNode, status: int, *, acted: bool
) -> None:
    """A gateway's limit is nothing done; a gateway's failure is anything."""
    script.says("getSlot", body('{"jsonrpc": "2.0", "id": 1, "result": 7}', status))
    with pytest.raises(NoAnswer, match=str(status)) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert caught.value.acted is acted


async def test_redirects_are_not_followed(rpc: JsonRpc, script: ScriptedNode) -> None:
    """A node does not choose where our requests go."""

    async def elsewhere(_request: object, _call: object) -> aiohttp.web.Response:
        return aiohttp.web.Response(status=307, headers={"Location": script.url})

    script.says("getSlot", elsewhere)
    with pytest.raises(NoAnswer, match="307"):
        await rpc.call("getSlot", [], NUMBER)
    assert len(script.calls) == 1


async def test_rate_limit_in_json_is_nothing_done(rpc: JsonRpc, script: ScriptedNode) -> None:
    """Code 429 is not Solana's, but what providers answer."""
    script.says("getSlot", error(429, "Too many requests"))
    with pytest.raises(NoAnswer) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert not caught.value.acted


async def test_errors_are_cut_and_cleaned(rpc: JsonRpc, script: ScriptedNode) -> None:
    """A node's text reaches logs and clients, so it is short and prints."""
    script.says("getSlot", error(-32005, "behind \x1b[31m\n" + "x" * 5000, {"numSlotsBehind": 42}))
    with pytest.raises(NodeError) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert caught.value.code == -32005
    assert caught.value.data == {"numSlotsBehind": 42}
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 200


async def test_the_url_is_never_told(http: aiohttp.ClientSession) -> None:
    """Providers put their token into it."""
    rpc = JsonRpc(http, "http://127.0.0.1:9/v2/s3cret", timeout_s=1, response_bytes_max=4096)
    with pytest.raises(NoAnswer) as caught:
        await rpc.call("getSlot", [], NUMBER)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__
