"""A chain takes back what it had confirmed: the transaction's state goes back and forward again."""

import pytest

from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import NonceConflict
from support.gateway_cell import RECIPIENT, eventually


@pytest.fixture
async def body(cell, client):
    """A transfer from a funded account."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def becomes(client, transaction, state, **facts):
    """Wait for a state and what goes with it."""

    async def reached():
        found = (await client.get(f"/v1/transactions/{transaction['id']}")).body
        return found["state"] == state and all(found[name] == value for name, value in facts.items())

    await eventually(reached, 10)


@pytest.mark.parametrize("end", [TransactionState.CONFIRMED, TransactionState.FAILED])
async def test_an_end_that_is_taken_back_comes_again(cell, client, body, end):
    """Reversible, undone, again, and then final; the same bytes are sent again when no node has them."""
    cell.ledger.confirm = False
    made = (await client.post("/v1/transactions", body)).body
    cell.ledger.reversible.add(made["txid"])
    cell.ledger.set_state(made["txid"], end)
    await becomes(client, made, end.value, reversible=True)
    cell.ledger.set_state(made["txid"], TransactionState.PENDING)
    await becomes(client, made, "submitted", reversible=False, error=None)
    cell.ledger.set_state(made["txid"], end)
    await becomes(client, made, end.value, reversible=True)
    cell.ledger.set_state(made["txid"], TransactionState.UNKNOWN)
    await eventually(lambda: len(cell.ledger.submitted) == 2)
    assert len(set(cell.ledger.submitted)) == 1
    cell.ledger.reversible.clear()
    cell.ledger.set_state(made["txid"], end)
    await becomes(client, made, end.value, reversible=False)
    metrics = (await client.get("/metrics")).raw.decode()
    assert 'keyquorum_gateway_transactions_reorganised_total{chain="toy:main"} 2.0' in metrics


async def test_a_reversible_end_is_followed_after_a_restart(cell):
    """What was undone while nobody looked is noticed."""
    cell.ledger.confirm = False
    async with cell.running() as first, cell.client(first) as client:
        account = (await client.wallet())["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
        made = (await client.post("/v1/transactions", body)).body
        cell.ledger.reversible.add(made["txid"])
        cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
        await becomes(client, made, "confirmed", reversible=True)
    cell.ledger.set_state(made["txid"], TransactionState.PENDING)
    async with cell.running() as second, cell.client(second) as later:
        await becomes(later, made, "submitted", reversible=False)


async def test_a_node_that_refuses_the_bytes_again_ends_nothing(cell, client, body):
    """The block that spends the coin otherwise may be dropped, too: only the chain says when it is over."""
    cell.ledger.confirm = False
    made = (await client.post("/v1/transactions", body)).body
    cell.ledger.reversible.add(made["txid"])
    cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
    await becomes(client, made, "confirmed")
    cell.ledger.submit_errors = [NonceConflict("spent by another")]
    cell.ledger.set_state(made["txid"], TransactionState.UNKNOWN)
    await eventually(lambda: not cell.ledger.submit_errors)
    await becomes(client, made, "submitted")
    cell.ledger.reversible.clear()
    cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
    await becomes(client, made, "confirmed", reversible=False)
