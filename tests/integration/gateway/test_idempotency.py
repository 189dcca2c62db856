"""Idempotency keys: one effect and one answer per key, in races, across restarts, and after "nothing happened"."""

import asyncio
import time

import pytest

from keyquorum_core_signer.intents.intent import operation_id
from keyquorum_gateway.state.operations import saving
from support.gateway_cell import CHAIN, RECIPIENT


@pytest.fixture
async def body(cell, client):
    """A transfer that can be made."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def test_a_call_that_moves_money_needs_a_key(cell, client, body):
    """Without one nothing is even looked at."""
    for path, request in (
        ("/v1/transactions", body),
        ("/v1/signatures", {"account_id": body["account_id"], "message": "hello"}),
        ("/v1/wallets", {"user_id": "a", "chains": [CHAIN]}),
        (f"/v1/chains/{CHAIN}/transactions", {"raw": "AAAA", "txid": "aa"}),
        ("/v1/operations/op_" + "0" * 32 + "/authorization", {"public_key": "0" * 64, "signature": "0" * 128}),
    ):
        reply = await client.post(path, request, key="")
        assert (reply.status, reply.body["code"]) == (400, "idempotency-key-missing"), path
    assert cell.double.sign_intents == []


@pytest.mark.parametrize("key", ['"', "a\tb", "x" * 256, '"unfinished', "é"])
async def test_a_key_has_to_be_a_key(client, body, key):
    """Printable ASCII, quoted or bare, of at most 255 characters."""
    reply = await client.post("/v1/transactions", body, key=key)
    assert (reply.status, reply.body["code"]) == (400, "idempotency-key-invalid")


async def test_the_same_request_again_gets_the_stored_answer(cell, client, body):
    """Byte for byte, marked as replayed; quoted and bare are the same key; money moves once."""
    first = await client.post("/v1/transactions", body, key="pay-1")
    again = await client.post("/v1/transactions", body, key='"pay-1"')
    assert (again.status, again.raw) == (first.status, first.raw) == (201, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert len(cell.ledger.submitted) == 1


async def test_the_same_key_with_another_request_is_refused(client, body):
    """Another body, another path: 422, and the first answer stays."""
    await client.post("/v1/transactions", body, key="pay-1")
    reply = await client.post("/v1/transactions", {**body, "amount": "101"}, key="pay-1")
    assert (reply.status, reply.body["code"]) == (422, "idempotency-key-reused")
    reply = await client.post("/v1/signatures", {"account_id": body["account_id"], "message": "x"}, key="pay-1")
    assert (reply.status, reply.body["code"]) == (422, "idempotency-key-reused")


async def test_of_many_at_once_one_runs(cell, client, body):
    """The others are told that it is still running; afterwards all get its answer."""
    cell.double.behaviour.gate = asyncio.Event()
    racing = [asyncio.create_task(client.post("/v1/transactions", body, key="race")) for _ in range(20)]
    while sum(task.done() for task in racing) < 19:
        await asyncio.sleep(0.01)
    cell.double.behaviour.gate.set()
    replies = await asyncio.gather(*racing)
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19
    assert {reply.body["code"] for reply in replies if reply.status == 409} == {"idempotency-key-in-use"}
    assert len(cell.double.sign_intents) == len(cell.ledger.submitted) == 1
    assert (await client.post("/v1/transactions", body, key="race")).status == 201


async def test_keys_belong_to_their_tenant(cell, gateway, client, body):
    """Another tenant's same key is another key."""
    await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN]}, key="mine")
    async with cell.client(gateway, tenant="other") as other:
        reply = await other.post("/v1/wallets", {"user_id": "b", "chains": [CHAIN]}, key="mine")
    assert (reply.status, reply.body["user_id"]) == (201, "b")


async def test_a_request_that_started_nothing_leaves_its_key_unused(cell, client, body):
    """Invalid input, missing funds: after the correction the same key can be used."""
    wrong = await client.post("/v1/transactions", {**body, "amount": "0"}, key="k")
    assert wrong.status == 422
    poor = await client.post("/v1/transactions", {**body, "amount": "5000"}, key="k")
    assert (poor.status, poor.body["code"]) == (422, "insufficient-funds")
    assert "operation_id" not in poor.body
    assert (await client.post("/v1/transactions", body, key="k")).status == 201
    operations = (await client.get("/v1/operations")).body["items"]
    assert [operation["kind"] for operation in operations] == ["transaction", "wallet"]


async def test_an_answer_survives_a_restart(cell):
    """The stored answer, from the database."""
    async with cell.running() as running, cell.client(running) as client:
        request = {"user_id": "a", "chains": [CHAIN]}
        first = await client.post("/v1/wallets", request, key="w")
        key = client.key
    async with cell.running() as running, cell.client(running) as client:
        client.key = key
        again = await client.post("/v1/wallets", request, key="w")
        assert (again.raw, again.headers["Idempotent-Replayed"]) == (first.raw, "true")


async def test_after_no_quorum_the_same_key_continues_with_the_same_intent(cell, client, body):
    """A coordinator that says "nothing happened" may lie: it is never given a second intent for the same payment."""
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    first = await client.post("/v1/transactions", {**body, "external_id": "inv-1"}, key="pay")
    assert (first.status, first.body["code"]) == (503, "quorum-unavailable")
    again = await client.post("/v1/transactions", {**body, "external_id": "inv-1"}, key="pay")
    assert (again.status, again.body["code"]) == (503, "quorum-unavailable")
    assert "Idempotent-Replayed" not in again.headers
    cell.double.behaviour.failure = None
    done = await client.post("/v1/transactions", {**body, "external_id": "inv-1"}, key="pay")
    assert done.status == 201, done.body
    assert len(cell.double.sign_intents) == 1
    assert cell.ledger.builds == 1
    assert len(cell.ledger.submitted) == 1
    failed = (await client.get(f"/v1/operations/{first.body['operation_id']}")).body
    assert failed["transaction_id"] == done.body["id"]
    replay = await client.post("/v1/transactions", {**body, "external_id": "inv-1"}, key="pay")
    assert replay.raw == done.raw


async def test_after_no_quorum_another_body_is_still_refused(cell, client, body):
    """A released key is released for its own request."""
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    await client.post("/v1/transactions", body, key="pay")
    reply = await client.post("/v1/transactions", {**body, "amount": "1"}, key="pay")
    assert (reply.status, reply.body["code"]) == (422, "idempotency-key-reused")


async def test_a_new_intent_is_made_only_when_the_old_one_is_dead(cell, gateway, client, body):
    """Near its end the old intent is not sent any more, and no other is made until no party could still use it."""
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    first = await client.post("/v1/transactions", body, key="pay")
    cell.double.behaviour.failure = None
    stored = gateway.services.operations.get(first.body["operation_id"])

    async def expire(ago_s):
        stored.ceremonies[0].valid_until_ms = int((time.time() - ago_s) * 1000)
        await gateway.services.database.write(saving(stored, []))

    await expire(1)
    reply = await client.post("/v1/transactions", body, key="pay")
    assert (reply.status, reply.body["code"]) == (503, "quorum-unavailable")
    assert 25 <= int(reply.headers["Retry-After"]) <= 31
    assert len(cell.double.sign_intents) == 1
    await expire(60)
    reply = await client.post("/v1/transactions", body, key="pay")
    assert reply.status == 201, reply.body
    assert len(cell.double.sign_intents) == 2
    assert reply.body["id"] == stored.transaction_id


async def test_an_outcome_that_is_unknown_is_kept(cell, client, body):
    """502 and 504 are answers about an operation: the key keeps pointing at it."""
    cell.double.behaviour.failure = ("protocol-abort", False)
    first = await client.post("/v1/transactions", body, key="pay")
    assert first.status == 502
    cell.double.behaviour.failure = None
    again = await client.post("/v1/transactions", body, key="pay")
    assert (again.status, again.raw) == (502, first.raw)
    assert len(cell.double.sign_intents) == 1


async def test_ceremony_ids_are_the_parties_own(cell, client, body):
    """The id shown for a ceremony is the one that every party derives from the intent's bytes."""
    made = (await client.post("/v1/transactions", body)).body
    operation = (await client.get(f"/v1/operations/{made['operation_id']}")).body
    (ceremony,) = operation["ceremonies"]
    assert ceremony["id"] in {operation_id(run.order) for run in cell.double.runs.values()}
