"""What a chain's adapter does in a second by itself: against its real engine, with reservations that survive a crash, and
with local keys in place of the parties."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from bench.rows import Row, latency
from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_devnet import operators, ports, readiness
from keyquorum_devnet.engines import BITCOIN, ETHEREUM, SOLANA, ChainClient, Engine
from keyquorum_devnet.processes import Program, Supervisor
from keyquorum_eth.adapter import EthereumAdapter
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.reservations import StoredReservations
from keyquorum_plugin_api.chain import ChainAdapter, TransactionState
from keyquorum_plugin_api.codec import TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.testing import LocalAccount, LocalSigner, local_context
from keyquorum_sol.adapter import SolanaAdapter
from support.bitcoin_codec_target import bitcoin_account
from support.ethereum_target import ethereum_account
from support.scripts import ROOT
from support.solana_target import solana_account

ACCOUNTS: Final = 8
BUILDERS: Final = 64  # callers at once
COMPLETERS: Final = 200  # most of whom wait for a block
BUILDS: Final = 960
COMPLETIONS: Final = 1_000
BLOCK_S: Final = 0.1  # faster than any real chain: what is measured should not be the wait for a block
CONFIRMED_S_MAX: Final = 30.0
SEED: Final = b"bench"


@dataclass(frozen=True)
class Subject:
    """A chain's adapter and what its transfers need."""

    suffix: str
    engine: Engine
    adapter: type[ChainAdapter]
    account: Callable[[bytes, int], LocalAccount]
    fund: Callable[[ChainClient, str, int], Awaitable[object]]  # client, address, how many transfers
    settings: Mapping[str, Any] = field(default_factory=dict)


async def _fund_lamports(client: ChainClient, address: str, _transfers: int) -> None:
    await client.fund(address, 50 * SOLANA.coin)


async def _fund_coins(client: ChainClient, address: str, transfers: int) -> None:
    """A coin per transfer: change that waits for its block is not spent."""
    await client.call("devnet_fund", address, BITCOIN.coin // 100, transfers)


async def _fund_wei(client: ChainClient, address: str, _transfers: int) -> None:
    await client.fund(address, 50 * ETHEREUM.coin)


_QUICK: Final = {"poll_interval_s": 0.1}

SUBJECTS: Final = (
    Subject("sol", SOLANA, SolanaAdapter, solana_account, _fund_lamports, _QUICK),
    Subject("btc", BITCOIN, BitcoinAdapter, bitcoin_account, _fund_coins, _QUICK),
    Subject("eth", ETHEREUM, EthereumAdapter, ethereum_account, _fund_wei, _QUICK),
)


@dataclass(frozen=True)
class RunningChain:
    """A chain's engine with short blocks."""

    port: int
    client: ChainClient
    process: psutil.Process

    def cpu_s(self) -> tuple[float, float]:
        """Processor seconds until now: of this process, with the adapter in it, and of the engine."""
        engine = self.process.cpu_times()
        return time.process_time(), engine.user + engine.system


@asynccontextmanager
async def chain(engine: Engine, folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[RunningChain]:
    """An engine for as long as the context is open."""
    tool = await operators.bring_tool(ROOT / "scripts" / engine.tool, print) if engine.tool else ""
    port = ports.assign(folder / "ports.json", [engine.name])[engine.name]
    program = Program(engine.name, engine.command(port, tool, BLOCK_S))
    supervisor = Supervisor([program], folder, restart=False, say=print)
    client = engine.client(session, engine.url(port))
    await supervisor.start_all()
    try:
        await readiness.until_ready(engine.name, client.is_up, lambda: supervisor[engine.name].pid is not None)
        yield RunningChain(port, client, psutil.Process(supervisor[engine.name].pid))
    finally:
        await supervisor.stop_all()


async def by_many(callers: int, n: int, action: Callable[[int], Awaitable[object]]) -> list[float]:
    """Seconds of each of ``n`` calls, made by so many callers at once."""
    numbers = iter(range(n))
    taken: list[float] = []

    async def caller() -> None:
        for number in numbers:
            began = time.perf_counter()
            await action(number)
            taken.append(time.perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(min(callers, n))))
    return taken


async def measured(
    name: str, running: RunningChain, callers: int, n: int, action: Callable[[int], Awaitable[object]], **more: float
) -> Row:
    """A row of ``n`` calls by many callers, with the processor time that one call takes on either side: where both are
    small, what is waited for is the disk or the next block."""
    adapter_before, engine_before = running.cpu_s()
    began = time.perf_counter()
    taken = await by_many(callers, n, action)
    seconds = time.perf_counter() - began
    adapter_after, engine_after = running.cpu_s()
    return latency(
        name,
        taken,
        per_s=round(n / seconds, 1),
        cpu_ms=round(1000 * (adapter_after - adapter_before) / n, 2),
        engine_cpu_ms=round(1000 * (engine_after - engine_before) / n, 2),
        callers=callers,
        accounts=ACCOUNTS,
        **more,
    )


def intent(subject: Subject, account: LocalAccount, number: int) -> TransferIntent:
    """A transfer to nobody, of an amount of its own."""
    engine = subject.engine
    amount = engine.coin // 1000 + number
    return TransferIntent(engine.chain, account.account, engine.destination, engine.asset, amount)


async def until_confirmed(adapter: ChainAdapter, txid: str, unsigned: UnsignedTransaction) -> None:
    """Follow a transaction as the gateway does."""
    async with asyncio.timeout(CONFIRMED_S_MAX), aclosing(adapter.stream_status(txid, unsigned)) as statuses:
        async for status in statuses:
            if status.state is TransactionState.CONFIRMED:
                return
            if status.state in {TransactionState.FAILED, TransactionState.EXPIRED}:
                break
    raise RuntimeError(f"{txid} was not confirmed")


async def measure(subject: Subject, folder: Path, scale: float) -> list[Row]:
    """Builds that are given back, then transfers until they are confirmed, each from several accounts by many callers."""
    builds, completions = (max(2 * ACCOUNTS, int(n * scale)) for n in (BUILDS, COMPLETIONS))
    accounts = [subject.account(SEED, index) for index in range(ACCOUNTS)]
    database = Database(folder / "reservations.db")
    async with aiohttp.ClientSession() as session, chain(subject.engine, folder, session) as running:
        settings = {**subject.engine.settings(running.port), **subject.settings}
        signer = LocalSigner(subject.adapter.codec(), accounts)
        reservations = StoredReservations(database)
        adapter = subject.adapter(
            local_context(subject.engine.chain, signer, session, settings, reservations=reservations)
        )
        await adapter.start()
        try:
            for local in accounts:
                await subject.fund(
                    running.client, local.account.address, (BUILDERS + builds + completions) // ACCOUNTS + 1
                )
            return [
                await building(subject, running, adapter, accounts, builds),
                await completing(subject, running, adapter, accounts, completions),
            ]
        finally:
            await adapter.close()
            await database.close()


async def building(
    subject: Subject, running: RunningChain, adapter: ChainAdapter, accounts: Sequence[LocalAccount], n: int
) -> Row:
    """``build_transfer`` with its durable reservations; all of them are given back afterwards, off the clock."""
    built: list[UnsignedTransaction] = []

    async def build(number: int) -> None:
        built.append(await adapter.build_transfer(intent(subject, accounts[number % ACCOUNTS], number), {}))

    async def give_back(number: int) -> None:
        await adapter.discard(built[number])

    await by_many(BUILDERS, BUILDERS, build)
    row = await measured(f"adapter_build_{subject.suffix}", running, BUILDERS, n, build)
    await by_many(BUILDERS, len(built), give_back)
    return row


async def completing(
    subject: Subject, running: RunningChain, adapter: ChainAdapter, accounts: Sequence[LocalAccount], n: int
) -> Row:
    """From an intent to a confirmed transaction: build, sign with a local key, combine, submit, follow."""

    async def complete(number: int) -> None:
        unsigned = await adapter.build_transfer(intent(subject, accounts[number % ACCOUNTS], number), {})
        signed = await adapter.sign(unsigned)
        await until_confirmed(adapter, await adapter.submit(signed), unsigned)

    block_ms = round(1000 * BLOCK_S)
    return await measured(f"adapter_complete_{subject.suffix}", running, COMPLETERS, n, complete, block_ms=block_ms)


def rows(folder: Path, scale: float = 1.0) -> list[Row]:
    """Every chain, one after the other, below ``folder``, which has to be on the disk that is meant."""
    found: list[Row] = []
    for subject in SUBJECTS:
        home = folder / subject.suffix
        home.mkdir(parents=True, exist_ok=True)
        found += asyncio.run(measure(subject, home, scale))
    return found
