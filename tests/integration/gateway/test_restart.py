"""Restarts at every point: an operation ends as if nothing had happened, and never with a second intent or other bytes."""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing

import aiohttp
import pytest
from toychain.ledger import LEDGERS

from keyquorum_gateway.state.database import StateLocked
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import ChainUnavailable
from support.fake_distributions import TOY_SITE
from support.gateway_cell import CHAIN, RECIPIENT, Client, authorize, eventually, order_wallet


@asynccontextmanager
async def serving(cell, **overrides):
    """A gateway and a client of it."""
    async with cell.running(**overrides) as running, cell.client(running) as client:
        yield running, client


async def funded(cell, client, amount=1000, **body):
    """A transfer request of a new, funded account."""
    account = (await client.wallet(**body))["accounts"][0]
    cell.ledger.balances[account["address"]] = amount
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def ended(client, operation_id):
    """The operation, once it has ended."""
    return await eventually(lambda: _terminal(client, operation_id), 10)


async def _terminal(client, operation_id):
    operation = (await client.get(f"/v1/operations/{operation_id}")).body
    return operation if operation["state"] in ("succeeded", "failed") else None


async def confirmed(client, transaction_id):
    """The transaction, once it is confirmed."""
    return await eventually(lambda: _confirmed(client, transaction_id), 10)


async def _confirmed(client, transaction_id):
    transaction = (await client.get(f"/v1/transactions/{transaction_id}")).body
    return transaction if transaction["state"] == "confirmed" else None


async def test_a_ceremony_goes_on_after_a_restart(cell):
    """Stopped while the parties sign: the next process follows the same intent to the end and broadcasts."""
    cell.double.behaviour.gate = asyncio.Event()
    async with serving(cell) as (_, client):
        cell.double.behaviour.gate.set()
        body = await funded(cell, client)
        cell.double.behaviour.gate.clear()
        reply = await client.post("/v1/transactions", body, key="pay", Prefer="wait=0")
        operation_id, transaction_id = reply.body["id"], reply.body["transaction_id"]
        await eventually(lambda: cell.double.sign_intents)
    async with serving(cell) as (_, client):
        assert (await client.get(f"/v1/operations/{operation_id}")).body["state"] == "running"
        busy = await client.post("/v1/transactions", body, key="pay")
        assert (busy.status, busy.body["id"]) == (202, operation_id)
        cell.double.behaviour.gate.set()
        assert (await ended(client, operation_id))["state"] == "succeeded"
        await confirmed(client, transaction_id)
        events = (await client.get(f"/v1/operations/{operation_id}/events")).raw.decode()
        numbers = [int(line[4:]) for line in events.splitlines() if line.startswith("id: ")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert events.count("event: sign_round1") == 1
    assert len(cell.double.sign_intents) == 1
    assert cell.ledger.builds == 1
    assert len(set(cell.ledger.submitted)) == 1


async def test_a_ceremony_that_ended_meanwhile_is_found_out(cell):
    """The coordinator is asked, not the parties again."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.double.behaviour.gate = asyncio.Event()
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.double.sign_intents)
    run = list(cell.double.runs.values())[-1]
    cell.double.behaviour.gate.set()
    await run.task
    sent = run.sent
    async with serving(cell) as (_, client):
        assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
        events = (await client.get(f"/v1/operations/{reply.body['id']}/events")).raw.decode()
        assert events.count("event: sign_round1") == 1, "what happened while nobody listened is told afterwards"
        await confirmed(client, reply.body["transaction_id"])
    assert run.sent == sent


async def test_a_failure_that_happened_meanwhile_is_reported(cell):
    """With its code."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.double.behaviour.gate = asyncio.Event()
        cell.double.behaviour.failure = ("policy-denied", False)
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.double.sign_intents)
    cell.double.behaviour.gate.set()
    async with serving(cell) as (_, client):
        operation = await ended(client, reply.body["id"])
        assert (operation["state"], operation["error"]["code"]) == ("failed", "policy-denied")
        transaction = (await client.get(f"/v1/transactions/{reply.body['transaction_id']}")).body
        assert transaction["state"] == "failed"
    assert len(cell.ledger.discarded) == 1


async def test_an_intent_that_never_left_is_sent_as_it_was(cell):
    """Stored, then the process died before the coordinator heard of it: the same bytes go out."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        await cell.stop_coordinator()
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: _has_intent(client, reply.body["id"]))
    await cell.start_coordinator()
    async with serving(cell) as (_, client):
        assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
    assert cell.ledger.builds == 1
    assert len(cell.double.sign_intents) == 1


async def _has_intent(client, operation_id):
    return (await client.get(f"/v1/operations/{operation_id}")).body["ceremonies"]


async def test_an_intent_whose_outcome_nobody_can_tell_ends_as_unknown(cell, monkeypatch):
    """The coordinator does not come back: the operation ends, and says so."""
    monkeypatch.setattr("keyquorum_gateway.operations.ceremony_runner.RECOVERY_GRACE_S", 0.2)
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
    cell.double.behaviour.gate = asyncio.Event()
    async with serving(cell, INTENTS__GATEWAY_VALIDITY_S="1") as (_, client):
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.double.sign_intents)
    await cell.stop_coordinator()
    async with serving(cell) as (_, client):
        operation = await eventually(lambda: _terminal(client, reply.body["id"]), 20)
        assert (operation["state"], operation["error"]["code"]) == ("failed", "outcome-unknown")
    cell.double.behaviour.gate.set()


async def test_a_build_that_was_interrupted_has_happened_not_at_all(cell):
    """No intent, no signature: failed as interrupted, retriable."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.ledger.build_delay_s = 30
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
    cell.ledger.build_delay_s = 0
    async with serving(cell) as (_, client):
        operation = await ended(client, reply.body["id"])
        assert (operation["error"]["code"], operation["error"]["retriable"]) == ("interrupted", True)
        assert (await client.post("/v1/transactions", body)).status == 201
    assert len(cell.double.sign_intents) == 1


async def test_stored_bytes_are_broadcast_again_and_no_others(cell):
    """Stopped between signing and a node's answer."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.ledger.submit_errors = [ChainUnavailable("down")] * 1000
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.ledger.submitted)
    cell.ledger.submit_errors = []
    async with serving(cell) as (_, client):
        assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
        await confirmed(client, reply.body["transaction_id"])
    assert len(set(cell.ledger.submitted)) == 1
    assert cell.ledger.balances[RECIPIENT] == 100
    assert len(cell.double.sign_intents) == 1


async def test_a_broadcast_transaction_is_followed_after_a_restart(cell):
    """Its operation has ended; its end on the chain is still learnt."""
    cell.ledger.confirm = False
    async with serving(cell) as (_, client):
        made = (await client.post("/v1/transactions", await funded(cell, client))).body
    async with serving(cell) as (_, client):
        cell.ledger.set_state(made["txid"], TransactionState.CONFIRMED)
        await confirmed(client, made["id"])
    assert len(cell.ledger.submitted) == 1


async def test_what_waits_for_its_initiator_still_waits(cell):
    """The same intent, authorized after the restart."""
    async with serving(cell) as (_, client):
        operation = await order_wallet(cell, client)
    async with serving(cell) as (_, client):
        again = (await client.get(f"/v1/operations/{operation['id']}")).body
        assert again["awaiting"] == operation["awaiting"]
        done = await authorize(client, again, cell.root)
        assert (done.status, done.body["state"]) == (200, "succeeded")


async def test_a_wallet_is_finished_after_a_restart(cell):
    """One key, one account, one intent."""
    cell.double.behaviour.gate = asyncio.Event()
    async with serving(cell) as (_, client):
        reply = await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN]}, Prefer="wait=0")
        await eventually(lambda: cell.double.runs)
    cell.double.behaviour.gate.set()
    async with serving(cell) as (_, client):
        await ended(client, reply.body["id"])
        wallet = (await client.get(f"/v1/wallets/{reply.body['wallet_id']}")).body
        assert (wallet["state"], len(wallet["keys"]), len(wallet["accounts"])) == ("active", 1, 1)
    assert len(cell.double.runs) == 1


async def test_a_second_gateway_on_the_same_database_is_refused(cell):
    """Claims on idempotency keys live in one process."""
    async with serving(cell):
        with pytest.raises(StateLocked):
            async with cell.running():
                pass


SERVE = f"""
import sys
sys.path.insert(0, {str(TOY_SITE)!r})
from toychain.ledger import LEDGERS, Ledger
class Rich(dict):
    def get(self, name, default=None):
        return super().get(name, 10**6)
class Every(dict):
    def __missing__(self, name):
        ledger = self[name] = Ledger(balances=Rich())
        return ledger
import toychain.adapter
toychain.adapter.LEDGERS = Every()
from keyquorum_gateway.serve import main
main()
"""


@asynccontextmanager
async def process(cell, port):
    """``keyquorum-gateway`` as a process of its own, with the toy chain installed."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KEYQUORUM_")},
        "KEYQUORUM_GATEWAY__SERVER__LISTEN": f"127.0.0.1:{port}",
        "KEYQUORUM_GATEWAY__COORDINATOR__ADDRESS": f"127.0.0.1:{cell.port}",
    }
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, "--config", str(cell.config_file)), env=environ
    )
    try:
        await eventually(lambda: _listens(port), 30)
        yield started
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGTERM)
        await asyncio.wait_for(started.wait(), 20)


async def _listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_kill_9_while_the_parties_sign(cell, unused_tcp_port):
    """A process that is gone without a word: its successor ends the payment, once, with the one intent."""
    LEDGERS.clear()
    async with aiohttp.ClientSession() as session:
        client = Client(session, f"http://127.0.0.1:{unused_tcp_port}", cell.api_key())
        async with process(cell, unused_tcp_port) as first:
            account = (await client.wallet())["accounts"][0]
            body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
            cell.double.behaviour.gate = asyncio.Event()
            reply = await client.post("/v1/transactions", body, key="pay", Prefer="wait=0")
            assert reply.status == 202, reply.body
            await eventually(lambda: cell.double.sign_intents)
            first.kill()
            await first.wait()
        cell.double.behaviour.gate.set()
        async with process(cell, unused_tcp_port):
            assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
            await confirmed(client, reply.body["transaction_id"])
            again = await client.post("/v1/transactions", body, key="pay")
            assert (again.status, again.headers["Idempotent-Replayed"]) == (202, "true")
            assert again.body["id"] == reply.body["id"]
    assert len(cell.double.sign_intents) == 1


@pytest.mark.parametrize("what", ["transaction", "raw", "wallet"])
async def test_an_intent_is_durable_before_anybody_hears_of_it(cell, what):
    """With its operation, its events, and the idempotency key that started it."""
    seen = []

    async def look(intent):
        with closing(sqlite3.connect(f"file:{cell.folder}/gateway.db?mode=ro", uri=True)) as connection:
            (stored,) = connection.execute("SELECT document FROM operations ORDER BY id DESC LIMIT 1").fetchone()
            key = connection.execute("SELECT state FROM idempotency WHERE key = 'k'").fetchone()
            seen.append((intent.nonce in base64.urlsafe_b64decode(json.loads(stored)["ceremonies"][0]["intent"]), key))

    async with serving(cell) as (_, client):
        body = await funded(cell, client, policy={"allow_raw": True})
        cell.double.behaviour.admit = look
        path, request = {
            "transaction": ("/v1/transactions", body),
            "raw": ("/v1/signatures", {"account_id": body["account_id"], "raw": "AAAA"}),
            "wallet": ("/v1/wallets", {"user_id": "b", "chains": [CHAIN]}),
        }[what]
        assert (await client.post(path, request, key="k")).status == 201
    assert seen == [(True, ("running",))]
