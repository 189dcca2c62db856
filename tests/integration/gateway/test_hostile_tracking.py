"""What nodes, adapters and disks can do to the record of a transaction that is on its way."""

import asyncio
from dataclasses import replace

import pytest
from toychain.adapter import ToyAdapter

from keyquorum_gateway.state.database import StateUnavailable
from keyquorum_gateway.state.transactions import TransactionState as Stored
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, NonceConflict
from support.gateway_cell import RECIPIENT, eventually


@pytest.fixture
async def body(cell, client):
    """A transfer from a funded account."""
    return await funded(cell, client)


async def funded(cell, client):
    """A transfer of 100 from a new account."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def becomes(client, transaction_id, state, **facts):
    """Wait for a state and what goes with it."""

    async def reached():
        found = (await client.get(f"/v1/transactions/{transaction_id}")).body
        return found if found["state"] == state and all(found[name] == facts[name] for name in facts) else None

    return await eventually(reached, 10)


@pytest.mark.parametrize("refusal", [NonceConflict("nonce too low"), Expired("blockhash not found")], ids=repr)
async def test_a_refusal_counts_only_where_the_chain_can_be_asked(cell, client, body, monkeypatch, refusal):
    """A nonce is too low, a blockhash too old, after the very same bytes were included, too."""
    honest, failures = ToyAdapter.get_status, [ChainUnavailable("down")]

    async def get_status(adapter, txid, unsigned=None):
        if failures:
            raise failures.pop()
        return await honest(adapter, txid, unsigned)

    monkeypatch.setattr(ToyAdapter, "get_status", get_status)
    cell.ledger.submit_errors = [refusal]
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    await becomes(client, reply.body["id"], "confirmed")


async def test_an_answer_that_is_no_status_tells_nothing(cell, client, body, monkeypatch):
    """Whoever follows goes on."""
    honest, answers = ToyAdapter.get_status, ["nonsense"]

    async def get_status(adapter, txid, unsigned=None):
        return answers.pop() if answers else await honest(adapter, txid, unsigned)

    monkeypatch.setattr(ToyAdapter, "get_status", get_status)
    cell.ledger.submit_errors = [NonceConflict("nonce too low")]
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    await becomes(client, reply.body["id"], "confirmed")


async def test_an_adapter_that_crashes_while_it_submits_ends_nothing(cell, client, body):
    """It may have sent the bytes before."""
    cell.ledger.submit_errors = [RuntimeError("a bug")]
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    assert len(set(cell.ledger.submitted)) == 1


async def test_a_disk_that_is_full_at_the_broadcast_hangs_nothing(cell, gateway, client, body, monkeypatch):
    """The operation ends, the transaction is followed, and both are stored once there is room."""
    database = gateway.services.database
    write, failures = database.write, [StateUnavailable("no space left on device")] * 2

    async def full(command):
        if cell.ledger.submitted and failures:
            raise failures.pop()
        return await write(command)

    monkeypatch.setattr(database, "write", full)
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    await becomes(client, reply.body["id"], "confirmed")


async def test_what_was_put_in_its_place_is_not_undermined(cell, client, body):
    """A cancelled transfer that every node has forgotten is not sent again by us; its cancellation is."""
    cell.ledger.confirm = False
    first = (await client.post("/v1/transactions", body)).body
    path = f"/v1/transactions/{first['id']}/replacements"
    second = (await client.post(path, {"purpose": "cancellation"})).body
    assert len(cell.ledger.submitted) == 2
    cell.ledger.set_state(first["txid"], TransactionState.UNKNOWN)
    cell.ledger.set_state(second["txid"], TransactionState.UNKNOWN)
    await eventually(lambda: len(cell.ledger.submitted) >= 4, 10)
    assert cell.ledger.submitted.count(cell.ledger.submitted[0]) == 1


async def test_a_failure_that_a_reorganisation_made_good_is_forgotten(cell, client, body):
    """Confirmed, and no error."""
    cell.ledger.confirm = False
    made = (await client.post("/v1/transactions", body)).body
    cell.ledger.reversible.add(made["txid"])
    cell.ledger.set_state(made["txid"], TransactionState.FAILED)
    assert (await becomes(client, made["id"], "failed"))["error"]
    cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
    assert (await becomes(client, made["id"], "confirmed"))["error"] is None


@pytest.mark.parametrize("nonsense", [{"confirmations": "many"}, {"block": None}], ids=str)
async def test_a_status_that_is_none_is_not_stored(cell, monkeypatch, nonsense):
    """It could not be read again, by no list and by no later start."""
    honest, broken = ToyAdapter.get_status, [True]

    async def get_status(adapter, txid, unsigned=None):
        status = await honest(adapter, txid, unsigned)
        return replace(status, **nonsense) if broken else status

    monkeypatch.setattr(ToyAdapter, "get_status", get_status)
    cell.ledger.confirm = False
    async with cell.running() as running, cell.client(running) as client:
        made = (await client.post("/v1/transactions", await funded(cell, client))).body
        assert (await client.get("/v1/transactions")).status == 200
    async with cell.running() as running, cell.client(running) as client:
        broken.clear()
        cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
        await becomes(client, made["id"], "confirmed")


async def test_an_end_of_a_payload_that_cannot_be_stored_is_refused(cell, client, body):
    """As above."""
    cell.ledger.on_build = lambda adapter, intent, honest: replace(honest, expires={"height": "soon"})
    reply = await client.post("/v1/transactions", body)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert (await client.get("/v1/transactions")).status == 200


async def test_what_has_ended_is_not_broadcast_from_an_old_copy(cell, gateway, client, body):
    """An operation that a restart took up may know less than the tracker."""
    made = (await client.post("/v1/transactions", body)).body
    await becomes(client, made["id"], "confirmed")
    tracker = gateway.services.engine._programs["transaction"]._tracker
    await eventually(lambda: made["id"] not in tracker._tracked)
    old = replace(gateway.services.transactions.get(made["id"]), state=Stored.SIGNED)
    assert (await tracker.broadcast(old)).state is Stored.CONFIRMED
    assert len(cell.ledger.submitted) == 1


async def test_one_tenant_cannot_take_all_event_streams(cell, gateway, client, monkeypatch):
    """Each has a limit of its own."""
    monkeypatch.setattr("keyquorum_gateway.streams.EVENT_STREAMS_PER_TENANT_MAX", 1)
    path = f"/v1/accounts/{(await client.wallet())['accounts'][0]['id']}/events"
    headers = {"Authorization": f"Bearer {client.key}"}
    async with cell.client(gateway, tenant="other") as stranger, asyncio.timeout(10):
        theirs = f"/v1/accounts/{(await stranger.wallet())['accounts'][0]['id']}/events"
        async with client.session.get(client.url + path, headers=headers) as stream:
            assert await stream.content.readline() == b": watching\n"
            refused = await client.get(path)
            assert (refused.status, refused.body["code"]) == (503, "busy")
            bearer = {"Authorization": f"Bearer {stranger.key}"}
            async with stranger.session.get(stranger.url + theirs, headers=bearer) as other:
                assert other.status == 200
