"""A chain that dies takes nothing with it but itself, says so, and comes back."""

import asyncio
import time

import pytest

from keyquorum_devnet import control
from keyquorum_devnet.engines import ENGINES

SEEN_S_MAX = 15.0
ANSWER_S_MAX = 30.0


async def balances(customer, account):
    """The gateway's answer about an account."""
    return await customer.gateway.call("GET", f"/v1/accounts/{account['id']}/balances")


async def pay_a_stranger(customer, engine, account) -> None:
    """A transfer that the chain confirms."""
    await customer.transfer(account, customer.chains[engine.chain].stranger(), engine.coin // 10)


@pytest.mark.parametrize("victim", ENGINES, ids=lambda engine: engine.name)
async def test_a_dead_chain_keeps_no_other_down(stack, customer, victim):
    """503 `chain-unavailable` in good time for what needs it; the others transfer; started again, it serves the same account."""
    accounts = {engine: await customer.funded_account(engine.chain, engine.coin) for engine in ENGINES}
    await stack.kill9(victim.name)

    began = time.monotonic()
    answer = await balances(customer, accounts[victim])
    assert time.monotonic() - began < ANSWER_S_MAX
    assert (answer.status, answer.body["code"]) == (503, "chain-unavailable"), answer
    assert answer.body["retriable"] is True
    for engine in ENGINES:
        if engine is not victim:
            await pay_a_stranger(customer, engine, accounts[engine])

    status = await control.ask(stack.layout.state, "start", victim.name)
    assert status["processes"][victim.name]["pid"]
    address = accounts[victim]["address"]
    await customer.fund(address, victim.coin, chain=victim.chain)  # the chain is new; the keys are not
    deadline = time.monotonic() + SEEN_S_MAX
    while (answer := await balances(customer, accounts[victim])).status != 200 or (
        answer.body["balances"][0]["amount"] != str(victim.coin)
    ):
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.1)
    await pay_a_stranger(customer, victim, accounts[victim])


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
async def test_a_chain_is_funded_and_goes_on_by_command(stack, customer, engine):
    """`keyquorum-devnet fund` and `mine`, as a user of the stack types them; `reorg` where the engine can."""
    chain = customer.chains[engine.chain]
    address = chain.stranger()
    assert f"{engine.coin} {engine.unit}" in await stack.devnet("fund", engine.name, address, str(engine.coin))
    assert await chain.balance(address) == engine.coin
    await stack.devnet("mine", engine.name, "3")
    if chain.reorganises:
        await stack.devnet("reorg", engine.name, "1")
    else:
        with pytest.raises(AssertionError, match="Invalid value"):
            await stack.devnet("reorg", engine.name, "1")
