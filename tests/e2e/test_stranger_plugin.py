"""A stranger's plugin, from the author's guide alone: written, built, refused, allowed, pinned, and then serving wallets."""

import asyncio
import json
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from keyquorum_devnet import control
from keyquorum_devnet.layout import GATEWAY, PARTIES
from keyquorum_devnet.rest import Gateway
from keyquorum_devnet.toml import dumps
from support import guide
from support.stack import RunningStack

CHAIN = "toy:local"
FUNDS = 100_000
AMOUNT = 2_500


@dataclass
class Stranger:
    """Somebody with a folder, a ledger, and what ``plugins add`` printed."""

    folder: Path
    ledger_url: str
    added: str

    @property
    def site(self) -> Path:
        """The version's own folder."""
        return self.folder / "plugins/toy-0.1.0"

    def printed(self, table: str) -> str:
        """The TOML that was printed from a line on, to the next empty one."""
        return table + self.added.partition(table)[2].partition("\n\n")[0] + "\n"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Iterator[Stranger]:
    """Sections 1, 4 and 5 of the guide, as far as they need no stack."""
    start = tmp_path_factory.mktemp("stranger")
    guide.run(block_line("keyquorum plugins new toy"), start)
    folder = start / "keyquorum-toy"
    added = guide.run(guide.block("python -m pip wheel"), folder)
    command = guide.block("python -m ledger").replace("--port 9100", "--port 0")
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=folder,
        env=guide.environment(PYTHONPATH="src"),
        stdout=subprocess.PIPE,
        text=True,
    ) as ledger:
        port = json.loads(ledger.stdout.readline())["port"]
        yield Stranger(folder, f"http://127.0.0.1:{port}", added)
        ledger.terminate()
        ledger.wait(10)


def block_line(text: str) -> str:
    """One line of a block."""
    (line,) = [line for line in guide.block(text).splitlines() if text in line]
    return line


@pytest.fixture(scope="module")
def served(stranger, tmp_path_factory) -> Iterator[RunningStack]:
    """A stack whose gateway can import the plugin, and knows of its chain."""
    chains = stranger.folder / "chains.toml"
    chains.write_text(guide.block('[chains."toy:local"]', "toml").replace("http://127.0.0.1:9100", stranger.ledger_url))
    running = RunningStack(
        tmp_path_factory.mktemp("served"),
        *("--no-restart", "--chain", "solana", "--plugin-path", str(stranger.site), "--chains-file", str(chains)),
    )
    yield running.start()
    assert running.stop() == 0, running.output


async def command(stack: RunningStack, *words: str) -> str:
    """``keyquorum`` as its operator runs it."""
    status = await stack.status()
    line = " ".join(["keyquorum", *words])
    environ = {"KEYQUORUM_URL": status["base_url"], "KEYQUORUM_API_KEY_FILE": status["api_key_file"], "COLUMNS": "250"}
    return await asyncio.to_thread(guide.run, line, stack.layout.state, **environ)


async def restarted(stack: RunningStack, *names: str) -> None:
    """Processes that read their configuration again."""
    for order in ("stop", "start"):
        await asyncio.gather(*(control.ask(stack.layout.state, order, name) for name in names))
    await stack.settled(len(PARTIES))


async def test_a_strangers_plugin_serves(stranger, served):
    """Refused with the line that allows it; with that line and the pins that were printed, it moves coins."""
    lines = [line for line in (await command(served, "plugins")).splitlines() if "keyquorum-toy" in line]
    assert len(lines) == 2
    assert all("refused" in line for line in lines)
    (line,) = {line.partition("add under [plugins]: ")[2].strip() for line in lines}

    gateway = served.layout.config(GATEWAY)
    (before,) = [text for text in gateway.read_text().splitlines() if text.startswith("allow = ")]
    gateway.write_text(gateway.read_text().replace(before, line))
    pins = tomllib.loads(stranger.printed("[[codecs]]"))["codecs"]
    for party in PARTIES:
        file = served.layout.config(party)
        table = tomllib.loads(file.read_text())
        file.write_text(dumps({**table, "codecs": [*table["codecs"], *pins]}))
    at_party = await asyncio.to_thread(
        guide.run, "keyquorum-signer codec toy --path plugins/toy-0.1.0", stranger.folder
    )
    assert tomllib.loads(at_party)["codecs"] == pins
    await restarted(served, *PARTIES, GATEWAY)

    plugins = json.loads(await command(served, "plugins", "list", "--json"))["items"]
    assert [p["state"] for p in plugins if p["distribution"] == "keyquorum-toy"] == ["loaded", "loaded"]
    async with aiohttp.ClientSession() as session:
        client = Gateway(session, (await served.status())["base_url"], served.api_key)
        source, destination = [await account(client, session, stranger) for _ in range(2)]
        body = {"account_id": source["id"], "destination": destination["address"], "amount": str(AMOUNT), "memo": "hi"}
        ordered = await client.order("/v1/transactions", body)
        ended = frozenset({"confirmed", "failed", "expired"})
        found = await client.until(f"/v1/transactions/{ordered.made_id}", ended, within_s=20)
        assert (found["state"], found["error"]) == ("confirmed", None)
        assert await balance(session, stranger, destination["address"]) == FUNDS + AMOUNT
        assert await balance(session, stranger, source["address"]) == FUNDS - AMOUNT - int(found["fee"]["amount"])
        async with session.get(f"{stranger.ledger_url}/transactions/{found['txid']}") as answer:
            assert (await answer.json())["confirmations"] >= 2
    roster = served.layout.node(PARTIES[0]) / "roster.toml"
    proven = await asyncio.to_thread(
        guide.run,
        f"keyquorum verify wallet {source['wallet_id']} --roster {roster}",
        stranger.folder,
        PYTHONPATH=str(stranger.site),
        KEYQUORUM_URL=(await served.status())["base_url"],
        KEYQUORUM_API_KEY_FILE=str(served.layout.api_key),
        COLUMNS="250",
    )
    assert source["address"] in proven


async def account(client: Gateway, session: aiohttp.ClientSession, stranger: Stranger) -> dict[str, str]:
    """An account of a new wallet, with coins."""
    ordered = await client.order("/v1/wallets", {"user_id": "stranger", "chains": [CHAIN]})
    await client.operation(ordered.operation_id, within_s=30)
    wallet = await client.get(f"/v1/wallets/{ordered.made_id}")
    found = wallet["accounts"][0] | {"wallet_id": wallet["id"]}
    body = {"address": found["address"], "amount": FUNDS}
    async with session.post(f"{stranger.ledger_url}/faucet", json=body) as answer:
        assert answer.status == 200
    async with asyncio.timeout(10):
        while await balance(session, stranger, found["address"]) != FUNDS:
            await asyncio.sleep(0.05)
    return found


async def balance(session: aiohttp.ClientSession, stranger: Stranger, address: str) -> int:
    """What the ledger itself says."""
    async with session.get(f"{stranger.ledger_url}/accounts/{address}") as answer:
        return int((await answer.json())["balance"])
