"""Client-initiated wallets: the gateway hands out intents, and nothing happens without the client's signature."""

import base64
import time

import pytest

from keyquorum_core_signer.intents.intent import CreateKey, Sign, parse_intent
from support.coordinator_double import new_key, public_bytes
from support.gateway_cell import CHAIN, RECIPIENT, authorization, authorize, eventually, order_wallet


@pytest.fixture
async def wallet(cell, client):
    """A client-initiated wallet with a funded account."""
    operation = await order_wallet(cell, client)
    reply = await authorize(client, operation, cell.root)
    assert (reply.status, reply.body["state"]) == (200, "succeeded"), reply.body
    made = (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body
    cell.ledger.balances[made["accounts"][0]["address"]] = 1000
    return made


def transfer(wallet):
    """A request."""
    return {"account_id": wallet["accounts"][0]["id"], "destination": RECIPIENT, "amount": "100"}


async def test_the_intent_of_a_key_is_readable_and_is_what_is_signed(cell, client):
    """The fields are those of the bytes, by the parties' own parser; the policy names the client alone."""
    operation = await order_wallet(cell, client)
    assert (operation["state"], operation["kind"]) == ("awaiting_initiator", "wallet")
    awaiting = operation["awaiting"]
    intent = parse_intent(base64.b64decode(awaiting["intent"]))
    assert isinstance(intent.command, CreateKey)
    client_key = public_bytes(cell.root)
    assert intent.initiator_key == client_key == bytes.fromhex(awaiting["public_key"])
    assert intent.command.policy.initiator_keys == (client_key,)
    fields = awaiting["fields"]
    assert fields["create_key"]["key_id"] == intent.command.key_id
    assert fields["create_key"]["policy"]["initiator_keys"] == [client_key.hex()]
    assert fields["roster_hash"] == cell.roster.roster_hash.hex()
    assert cell.double.runs == {}
    assert (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body["state"] == "creating"


async def test_a_wallet_is_made_once_its_client_has_signed(cell, client, wallet):
    """The wallet says that only the client's key initiates."""
    assert wallet["state"] == "active"
    assert wallet["initiation"]["type"] == "client"
    assert wallet["initiation"]["public_key"] == public_bytes(cell.root).hex()
    assert "cannot sign" in wallet["initiation"]["protects"]


async def test_a_transfer_waits_for_the_client_and_then_arrives(cell, client, wallet):
    """Built before, signed by the parties only after; the bytes that the client saw are the bytes that are signed."""
    reply = await client.post("/v1/transactions", transfer(wallet))
    assert (reply.status, reply.body["state"]) == (202, "awaiting_initiator")
    awaiting = reply.body["awaiting"]
    shown = parse_intent(base64.b64decode(awaiting["intent"]))
    assert isinstance(shown.command, Sign)
    assert awaiting["fields"]["sign"]["effects"][0]["amount"] == "100"
    assert awaiting["fields"]["sign"]["unsigned_payload"] == shown.command.unsigned_payload.hex()
    transaction = f"/v1/transactions/{reply.body['transaction_id']}"
    assert (await client.get(transaction)).body["state"] == "awaiting_initiator"
    assert cell.double.sign_intents == []
    done = await authorize(client, reply.body, cell.root)
    assert (done.status, done.body["state"]) == (200, "succeeded")
    assert cell.double.sign_intents == [shown]
    await eventually(lambda: _confirmed(client, transaction))
    assert cell.ledger.balances[RECIPIENT] == 100


async def _confirmed(client, path):
    return (await client.get(path)).body["state"] == "confirmed"


async def test_a_message_waits_for_the_client(cell, client, wallet):
    """Signatures too."""
    body = {"account_id": wallet["accounts"][0]["id"], "message": "log me in"}
    reply = await client.post("/v1/signatures", body)
    assert reply.status == 202
    done = await authorize(client, reply.body, cell.root)
    assert done.body["signature"]["public_key"] == wallet["keys"][0]["public_key"]


async def test_nobody_else_can_authorize(cell, client, gateway):
    """Another key, a signature under another tag, the gateway's own key: refused, and the operation still waits."""
    operation = await order_wallet(cell, client)
    path = f"/v1/operations/{operation['id']}/authorization"
    good = authorization(operation["awaiting"], cell.root)
    stranger = authorization(operation["awaiting"], new_key())
    wrong_tag = cell.root.sign(b"keyquorum/address/v1\x00" + base64.b64decode(operation["awaiting"]["intent"])).hex()
    own = gateway.services.key
    gateway_signed = own.sign_intent(base64.b64decode(operation["awaiting"]["intent"])).hex()
    for body in (
        stranger,
        {**good, "signature": wrong_tag},
        {**good, "signature": stranger["signature"]},
        {"public_key": own.public.hex(), "signature": gateway_signed},
    ):
        reply = await client.post(path, body)
        assert (reply.status, reply.body["code"]) == (422, "authorization-invalid")
    assert cell.double.runs == {}
    assert (await client.post(path, good)).status == 200


async def test_an_operation_is_authorized_once(cell, client, wallet):
    """A second authorization meets an operation that waits for none."""
    reply = await client.post("/v1/transactions", transfer(wallet))
    assert (await authorize(client, reply.body, cell.root)).status == 200
    again = await authorize(client, reply.body, cell.root)
    assert (again.status, again.body["code"]) == (409, "operation-not-awaiting")
    assert len(cell.double.sign_intents) == 1


async def test_an_intent_that_nobody_signs_expires(cell):
    """The operation ends, the transaction has failed, and what was reserved is given back."""
    async with cell.running() as running, cell.client(running) as client:
        operation = await order_wallet(cell, client)
        await authorize(client, operation, cell.root)
        made = (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body
    cell.ledger.balances[made["accounts"][0]["address"]] = 1000
    async with cell.running(INTENTS__CLIENT_VALIDITY_S="5") as running, cell.client(running) as client:
        reply = await client.post("/v1/transactions", transfer(made))
        live = running.services.engine.find(reply.body["id"], "default")
        live.operation.ceremonies[-1].valid_until_ms = int(time.time() * 1000)
        running.services.engine._arm(live)
        path = f"/v1/operations/{reply.body['id']}"
        await eventually(lambda: _ended(client, path))
        ended = (await client.get(path)).body
        assert (ended["state"], ended["error"]["code"]) == ("failed", "authorization-expired")
        assert (await client.get(f"/v1/transactions/{reply.body['transaction_id']}")).body["state"] == "failed"
        assert len(cell.ledger.discarded) == 1
        late = await authorize(client, reply.body, cell.root)
        assert (late.status, late.body["code"]) == (409, "operation-not-awaiting")
        assert cell.double.sign_intents == []


async def _ended(client, path):
    return (await client.get(path)).body["state"] == "failed"


async def test_after_no_quorum_the_same_signature_can_be_sent_again(cell, client, wallet):
    """503 means that nothing happened: the operation waits again, with the same intent."""
    reply = await client.post("/v1/transactions", transfer(wallet))
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    refused = await authorize(client, reply.body, cell.root, key="first")
    assert (refused.status, refused.body["code"]) == (503, "quorum-unavailable")
    waiting = (await client.get(f"/v1/operations/{reply.body['id']}")).body
    assert waiting["state"] == "awaiting_initiator"
    assert waiting["awaiting"] == reply.body["awaiting"]
    assert waiting["error"]["code"] == "quorum-unavailable"
    cell.double.behaviour.failure = None
    done = await authorize(client, reply.body, cell.root, key="first")
    assert (done.status, done.body["state"], done.body["error"]) == (200, "succeeded", None)
    assert len(cell.double.sign_intents) == 1


async def test_the_client_has_to_be_a_root_key_of_the_tenant(cell, client):
    """The parties would refuse: said at once."""
    initiation = {"type": "client", "public_key": public_bytes(new_key()).hex()}
    reply = await client.post("/v1/wallets", {"user_id": "eve", "chains": [CHAIN], "initiation": initiation})
    assert (reply.status, reply.body["code"]) == (403, "policy-denied")


async def test_valid_until_is_the_configured_time_ahead(cell, client):
    """A client has five minutes by default."""
    operation = await order_wallet(cell, client)
    left_s = operation["awaiting"]["fields"]["valid_until_ms"] / 1000 - time.time()
    assert 290 < left_s <= 300


async def test_a_wallet_of_two_schemes_is_authorized_key_by_key(cell, client):
    """One intent after the other; the wallet is active when both keys are certified."""
    cell.double.schemes.add("ecdsa_secp256k1")
    initiation = {"type": "client", "public_key": public_bytes(cell.root).hex()}
    body = {"user_id": "dave", "chains": [CHAIN], "schemes": ["ecdsa_secp256k1"], "initiation": initiation}
    operation = (await client.post("/v1/wallets", body)).body
    first = await authorize(client, operation, cell.root)
    assert (first.status, first.body["state"]) == (202, "awaiting_initiator")
    assert first.body["awaiting"]["intent"] != operation["awaiting"]["intent"]
    assert (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body["state"] == "creating"
    second = await authorize(client, first.body, cell.root)
    assert (second.status, second.body["state"]) == (200, "succeeded")
    wallet = (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body
    assert wallet["state"] == "active"
    assert [key["scheme"] for key in wallet["keys"]] == ["eddsa_ed25519", "ecdsa_secp256k1"]
    assert len(wallet["accounts"]) == 1
