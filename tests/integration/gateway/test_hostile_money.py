"""Attempts to have a payment made twice: by replacements, by keys sent again, by restarts, by a disk that is full."""

import asyncio
import base64
import json
import sqlite3
import time
from contextlib import asynccontextmanager, closing

import pytest
from toychain.adapter import ToyAdapter
from toychain.codec import ToyCodec

from keyquorum_gateway.state.database import StateUnavailable
from keyquorum_gateway.state.operations import saving
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, FeeTooLow, Unsupported
from support.gateway_cell import CHAIN, RECIPIENT, authorize, eventually, order_wallet


@pytest.fixture
def coins(monkeypatch):
    """The toy chain with coins: a nonce is a list of them, and payloads exclude each other where they share one."""

    def excludes(codec, payload, other, chain):
        first, second = (set(json.loads(each)["nonce"].split(",")) for each in (payload, other))
        return bool(first & second)

    monkeypatch.setattr(ToyCodec, "excludes", excludes)


@asynccontextmanager
async def serving(cell, **overrides):
    """A gateway and a client of it."""
    async with cell.running(**overrides) as running, cell.client(running) as client:
        yield running, client


async def funded(cell, client):
    """A transfer of 100 from a new account."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


async def broadcast(cell, client, coins="a"):
    """A transfer that no block has."""
    cell.ledger.confirm = False
    made = await client.post("/v1/transactions", {**await funded(cell, client), "options": {"nonce": coins}})
    assert made.body["state"] == "submitted"
    return made.body


async def put_in_place(client, transaction, purpose="replacement", **options):
    """A request."""
    body = {"purpose": purpose, "options": options}
    return await client.post(f"/v1/transactions/{transaction['id']}/replacements", body)


async def ended(client, operation_id):
    """The operation, once it has ended."""

    async def terminal():
        operation = (await client.get(f"/v1/operations/{operation_id}")).body
        return operation if operation["state"] in ("succeeded", "failed") else None

    return await eventually(terminal, 10)


# replacements


async def test_of_two_replacements_at_once_one_is_made(cell, client, monkeypatch):
    """Both would exclude the first transaction, and nothing says that they exclude each other."""
    honest = ToyAdapter.build_replacement

    async def slow(adapter, *rest):
        await asyncio.sleep(0.2)
        return await honest(adapter, *rest)

    monkeypatch.setattr(ToyAdapter, "build_replacement", slow)
    pending = await broadcast(cell, client)
    replies = await asyncio.gather(*(put_in_place(client, pending) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409], [r.body for r in replies]
    assert {reply.body["code"] for reply in replies if reply.status == 409} == {"already-replaced"}
    assert len(cell.double.sign_intents) == 2


async def test_a_replacement_excludes_what_its_predecessor_replaced(cell, client, coins):
    """Exclusion is not transitive: one that shares a coin with the second alone could be included beside the first."""
    first = await broadcast(cell, client, "a")
    second = (await put_in_place(client, first, nonce="a,b")).body
    third = await put_in_place(client, second, nonce="b")
    assert (third.status, third.body["code"]) == (502, "adapter-refused"), third.body
    assert len(cell.double.sign_intents) == 2
    assert (await put_in_place(client, second, nonce="a,b")).status == 201


async def test_a_replacement_excludes_failed_ones_that_parties_have_seen(cell, client, coins):
    """Whoever said that they failed may hold their signatures."""
    first = await broadcast(cell, client, "a,b")
    cell.double.behaviour.failure = ("protocol-abort", False)
    assert (await put_in_place(client, first, nonce="a")).status == 502
    cell.double.behaviour.failure = None
    beside = await put_in_place(client, first, nonce="b")
    assert (beside.status, beside.body["code"]) == (502, "adapter-refused"), beside.body
    assert (await put_in_place(client, first, "cancellation", nonce="a,b")).status == 201


async def test_a_refused_replacement_leaves_the_first_replaceable(cell, client):
    """Else a fee that was too low twice would leave it stuck for good."""
    first = await broadcast(cell, client)
    cell.ledger.submit_errors = [FeeTooLow("more, please")]
    assert (await put_in_place(client, first)).status == 422
    assert (await put_in_place(client, first)).status == 201


# keys sent again


async def failed_and_expired(gateway, client, body):
    """A first try that the coordinator says came to nothing, and whose intent has expired since."""
    first = await client.post("/v1/transactions", body, key="pay")
    assert (first.status, first.body["code"]) == (503, "quorum-unavailable")
    stored = gateway.services.operations.get(first.body["operation_id"])
    stored.ceremonies[0].valid_until_ms = int((time.time() - 60) * 1000)
    await gateway.services.database.write(saving(stored, []))


async def test_a_later_try_excludes_what_parties_may_have_signed(cell, gateway, client):
    """An intent expires, a signature does not: a coordinator that kept it could broadcast the first payload as well."""
    body = await funded(cell, client)
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    await failed_and_expired(gateway, client, body)
    await failed_and_expired(gateway, client, body)
    cell.double.behaviour.failure = None
    assert (await client.post("/v1/transactions", body, key="pay")).status == 201
    payloads = [intent.command.unsigned_payload for intent in cell.double.sign_intents]
    assert len(payloads) == 3
    assert len({json.loads(payload)["nonce"] for payload in payloads}) == 1


async def test_tries_have_an_end(cell, gateway, client, monkeypatch):
    """Each holds a payload that all later ones are compared with."""
    monkeypatch.setattr("keyquorum_gateway.routes.transactions._TRIES_MAX", 1)
    body = await funded(cell, client)
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    await failed_and_expired(gateway, client, body)
    await failed_and_expired(gateway, client, body)
    again = await client.post("/v1/transactions", body, key="pay")
    assert (again.status, again.body["code"]) == (502, "outcome-unknown")
    assert len(cell.double.sign_intents) == 2


async def test_a_later_try_that_excludes_nothing_is_not_made(cell, gateway, client, monkeypatch):
    """Where a chain has no replacements, the outcome is unknown, and says so."""

    async def unsupported(adapter, *_):
        raise Unsupported("no replacements")

    monkeypatch.setattr(ToyAdapter, "build_replacement", unsupported)
    body = await funded(cell, client)
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    await failed_and_expired(gateway, client, body)
    cell.double.behaviour.failure = None
    again = await client.post("/v1/transactions", body, key="pay")
    assert (again.status, again.body["code"]) == (502, "outcome-unknown")
    assert len(cell.double.sign_intents) == 1


async def test_a_payload_that_a_client_authorized_once_is_never_built_again(cell, client):
    """Waiting for the client again does not undo that parties have seen it."""
    wallet = (await authorize(client, await order_wallet(cell, client), cell.root)).body["wallet_id"]
    account = (await client.get(f"/v1/wallets/{wallet}")).body["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
    operation = (await client.post("/v1/transactions", body)).body
    cell.double.behaviour.failure = ("quorum-unavailable", True)
    assert (await authorize(client, operation, cell.root)).status == 503
    cell.double.behaviour.failure = None

    async def stale(adapter, unsigned):
        raise Expired("the blockhash is too old")

    cell.ledger.on_sign = stale
    reply = await authorize(client, operation, cell.root)
    assert (reply.status, reply.body["code"]) == (409, "transaction-expired")
    assert cell.ledger.builds == 1


async def test_a_disk_that_is_full_for_a_moment_starts_no_second_payment(cell, gateway, client, monkeypatch):
    """503 would say that nothing happened, while the operation goes on."""
    body = await funded(cell, client)
    cell.ledger.build_delay_s = 0.5
    database = gateway.services.database
    post, failures = database.post, [StateUnavailable("no space left on device")]

    def full_once(command, *, lazy=False):
        if not failures:
            return post(command, lazy=lazy)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(failures.pop())
        return future

    monkeypatch.setattr(database, "post", full_once)
    await client.post("/v1/transactions", body, key="pay", Prefer="wait=0")
    await client.post("/v1/transactions", body, key="pay")
    await eventually(lambda: cell.ledger.submitted)
    await eventually(lambda: not gateway.services.engine.live_count)
    assert not failures
    assert (cell.ledger.builds, len(cell.double.sign_intents), len(cell.ledger.submitted)) == (1, 1, 1)


async def test_signatures_that_cannot_be_stored_are_not_nothing(cell, gateway, client, monkeypatch):
    """They exist: 503 would invite the client to pay again, and the transaction must not stay where it was for ever."""
    engine = gateway.services.engine
    persist, failures = engine.persist, [StateUnavailable("no space left on device")]

    async def full_once(live, *writes):
        if live.transaction is not None and live.transaction.raw and failures:
            raise failures.pop()
        await persist(live, *writes)

    monkeypatch.setattr(engine, "persist", full_once)
    reply = await client.post("/v1/transactions", await funded(cell, client))
    assert (reply.status, reply.body["code"]) == (502, "outcome-unknown"), reply.body
    (stored,) = (await client.get("/v1/transactions")).body["items"]
    assert (stored["state"], stored["error"]["code"]) == ("failed", "outcome-unknown")
    assert stored["raw"]
    assert cell.ledger.submitted == []


# restarts


async def test_a_payload_built_after_a_restart_is_durable_before_it_is_sent(cell):
    """Else a second restart would build a third, beside the one that parties have signed."""
    blocked = asyncio.Event()

    async def wait(adapter, unsigned):
        await blocked.wait()

    cell.ledger.on_sign = wait
    async with serving(cell) as (_, client):
        reply = await client.post("/v1/transactions", await funded(cell, client), Prefer="wait=1")
        assert (await client.get(f"/v1/operations/{reply.body['id']}")).body["ceremonies"]
    stale, seen = [Expired("the blockhash is too old")], []

    async def sign(adapter, unsigned):
        if stale:
            raise stale.pop()
        return await honestly(adapter, unsigned)

    async def look(intent):
        with closing(sqlite3.connect(f"file:{cell.folder}/gateway.db?mode=ro", uri=True)) as connection:
            (operation,) = connection.execute("SELECT document FROM operations ORDER BY id DESC LIMIT 1").fetchone()
            (transaction,) = connection.execute("SELECT document FROM transactions").fetchone()
        stored = base64.urlsafe_b64decode(json.loads(operation)["ceremonies"][0]["intent"])
        payload = base64.urlsafe_b64decode(json.loads(transaction)["unsigned"]["payload"])
        seen.append((intent.nonce in stored, payload == intent.command.unsigned_payload))

    cell.ledger.on_sign, cell.double.behaviour.admit = sign, look
    async with serving(cell) as (_, client):
        assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
    assert seen == [(True, True)]


async def honestly(adapter, unsigned):
    """As every honest adapter."""
    return ToyCodec().combine(unsigned, await adapter.context.signer.sign(unsigned))


async def test_signed_bytes_do_not_fail_because_a_node_is_late(cell, monkeypatch):
    """The tracker sends them once it is there: a failure that says "try again" would pay twice."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.ledger.submit_errors = [ChainUnavailable("down")] * 1000
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.ledger.submitted)
    monkeypatch.setattr("keyquorum_gateway.operations.transfers.RECOVERY_S", 0.05)
    cell.ledger.submit_errors, cell.ledger.start_fails = [], cell.ledger.starts + 1
    async with serving(cell) as (_, client):
        assert (await ended(client, reply.body["id"]))["state"] == "succeeded"
    assert cell.ledger.balances[RECIPIENT] == 100


async def test_what_parties_may_have_signed_does_not_fail_as_if_nothing_happened(cell, monkeypatch):
    """After a restart without the node: unknown, not retriable."""
    async with serving(cell) as (_, client):
        body = await funded(cell, client)
        cell.double.behaviour.gate = asyncio.Event()
        reply = await client.post("/v1/transactions", body, Prefer="wait=0")
        await eventually(lambda: cell.double.sign_intents)
    cell.double.behaviour.gate.set()
    monkeypatch.setattr("keyquorum_gateway.operations.transfers.RECOVERY_S", 0.05)
    cell.ledger.start_fails = cell.ledger.starts + 1
    async with serving(cell) as (_, client):
        error = (await ended(client, reply.body["id"]))["error"]
    assert (error["code"], error["retriable"]) == ("outcome-unknown", False)


# adapters that hang


async def test_an_adapter_that_gives_up_on_the_parties_leaves_the_outcome_unknown(cell, client):
    """Not 503, which would say that nothing happened."""
    body = await funded(cell, client)
    cell.double.behaviour.gate = asyncio.Event()

    async def impatient(adapter, unsigned):
        async with asyncio.timeout(0.2):
            return await honestly(adapter, unsigned)

    cell.ledger.on_sign = impatient
    reply = await client.post("/v1/transactions", body)
    cell.double.behaviour.gate.set()
    assert (reply.status, reply.body["code"]) == (502, "outcome-unknown"), reply.body


async def test_an_adapter_that_never_signs_ends(cell, monkeypatch):
    """Every operation ends."""
    monkeypatch.setattr("keyquorum_gateway.operations.transfers.RECOVERY_GRACE_S", 0.1)
    monkeypatch.setattr("keyquorum_gateway.operations.transfers.BUILD_S", 0.1)
    async with serving(cell) as (_, client):
        body = await funded(cell, client)

    async def hang(adapter, unsigned):
        await asyncio.Event().wait()

    cell.ledger.on_sign = hang
    async with serving(cell, INTENTS__GATEWAY_VALIDITY_S="1") as (_, client):
        reply = await client.post("/v1/transactions", body)
        assert (reply.status, reply.body["code"]) == (503, "chain-unavailable")
    assert cell.double.sign_intents == []


# flags


async def test_raw_bytes_are_not_signed_for_a_killed_chain(cell, tmp_path):
    """They may be a transaction of it."""
    flags = tmp_path / "flags.json"
    flags.write_text('{"chains": {}}')
    flags.chmod(0o600)
    async with serving(cell, FLAGS__FILE=str(flags)) as (_, client):
        account = (await client.wallet(policy={"allow_raw": True}))["accounts"][0]
        body = {"account_id": account["id"], "raw": "AAAA"}
        assert (await client.post("/v1/signatures", body)).status == 201
        flags.write_text(json.dumps({"chains": {CHAIN: {"kill": True}}}))

        async def killed():
            return (await client.post("/v1/signatures", {**body, "raw": None, "message": "x"})).status == 403

        await eventually(killed, 10)
        reply = await client.post("/v1/signatures", body)
    assert (reply.status, reply.body["code"]) == (403, "chain-not-enabled")


# chains


async def test_two_accounts_at_once_do_not_mix_chains(cell, monkeypatch):
    """A payload that names no chain would be valid on both: neither request sees the other's account yet."""
    monkeypatch.setattr("toychain.codec.ToyCodec.payload_names_chain", False)
    text = cell.config_file.read_text()
    table = text[text.index('[chains."toy:main"]') :]
    cell.config_file.write_text(text + "\n" + table.replace(CHAIN, "toy:test"))
    async with serving(cell) as (_, client):
        wallet = await client.wallet(chains=[], schemes=["eddsa_ed25519"], policy={"limits": []})
        path = f"/v1/wallets/{wallet['id']}/accounts"
        replies = await asyncio.gather(*(client.post(path, {"chain": chain}) for chain in (CHAIN, "toy:test")))
        assert sorted(reply.status for reply in replies) == [201, 422], [reply.body for reply in replies]
        again = await asyncio.gather(*(client.post(path, {"chain": chain}) for chain in (CHAIN, "toy:test")))
        assert sorted(reply.status for reply in again) == [201, 422]
