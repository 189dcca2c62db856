"""What ``make run`` promises: commands that work when pasted, wallets that survive, nothing left behind."""

import asyncio
import json
import signal
import stat
import subprocess

import psutil
import pytest
from solders.keypair import Keypair

from keyquorum_devnet.engines import ENGINES
from keyquorum_devnet.layout import PROCESSES
from support.stack import is_gone, pasted_lines


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
async def test_the_printed_lines_work_when_pasted(stack, customer, engine):
    """Wallet, fund, transfer: in this order, in one shell, exactly as printed; and the coins arrive."""
    lines = pasted_lines(stack.output, engine.name)
    assert len(lines) == 3
    chain = customer.chains[engine.chain]
    before = await chain.balance(engine.destination)
    shell = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-eu"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    transaction = json.loads(shell.stdout.strip().splitlines()[-1])
    assert transaction["destination"] == engine.destination
    assert await chain.until_balance(engine.destination, before + int(transaction["amount"]), within_s=15) > before


async def test_what_is_printed_is_served(stack, customer):
    """The addresses answer, and the API key is for its owner's eyes."""
    assert customer.base_url in stack.output
    for path, expected in (("/docs", "text/html"), ("/openapi.json", "application/json")):
        async with customer.session.get(f"{customer.base_url}{path}") as response:
            assert response.status == 200
            assert response.content_type == expected
    assert str(stack.layout.api_key) in stack.output
    assert stat.S_IMODE(stack.layout.api_key.stat().st_mode) == 0o600


async def test_wallets_survive_a_full_restart_even_an_unclean_one(stack, chain):
    """A supervisor that gets SIGKILL leaves no process behind; the next start serves the same wallets at the same place."""
    async with stack.customer() as customer:
        account = await customer.funded_account(chain)
        wallet = await customer.gateway.get(f"/v1/wallets/{account['wallet_id']}")
        base_url = customer.base_url
    everybody = [pid for name in PROCESSES for pid in await stack.family(name)]
    stack.stop(signal.SIGKILL)
    _, alive = await asyncio.to_thread(
        psutil.wait_procs, [psutil.Process(p) for p in everybody if psutil.pid_exists(p)], 15
    )
    assert [process for process in alive if not is_gone(process.pid)] == []

    await asyncio.to_thread(stack.start)
    async with stack.customer() as customer:
        assert customer.base_url == base_url
        assert await customer.gateway.get(f"/v1/wallets/{account['wallet_id']}") == wallet
        await customer.fund(account["address"])  # the chain is new; the keys are not
        await customer.transfer(account, str(Keypair().pubkey()), 1_000_000_000)
