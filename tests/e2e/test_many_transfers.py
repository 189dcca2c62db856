"""Two hundred transfers at once from one account, through the platform: each is confirmed, or refused with a reason."""

import asyncio
from collections import Counter

import pytest

from keyquorum_devnet.engines import BITCOIN, SOLANA, Engine
from support.stack import Customer

TRANSFERS = 200
COINS = 40  # of the Bitcoin account: fewer than transfers, so that some have to wait for change or go without
REASONS = frozenset({"insufficient-funds", "nonce-conflict"})
ENDED_S_MAX = 90.0
ENDED = frozenset({"confirmed", "failed", "expired"})


async def pay(customer: Customer, account, destination: str, amount: int):
    """One transfer; the transaction, or the code with which it was refused."""
    body = {"account_id": account["id"], "destination": destination, "amount": str(amount)}
    answer = await customer.gateway.call("POST", "/v1/transactions", body)
    if answer.status >= 400:
        return answer.body["code"]
    made = answer.body if answer.status == 201 else await customer.gateway.operation(answer.body["id"], within_s=60)
    return made["id"] if answer.status == 201 else made["transaction_id"]


async def ended(customer: Customer, transaction_id: str):
    """A transaction at its end."""
    return await customer.gateway.until(f"/v1/transactions/{transaction_id}", ENDED, within_s=ENDED_S_MAX)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", [SOLANA, BITCOIN], ids=lambda engine: engine.name)
async def test_two_hundred_at_once(customer: Customer, engine: Engine):
    """What arrives is what was confirmed: nothing is paid twice, and no coin is spent twice."""
    chain, amount = customer.chains[engine.chain], engine.coin // 100
    account = await customer.funded_account(engine.chain, engine.coin * 5)
    if engine is BITCOIN:
        await chain.call("devnet_fund", account["address"], engine.coin // 10, COINS)
    destination = chain.stranger()
    outcomes = await asyncio.gather(*(pay(customer, account, destination, amount + i) for i in range(TRANSFERS)))
    codes = Counter(outcome for outcome in outcomes if not outcome.startswith("txn_"))
    assert set(codes) <= REASONS, codes
    made = [outcome for outcome in outcomes if outcome.startswith("txn_")]
    transactions = await asyncio.gather(*(ended(customer, each) for each in made))
    states = Counter(each["state"] for each in transactions)
    assert set(states) == {"confirmed"}, states
    assert len({each["txid"] for each in transactions}) == len(made)
    total = sum(int(each["amount"]) for each in transactions)
    assert await chain.until_balance(destination, total, within_s=20) == total
    if engine is SOLANA:
        assert len(made) == TRANSFERS
    else:
        assert len(made) >= COINS
