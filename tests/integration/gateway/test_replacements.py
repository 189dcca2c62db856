"""A transaction in the place of another: only where the codec shows that the chain cannot include both."""

import pytest
from toychain.adapter import nonce_of
from toychain.codec import ToyCodec

from keyquorum_plugin_api.chain import TransactionState
from support.gateway_cell import ASSET, CHAIN, RECIPIENT, authorization, authorize, eventually, order_wallet

THIEF = "toy1" + "ee" * 20


@pytest.fixture
async def pending(cell, client):
    """A broadcast transfer that no block has."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    cell.ledger.confirm = False
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100", "memo": "rent"}
    made = (await client.post("/v1/transactions", body)).body
    assert made["state"] == "submitted"
    return made


async def put_in_place(client, transaction, purpose, **rest):
    """A request."""
    return await client.post(f"/v1/transactions/{transaction['id']}/replacements", {"purpose": purpose, **rest})


async def stored(client, transaction):
    """As it is now."""
    return (await client.get(f"/v1/transactions/{transaction['id']}")).body


async def becomes(client, transaction, state):
    """Wait for a state."""

    async def reached():
        return (await stored(client, transaction))["state"] == state

    await eventually(reached)


async def test_a_transfer_is_made_again_for_a_higher_fee(cell, client, pending):
    """The same transfer and another fee; each names the other, and their ends are the chain's."""
    reply = await put_in_place(client, pending, "replacement")
    assert reply.status == 201, reply.body
    made = reply.body
    assert (made["purpose"], made["replaces"]) == ("replacement", pending["id"])
    same = ("destination", "amount", "memo", "asset", "account_id")
    assert [made[name] for name in same] == [pending[name] for name in same]
    assert int(made["fee"]["amount"]) > int(pending["fee"]["amount"])
    assert (await stored(client, pending))["replaced_by"] == made["id"]
    cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
    cell.ledger.set_state(pending["txid"], TransactionState.EXPIRED)
    await becomes(client, made, "confirmed")
    await becomes(client, pending, "expired")
    listed = {each["id"]: each for each in (await client.get("/v1/transactions")).body["items"]}
    assert listed[pending["id"]]["replaced_by"] == made["id"]


async def test_a_transfer_is_cancelled(cell, client, pending):
    """Nothing moves but a fee, and the parties see the same."""
    made = (await put_in_place(client, pending, "cancellation")).body
    assert (made["purpose"], made["amount"]) == ("cancellation", "0")
    assert [effect.kind.value for effect in cell.double.sign_intents[-1].command.effects] == ["fee"]


async def test_only_the_newest_can_be_replaced(client, pending):
    """Else two replacements would be two more payments to follow, and the client could not tell which one counts."""
    first = (await put_in_place(client, pending, "replacement")).body
    again = await put_in_place(client, pending, "cancellation")
    assert (again.status, again.body["code"], again.body["transaction_id"]) == (409, "already-replaced", first["id"])
    assert (await put_in_place(client, first, "cancellation")).status == 201


async def test_what_is_included_cannot_be_replaced(cell, client, pending):
    """Nor what nobody knows."""
    cell.ledger.set_state(pending["txid"], TransactionState.CONFIRMED)
    await becomes(client, pending, "confirmed")
    reply = await put_in_place(client, pending, "replacement")
    assert (reply.status, reply.body["code"]) == (409, "not-replaceable")
    missing = await put_in_place(client, {"id": "txn_unknown"}, "replacement")
    assert missing.status == 404


async def test_another_tenant_cannot_replace_it(cell, gateway, pending):
    """Nor learn that it exists."""
    async with cell.client(gateway, tenant="other") as stranger:
        assert (await put_in_place(stranger, pending, "replacement")).status == 404


@pytest.mark.parametrize("purpose", ["replacement", "cancellation"])
async def test_a_replacement_that_could_be_included_beside_is_refused(cell, client, pending, purpose):
    """An adapter that uses another nonce would pay twice: no intent leaves."""
    before = len(cell.double.sign_intents)
    reply = await put_in_place(client, pending, purpose, options={"nonce": "another"})
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused"), reply.body
    assert len(cell.double.sign_intents) == before
    assert (await put_in_place(client, pending, purpose)).status == 201, "a refused one is in nobody's place"


async def test_a_cancellation_that_pays_somebody_is_refused(cell, client, pending):
    """Whatever the adapter calls it."""

    def pays_a_thief(adapter, source, unsigned):
        moves = {"kind": "transfer", "amount": 1, "source": source.address, "destination": THIEF, "asset": ASSET}
        return ToyCodec().unsigned(CHAIN, source, [moves], nonce_of(unsigned))

    cell.ledger.on_build = pays_a_thief
    reply = await put_in_place(client, pending, "cancellation")
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")


async def test_a_clients_wallet_authorizes_its_replacements(cell, client):
    """They are intents of their own."""
    wallet = (await authorize(client, await order_wallet(cell, client), cell.root)).body["wallet_id"]
    account = (await client.get(f"/v1/wallets/{wallet}")).body["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    cell.ledger.confirm = False
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
    operation = (await client.post("/v1/transactions", body)).body
    done = (await authorize(client, operation, cell.root)).body
    replacing = await put_in_place(client, {"id": done["transaction_id"]}, "replacement")
    assert (replacing.status, replacing.body["state"]) == (202, "awaiting_initiator")
    path = f"/v1/operations/{replacing.body['id']}/authorization"
    refused = await client.post(path, authorization(operation["awaiting"], cell.root))
    assert refused.status == 422, "the first intent's signature is none for the second"
    assert (await authorize(client, replacing.body, cell.root)).body["state"] == "succeeded"


async def test_a_payload_made_elsewhere_is_signed_if_it_makes_the_transfer(cell, client, pending):
    """Byte for byte; and not if it makes another one, or comes with options."""
    account = (await client.get(f"/v1/accounts/{pending['account_id']}")).body
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100", "memo": "rent"}
    made = await client.post("/v1/transactions", {**body, "payload": pending["payload"], "submit": False})
    assert (made.status, made.body["payload"]) == (201, pending["payload"])
    other = await client.post("/v1/transactions", {**body, "amount": "99", "payload": pending["payload"]})
    assert (other.status, other.body["code"]) == (502, "adapter-refused")
    both = await client.post("/v1/transactions", {**body, "payload": pending["payload"], "options": {"fee": "5"}})
    assert both.status == 422
