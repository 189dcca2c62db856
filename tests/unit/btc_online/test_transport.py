"""A node that is slow, wrong or hostile gets a typed error out of us, in time, that says nothing about its address."""

import asyncio

import aiohttp
import pytest

from keyquorum_btc.transport import NoAnswer, Refused, Reply, Transport
from support.bitcoin_scripted import SECRET, HangUp, Says, ScriptedBitcoin, Silence


async def test_answer_within_its_bounds(transport: Transport, script: ScriptedBitcoin) -> None:
    """Status and body, whatever the status."""
    script.paths["/a"] = Says("text", 418)
    assert await transport.request("GET", "/a") == Reply(418, b"text")


async def test_endless_answers_are_cut(transport: Transport, script: ScriptedBitcoin) -> None:
    """A body costs no more than the limit."""
    script.paths["/a"] = Says(b" " * 8193)
    with pytest.raises(NoAnswer, match="too long") as caught:
        await transport.request("GET", "/a")
    assert caught.value.acted


@pytest.mark.parametrize("timeout_s", [0.3])
async def test_silence_ends_in_time(transport: Transport, script: ScriptedBitcoin) -> None:
    """The node may have acted."""
    script.paths["/a"] = Silence("")
    async with asyncio.timeout(5):
        with pytest.raises(NoAnswer, match="in time") as caught:
            await transport.request("POST", "/a", b"x")
    assert caught.value.acted


async def test_broken_connections(transport: Transport, script: ScriptedBitcoin) -> None:
    """The node may have acted."""
    script.paths["/a"] = HangUp("")
    with pytest.raises(NoAnswer, match="broke") as caught:
        await transport.request("POST", "/a", b"x")
    assert caught.value.acted


async def test_nobody_there(http: aiohttp.ClientSession) -> None:
    """Nothing can have happened, and the address with its token is not shown."""
    away = Transport(http, f"http://127.0.0.1:9/{SECRET}", timeout_s=5, response_bytes_max=10)
    with pytest.raises(NoAnswer) as caught:
        await away.request("POST", "/a", b"x")
    assert not caught.value.acted
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in f"{caught.value!r} {caught.value} {away!r}"


async def test_redirects_are_not_followed(transport: Transport, script: ScriptedBitcoin) -> None:
    """A node cannot send our requests, with credentials, elsewhere."""
    script.paths["/a"] = Says("", 302)
    assert (await transport.request("GET", "/a")).status == 302


@pytest.mark.parametrize("body", ["", "{", "NaN", "[Infinity]", b"\xff", "[" * 100_000])
def test_what_is_no_json(body: str | bytes) -> None:
    """Neither parsed nor fatal."""
    with pytest.raises(NoAnswer, match="JSON"):
        Reply(200, body if isinstance(body, bytes) else body.encode()).json()


def test_texts_of_nodes_are_cut_and_cleaned() -> None:
    """What is shown to people is short and on one line."""
    shown = Refused(-26, "bad\x1b[31m\n" + "x" * 1000).message
    assert len(shown) <= 200
    assert shown.isprintable()
