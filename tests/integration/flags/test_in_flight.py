"""What is under way when the flag changes: a kill stops it where it stands, anything less lets it end."""

import asyncio

import pytest

from keyquorum_plugin_api.errors import ChainUnavailable
from support.gateway_cell import CHAIN, RECIPIENT, authorize, eventually, order_wallet


@pytest.fixture
async def account(cell, client):
    """A funded account."""
    made = (await client.wallet())["accounts"][0]
    cell.ledger.balances[made["address"]] = 1000
    return made


def transfer(account):
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"}


async def shown(client, transaction_id):
    return (await client.get(f"/v1/transactions/{transaction_id}")).body


async def until_state(client, transaction_id, *states, seconds=5.0):
    async def reached():
        found = await shown(client, transaction_id)
        return found if found["state"] in states else None

    return await eventually(reached, seconds)


async def signed_and_unsent(cell, client, account):
    """A transaction that is signed while its node is down."""
    cell.ledger.submit_errors.extend(ChainUnavailable("away") for _ in range(1000))
    reply = await client.post("/v1/transactions", transfer(account), Prefer="respond-async")
    operation = reply.body
    made = await eventually(lambda: _transaction(client, operation["id"]))
    return (await until_state(client, made, "signed"))["id"]


async def _transaction(client, operation_id):
    return (await client.get(f"/v1/operations/{operation_id}")).body["transaction_id"]


async def flag_is(client, stage):
    await eventually(lambda: _flag_is(client, stage))


async def _flag_is(client, stage):
    return (await client.get(f"/v1/chains/{CHAIN}")).body["flags"]["stage"] == stage


async def test_a_killed_chain_broadcasts_nothing_and_goes_on_by_itself_when_revived(cell, client, keyquorum, account):
    """Signed before the kill; its node comes back during it. It is sent within two seconds of the revival."""
    transaction_id = await signed_and_unsent(cell, client, account)
    await keyquorum("kill", CHAIN)
    await flag_is(client, "killed")
    cell.ledger.submit_errors.clear()
    await asyncio.sleep(1.5)  # several times the pause between two broadcasts
    assert cell.ledger.states == {}
    assert (await shown(client, transaction_id))["state"] == "signed"
    await keyquorum("revive", CHAIN)
    found = await until_state(client, transaction_id, "submitted", "confirmed", seconds=2.0)
    assert found["error"] is None
    await until_state(client, transaction_id, "confirmed")


async def test_a_disabled_chain_lets_end_what_was_signed(cell, client, keyquorum, account):
    """Nothing new, but this one arrives."""
    transaction_id = await signed_and_unsent(cell, client, account)
    await keyquorum("disable", CHAIN)
    await flag_is(client, "disabled")
    assert (await client.post("/v1/transactions", transfer(account))).status == 403
    cell.ledger.submit_errors.clear()
    await until_state(client, transaction_id, "confirmed", seconds=10)


async def test_a_killed_chain_stays_killed_over_a_restart(cell, keyquorum):
    """What was signed is neither sent nor forgotten; revived, it goes on."""
    async with cell.running() as running, cell.client(running) as client:
        account = (await client.wallet())["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        transaction_id = await signed_and_unsent(cell, client, account)
        await keyquorum("kill", CHAIN)
        await flag_is(client, "killed")
    cell.ledger.submit_errors.clear()
    async with cell.running() as running, cell.client(running) as client:
        await flag_is(client, "killed")
        await asyncio.sleep(0.7)
        assert cell.ledger.states == {}
        assert (await shown(client, transaction_id))["state"] == "signed"
        await keyquorum("revive", CHAIN)
        await until_state(client, transaction_id, "confirmed")


async def test_what_waits_for_its_client_is_not_signed_on_a_killed_chain(cell, client, keyquorum):
    """Authorized during the kill: no party is asked."""
    wallet = await order_wallet(cell, client)
    made = await authorize(client, wallet, cell.root)
    assert made.status == 200, made.body
    account = (await client.get(f"/v1/wallets/{wallet['wallet_id']}")).body["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    operation = (await client.post("/v1/transactions", transfer(account))).body
    await keyquorum("kill", CHAIN)
    await flag_is(client, "killed")
    reply = await authorize(client, operation, cell.root)
    assert (reply.status, reply.body["code"]) == (403, "chain-not-enabled"), reply.body
    assert cell.ledger.submitted == []
    assert (await shown(client, operation["transaction_id"]))["state"] == "failed"


async def test_what_waits_for_its_client_goes_on_where_the_chain_is_merely_disabled(cell, client, keyquorum):
    """It was begun before."""
    wallet = await order_wallet(cell, client)
    await authorize(client, wallet, cell.root)
    account = (await client.get(f"/v1/wallets/{wallet['wallet_id']}")).body["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    operation = (await client.post("/v1/transactions", transfer(account))).body
    await keyquorum("disable", CHAIN)
    await flag_is(client, "disabled")
    assert (await authorize(client, operation, cell.root)).status == 200
    await until_state(client, operation["transaction_id"], "confirmed")
