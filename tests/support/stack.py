"""A whole stack as processes, for end-to-end tests: started as an operator starts it, killed as only a test does."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from keyquorum_devnet import control
from keyquorum_devnet.engines import ENGINES, SOLANA, ChainClient
from keyquorum_devnet.engines.solana import SolanaClient
from keyquorum_devnet.initiator import Initiator
from keyquorum_devnet.layout import PARTIES, Layout
from keyquorum_devnet.readiness import quorum_stands
from keyquorum_devnet.rest import Gateway

START_S_MAX = 90.0
STOP_S_MAX = 40.0
SETTLE_S_MAX = 30.0
LOG_TAIL_CHARS = 800


class RunningStack:
    """``keyquorum-devnet up`` on a state folder, and what a test may do to its processes."""

    def __init__(self, state: Path, *flags: str) -> None:
        self.layout = Layout(state)
        self._flags = flags
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> "RunningStack":
        """Start it and wait until it says that it serves."""
        self.layout.state.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).parent / "keyquorum-devnet"), "up", "--state", str(self.layout.state)]
        with self.output_file.open("wb") as output:
            self._supervisor = subprocess.Popen(
                [*command, *self._flags], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_S_MAX
        while "Ctrl-C stops everything" not in self.output:
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"the stack did not start:\n{self.output}\n{self.log_tails()}")
            time.sleep(0.1)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for its end; its exit code."""
        if self._supervisor is None:
            return 0
        self._supervisor.send_signal(number)
        try:
            return self._supervisor.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
            raise AssertionError(f"the stack did not stop:\n{self.output}") from None
        finally:
            self._supervisor = None

    @property
    def output_file(self) -> Path:
        """What the supervisor printed."""
        return self.layout.state / "up.log"

    @property
    def output(self) -> str:
        """What the supervisor printed so far."""
        return self.output_file.read_text(encoding="utf-8")

    def log_tails(self) -> str:
        """The end of each process's log, for an assertion's text."""
        found = sorted(self.layout.logs.glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{self.log(log.stem)[-LOG_TAIL_CHARS:]}" for log in found)

    def log(self, name: str) -> str:
        """The log of one process."""
        return (self.layout.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    async def status(self) -> dict[str, Any]:
        """Addresses and process ids."""
        return await control.ask(self.layout.state, "status")

    async def pid(self, name: str) -> int | None:
        """The process id of one process; None while it is down."""
        status = await self.status()
        return status["processes"][name]["pid"]

    async def family(self, name: str) -> list[int]:
        """One process and all that it started."""
        pid = await self.pid(name)
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    async def kill9(self, name: str) -> None:
        """SIGKILL to the main process of ``name``, by its id; returns once the supervisor has seen it die."""
        pid = await self.pid(name)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while await self.pid(name) == pid:
            assert time.monotonic() < deadline, f"{name} survived"
            await asyncio.sleep(0.02)

    async def bring_back(self, *names: str) -> None:
        """Start processes that are down, and wait until every party that runs is connected with every other."""
        for name in names:
            await control.ask(self.layout.state, "start", name)
        await self.settled(len(PARTIES))

    async def bring_back_one(self, name: str) -> None:
        """Start one of several that are down, and wait until it is connected with whoever else runs."""
        await control.ask(self.layout.state, "start", name)
        status = await self.status()
        await self.settled(sum(status["processes"][party]["pid"] is not None for party in PARTIES))

    async def devnet(self, *words: str) -> str:
        """``keyquorum-devnet`` with this stack's state; what it printed."""
        command = [str(Path(sys.executable).parent / "keyquorum-devnet"), *words, "--state", str(self.layout.state)]
        done = await asyncio.to_thread(
            subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def settled(self, parties: int) -> None:
        """Wait until the gateway sees so many parties, connected with each other."""
        status = await self.status()
        deadline = time.monotonic() + SETTLE_S_MAX
        async with aiohttp.ClientSession() as session:
            while not await quorum_stands(session, status["base_url"], self.api_key, parties):
                assert time.monotonic() < deadline, f"{parties} parties did not settle\n{self.log_tails()}"
                await asyncio.sleep(0.05)

    @property
    def api_key(self) -> str:
        """The API key of the printed commands."""
        return self.layout.api_key.read_text(encoding="ascii").strip()

    @asynccontextmanager
    async def customer(self) -> AsyncIterator["Customer"]:
        """A customer with a connection of its own."""
        status = await self.status()
        async with aiohttp.ClientSession() as session:
            seed = bytes.fromhex(self.layout.root_key.read_text(encoding="ascii"))
            urls = status["chain_urls"]
            yield Customer(
                Gateway(session, status["base_url"], self.api_key),
                {engine.chain: engine.client(session, urls[engine.name]) for engine in ENGINES if engine.name in urls},
                Initiator(seed),
                session,
                status["base_url"],
            )


class Customer:
    """Somebody who has wallets, and asks each chain what became of the money."""

    def __init__(
        self,
        gateway: Gateway,
        chains: Mapping[str, ChainClient],
        initiator: Initiator,
        session: aiohttp.ClientSession,
        base_url: str,
    ) -> None:
        self.gateway = gateway
        self.chains = chains
        self.initiator = initiator
        self.session = session
        self.base_url = base_url
        self.headers = {"Authorization": f"Bearer {gateway.api_key}"}

    @property
    def chain(self) -> SolanaClient:
        """Solana, where most tests that are about no chain make their transfers."""
        client = self.chains[SOLANA.chain]
        assert isinstance(client, SolanaClient)
        return client

    async def wallet(self, chain: str, **wallet: Any) -> dict[str, Any]:
        """A new gateway-initiated wallet with an account on a chain."""
        body = {"user_id": "e2e", "chains": [chain], **wallet}
        ordered = await self.gateway.order("/v1/wallets", body)
        await self.gateway.operation(ordered.operation_id, within_s=30)
        found: dict[str, Any] = await self.gateway.get(f"/v1/wallets/{ordered.made_id}")
        return found

    async def funded_account(self, chain: str, amount: int = 5_000_000_000, **wallet: Any) -> dict[str, Any]:
        """The first account of a new gateway-initiated wallet, with coins on it."""
        found = await self.wallet(chain, **wallet)
        account: dict[str, Any] = found["accounts"][0]
        await self.fund(account["address"], amount, chain=chain)
        return account | {"wallet_id": found["id"]}

    async def fund(self, address: str, amount: int = 5_000_000_000, *, chain: str = SOLANA.chain) -> None:
        """Coins from the chain."""
        await self.chains[chain].fund(address, amount)

    async def transfer(self, account: dict[str, Any], destination: str, amount: int) -> dict[str, Any]:
        """A transfer, confirmed by the chain itself."""
        chain = self.chains[account["chain"]]
        body = {"account_id": account["id"], "destination": destination, "amount": str(amount)}
        before = await chain.balance(destination)
        ordered = await self.gateway.order("/v1/transactions", body)
        ended = frozenset({"confirmed", "failed", "expired"})
        found: dict[str, Any] = await self.gateway.until(f"/v1/transactions/{ordered.made_id}", ended, within_s=30)
        assert found["state"] == "confirmed", found
        await chain.judge(found["txid"], account["address"])
        assert await chain.balance(destination) == before + amount
        return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that waits for its new parent has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pasted_lines(output: str, engine: str) -> list[str]:
    """The commands that ``make run`` prints for a chain, in order."""
    section = re.search(rf"^{engine}: make a wallet.*?\n((?:\n(?:WALLET=|curl ).*\n)+)", output, re.MULTILINE)
    return section[1].strip().split("\n\n") if section else []
