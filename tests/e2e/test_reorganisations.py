"""Bitcoin takes blocks back: the platform notices, and the transfer is confirmed again."""

import asyncio
import time

from keyquorum_devnet.engines import BITCOIN
from support.stack import Customer

AMOUNT = BITCOIN.coin // 100
PATIENCE_S = 30.0


async def becomes(customer: Customer, transaction_id: str, state: str, **facts):
    """The transaction once it is in a state."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = await customer.gateway.get(f"/v1/transactions/{transaction_id}")
        if found["state"] == state and all(found[name] == value for name, value in facts.items()):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def test_a_dropped_confirmation_is_taken_back_and_comes_again(customer: Customer):
    """Confirmed, undone by a longer chain without it, confirmed by a later block, and at last beyond undoing."""
    chain = customer.chains[BITCOIN.chain]
    account = await customer.funded_account(BITCOIN.chain, BITCOIN.coin)
    destination = chain.stranger()
    try:
        await chain.call("devnet_setMining", False)
        body = {"account_id": account["id"], "destination": destination, "amount": str(AMOUNT)}
        ordered = await customer.gateway.order("/v1/transactions", body)
        await becomes(customer, ordered.made_id, "submitted")
        await chain.mine(1)
        made = await becomes(customer, ordered.made_id, "confirmed", reversible=True)
        await chain.reorganise(1)  # it waits in the memory pool, and is in none of the new blocks
        await becomes(customer, ordered.made_id, "submitted", reversible=False)
        assert await chain.balance(destination) == 0
        await chain.mine(1)
        again = await becomes(customer, ordered.made_id, "confirmed")
        assert again["txid"] == made["txid"]
        assert again["block"] != made["block"]
        await chain.mine(BITCOIN.settings(1)["final_confirmations"])
        await becomes(customer, ordered.made_id, "confirmed", reversible=False)
        assert await chain.balance(destination) == AMOUNT
    finally:
        await chain.call("devnet_setMining", True)


async def test_a_stuck_transfer_is_sped_up_and_another_cancelled(customer: Customer):
    """While no block comes: only one of each pair is included, and the other's state says so at last."""
    chain = customer.chains[BITCOIN.chain]
    destination = chain.stranger()
    accounts = [await customer.funded_account(BITCOIN.chain, BITCOIN.coin) for _ in range(2)]
    try:
        await chain.call("devnet_setMining", False)
        stuck = []
        for account in accounts:
            body = {"account_id": account["id"], "destination": destination, "amount": str(AMOUNT)}
            stuck.append((await customer.gateway.order("/v1/transactions", body)).made_id)
            await becomes(customer, stuck[-1], "submitted")
        made = []
        for transaction, purpose in zip(stuck, ("replacement", "cancellation"), strict=True):
            path = f"/v1/transactions/{transaction}/replacements"
            made.append((await customer.gateway.order(path, {"purpose": purpose})).made_id)
            await becomes(customer, made[-1], "submitted")
        await chain.mine(1 + BITCOIN.settings(1)["final_confirmations"])
        for each in made:
            await becomes(customer, each, "confirmed", reversible=False)
        for each, replacement in zip(stuck, made, strict=True):
            assert (await becomes(customer, each, "expired"))["replaced_by"] == replacement
        assert await chain.balance(destination) == AMOUNT
    finally:
        await chain.call("devnet_setMining", True)
