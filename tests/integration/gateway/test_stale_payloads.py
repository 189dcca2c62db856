"""A payload that became too old before any party saw it is built anew, and approved of anew."""

import pytest

from keyquorum_plugin_api.errors import Expired
from support.gateway_cell import RECIPIENT, authorize, order_wallet


@pytest.fixture
def stale(cell):
    """How many payloads are too old when they are to be signed; the adapter says so before or after it had one signed."""
    switches = {"left": 1, "after": False}

    async def sign(adapter, unsigned):
        if switches["after"]:
            await adapter.context.signer.sign(unsigned)
        if switches["left"]:
            switches["left"] -= 1
            raise Expired("the blockhash is too old")
        return await type(adapter).__mro__[1].sign(adapter, unsigned)

    cell.ledger.on_sign = sign
    return switches


async def paying(cell, client, wallet):
    """A transfer from the wallet's funded account."""
    account = (await client.get(f"/v1/wallets/{wallet}")).body["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def test_a_stale_payload_is_built_again(cell, client, stale):
    """The old one is given back, the parties see only the new one, and the client sees one transfer."""
    body = await paying(cell, client, (await client.wallet())["id"])
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    assert (cell.ledger.builds, len(cell.ledger.discarded), len(cell.double.sign_intents)) == (2, 1, 1)
    operation = (await client.get(f"/v1/operations/{reply.body['operation_id']}")).body
    assert operation["state"] == "succeeded"


async def test_a_payload_that_is_always_stale_ends(cell, client, stale):
    """After two more tries, with the chain's reason."""
    stale["left"] = 100
    body = await paying(cell, client, (await client.wallet())["id"])
    reply = await client.post("/v1/transactions", body)
    assert (reply.status, reply.body["code"]) == (409, "transaction-expired")
    assert (cell.ledger.builds, len(cell.double.sign_intents)) == (3, 0)


async def test_what_a_party_may_have_signed_is_never_built_again(cell, client, stale):
    """The old payload could still be included: a second one would pay twice."""
    stale["after"] = True
    body = await paying(cell, client, (await client.wallet())["id"])
    reply = await client.post("/v1/transactions", body)
    assert cell.ledger.builds == 1, reply.body
    assert len(cell.double.sign_intents) == 1


async def test_a_client_approves_of_the_new_payload(cell, client, stale):
    """Its signature was for the old one."""
    wallet = (await authorize(client, await order_wallet(cell, client), cell.root)).body["wallet_id"]
    first = (await client.post("/v1/transactions", await paying(cell, client, wallet))).body
    second = (await authorize(client, first, cell.root)).body
    assert second["state"] == "awaiting_initiator"
    assert second["awaiting"]["intent"] != first["awaiting"]["intent"]
    assert cell.double.sign_intents == []
    assert (await authorize(client, second, cell.root)).body["state"] == "succeeded"
    assert len(cell.double.sign_intents) == 1
