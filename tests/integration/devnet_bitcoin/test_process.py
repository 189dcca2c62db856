"""The node as a process, and its limits."""

import asyncio
import io
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from keyquorum_devnet.bitcoin import CHAIN_ID, server
from keyquorum_devnet.bitcoin.server import REQUEST_BYTES_MAX, TRANSACTION_BYTES_MAX, Settings, running
from support.bitcoin_node import bitcoin_node


async def started(folder: Path, *options: str) -> tuple[asyncio.subprocess.Process, str]:
    """The process with its temporary files below ``folder``, and its URL once it serves."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keyquorum_devnet.bitcoin", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
    assert line[:2] == [CHAIN_ID, "esplora"]
    assert line[3:] == ["rpc", line[2] + "/"]
    return process, line[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serves_until_a_signal_and_leaves_nothing(tmp_path, number):
    """Blocks come by themselves, the signal ends it with success, and the folder of its blocks is gone."""
    process, url = await started(tmp_path, "--block-every", "0.05")
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            height = 0
            while height < 123:
                async with session.get(url + "/blocks/tip/height") as response:
                    height = int(await response.text())
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert list(tmp_path.iterdir()) == []


async def test_starts_in_well_under_a_second():
    """120 blocks, checked by the consensus code, before the first question: processor time, whoever else is busy."""
    began = time.process_time()
    async with bitcoin_node() as node:
        assert node.height == 120
        assert node.faucet.balance() == 21 * 50 * 10**8
    assert time.process_time() - began < 1.0


async def test_timer_stops_and_resumes():
    """Between two calls no block comes but those that are asked for."""
    async with bitcoin_node(Settings(block_every_s=0.01)) as node:
        async with asyncio.timeout(20):
            while node.height < 122:
                await asyncio.sleep(0.01)
        assert await node.rpc("devnet_setMining", False) is True
        height = node.height
        await asyncio.sleep(0.1)
        assert node.height == height
        await node.rpc("devnet_mine", 1)
        assert node.height == height + 1
        assert await node.rpc("devnet_setMining", True) is False
        async with asyncio.timeout(20):
            while node.height < height + 3:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "size"),
    [("/", REQUEST_BYTES_MAX + 1), ("/tx", REQUEST_BYTES_MAX + 1), ("/tx", TRANSACTION_BYTES_MAX + 1)],
)
async def test_oversize_requests_are_refused(bitcoin, http, path, size):
    """One byte more than the limit is too much, and the node goes on."""
    async with http.post(bitcoin.url + path, data=io.BytesIO(b"0" * size)) as response:
        assert response.status == 413
    async with http.post(bitcoin.url + "/tx", data=io.BytesIO(b"0" * TRANSACTION_BYTES_MAX)) as response:
        assert response.status == 400
    async with http.get(bitcoin.url + "/blocks/tip/height") as response:
        assert response.status == 200


async def test_body_that_never_ends_is_given_up(bitcoin, http, monkeypatch):
    """A sender that stops half-way gets 408, and holds nothing."""
    monkeypatch.setattr(server, "REQUEST_S_MAX", 0.05)

    async def half():
        yield b'{"id": 1,'
        await asyncio.sleep(30)

    async with http.post(bitcoin.url, data=half()) as response:
        assert response.status == 408


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_other_methods(bitcoin, http, method):
    """What Esplora does not have is not there."""
    async with http.request(method, bitcoin.url + "/blocks/tip/height") as response:
        assert response.status == 404


async def test_only_loopback():
    """It hands out coins; nobody else's business."""
    with pytest.raises(ValueError, match="loopback"):
        async with running("0.0.0.0"):
            pass


@pytest.mark.parametrize("settings", [{"block_every_s": -1}, {"block_every_s": 1e9}, {"history_blocks": -1}])
def test_settings_have_limits(settings):
    """A clock that runs backwards, a chain of millions."""
    with pytest.raises(ValueError, match="between"):
        Settings(**settings)
