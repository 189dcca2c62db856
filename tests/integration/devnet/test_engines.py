"""Every chain engine as the supervisor runs it: one process of ours, asked real questions."""

import aiohttp
import psutil
import pytest

from keyquorum_devnet import operators, ports, readiness
from keyquorum_devnet.engines import ENGINES, ChainSays
from keyquorum_devnet.processes import Program, Supervisor
from support.scripts import ROOT


class RunningEngine:
    """An engine's process, and a customer's access to it."""

    def __init__(self, engine, supervisor, client) -> None:
        self.engine = engine
        self.process = supervisor[engine.name]
        self.client = client

    async def until_up(self) -> None:
        """Wait until it answers."""
        await readiness.until_ready(self.engine.name, self.client.is_up, lambda: self.process.pid is not None)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
async def running(request, tmp_path):
    """An engine that is up."""
    engine = request.param
    tool = await operators.bring_tool(ROOT / "scripts" / engine.tool, print) if engine.tool else ""
    port = ports.assign(tmp_path / "ports.json", [engine.name])[engine.name]
    supervisor = Supervisor([Program(engine.name, engine.program(port, tool))], tmp_path, restart=False, say=print)
    async with aiohttp.ClientSession() as session:
        found = RunningEngine(engine, supervisor, engine.client(session, engine.url(port)))
        assert not await found.client.is_up()
        await supervisor.start_all()
        try:
            await found.until_up()
            yield found
        finally:
            await supervisor.stop_all()


async def test_it_is_one_process_that_ends_when_it_is_asked(running):
    """The process id is the engine's own, so that killing it is a crash of the chain and nothing is left behind."""
    command = running.process.program.command
    assert psutil.Process(running.process.pid).cmdline()[-len(command) + 1 :] == list(command[1:])
    assert psutil.Process(running.process.pid).children() == []
    await running.process.kill()
    assert not await running.client.is_up()
    await running.process.start()
    await running.until_up()


async def test_customers_get_coins_that_can_be_spent(running):
    """Any amount, more than once, and only where it was sent."""
    client, coin = running.client, running.engine.coin
    address, other = client.stranger(), client.stranger()
    assert await client.balance(address) == 0
    await client.fund(address, 2 * coin)
    assert await client.balance(address) == 2 * coin
    await client.fund(address, coin)
    assert (await client.balance(address), await client.balance(other)) == (3 * coin, 0)
    assert await client.balance(running.engine.destination) == 0


async def test_tokens_are_made_for_whoever_asks(running):
    """Where a chain has them: each a token of its own, held by whom it was given to."""
    if running.engine.tokens is None:
        assert running.engine.name != "solana"
        return
    tokens, owner = running.engine.tokens(running.client), running.client.stranger()
    first, second = await tokens.create(), await tokens.create()
    assert first != second
    assert first.startswith(f"{running.engine.chain}/token:")
    await tokens.give(first, owner, 700)
    await tokens.give(first, owner, 70)
    held = [await tokens.balance(asset, owner) for asset in (first, second)]
    assert held == [770, 0]
    assert await running.client.balance(owner) == 0


async def test_blocks_come_when_they_are_asked_for(running):
    """At once, however slow the chain's own time is."""
    await running.client.mine(3)
    await running.client.fund(running.client.stranger(), running.engine.coin)


async def test_what_it_does_not_know_is_said_to_be_missing(running):
    """A transaction that never was is no proof of anything; neither is one of somebody else."""
    client = running.client
    nobody = {"solana": "1" * 64, "bitcoin": "00" * 32, "ethereum": f"0x{'00' * 32}"}[running.engine.name]
    with pytest.raises(ChainSays):
        await client.judge(nobody, client.stranger())
    with pytest.raises(ChainSays):
        await client.call("no_such_method")


async def test_a_reorganisation_takes_coins_back(running):
    """Where the engine reorganises: funds of a dropped block are gone. Elsewhere it says that it never does."""
    client = running.client
    if not client.reorganises:
        with pytest.raises(ChainSays, match="never"):
            await client.reorganise(1)
        return
    if running.engine.name == "bitcoin":
        await client.call("devnet_setMining", False)  # it would confirm again what waits again
    await client.mine(3)
    address = client.stranger()
    await client.fund(address, running.engine.coin)
    await client.reorganise(2)
    assert await client.balance(address) == 0


async def test_a_chain_that_does_not_answer_is_named_by_its_address(running):
    """Its customers get one kind of error, whatever the connection did."""
    await running.process.kill()
    with pytest.raises(ChainSays, match=r"127\.0\.0\.1"):
        await running.client.fund(running.client.stranger(), 1)
