"""Flags over REST: whom a chain is open for, request by request, while the file changes under a running gateway."""

import time

import pytest

from keyquorum_gateway.flags.rollout import bucket
from support.gateway_cell import CHAIN, RECIPIENT, eventually

WITHIN_S = 2.0


async def flag(client):
    """What the caller is told about the chain."""
    return (await client.get(f"/v1/chains/{CHAIN}")).body["flags"]


async def until_stage(client, stage, **expected):
    """Wait until the gateway has the flag; how long that took, which is less than two seconds."""
    started = time.monotonic()

    async def reached():
        shown = await flag(client)
        return shown["stage"] == stage and all(shown[name] == value for name, value in expected.items())

    await eventually(reached, WITHIN_S)
    return time.monotonic() - started


def refused(reply, reason):
    """403 chain-not-enabled, with the reason."""
    assert (reply.status, reply.body["code"], reply.body["reason"]) == (403, "chain-not-enabled", reason), reply.body
    assert reply.body["retriable"] is False


async def new_work(client, wallet):
    """Every request that begins something on the chain."""
    account = wallet["accounts"][0]
    yield await client.post("/v1/wallets", {"user_id": "u", "chains": [CHAIN]})
    yield await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})
    yield await client.post(
        "/v1/transactions", {"account_id": account["id"], "destination": RECIPIENT, "amount": "1", "submit": False}
    )
    yield await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"})
    yield await client.post(f"/v1/chains/{CHAIN}/transactions", {"raw": "AAAA", "txid": "ab"})


@pytest.fixture
async def account(cell, client):
    """A funded account, from before anybody touched a flag."""
    made = (await client.wallet())["accounts"][0]
    cell.ledger.balances[made["address"]] = 1000
    return made


async def test_a_chain_opens_for_one_tenant_then_for_all_and_closes(client, other, keyquorum):
    """By flags alone; each step within two seconds."""
    mine, theirs = await client.wallet(), await other.wallet()
    await keyquorum("canary", CHAIN, "--tenant", "default")
    await until_stage(other, "canary", enabled=False, reason="not-in-canary", listed=False)
    assert (await flag(client)) | {"enabled": True, "reason": "tenant", "listed": True} == await flag(client)
    assert (await client.wallet())["state"] == "active"
    async for reply in new_work(other, theirs):
        refused(reply, "not-in-canary")
    await keyquorum("enable", CHAIN)
    await until_stage(other, "enabled", enabled=True, reason="everyone")
    assert (await other.wallet())["state"] == "active"
    await keyquorum("disable", CHAIN)
    await until_stage(client, "disabled", enabled=False, reason="disabled")
    async for reply in new_work(client, mine):
        refused(reply, "disabled")
    await keyquorum("kill", CHAIN)
    await until_stage(client, "killed", enabled=False, reason="killed")
    async for reply in new_work(client, mine):
        refused(reply, "killed")
    await keyquorum("revive", CHAIN)
    await until_stage(client, "disabled")


async def test_a_percentage_of_tenants_takes_those_of_its_buckets(client, other, keyquorum):
    """Exactly those below it, and the reason says canary."""
    mine, theirs = (bucket(CHAIN, "", tenant) for tenant in ("default", "other"))
    low, high = sorted((mine, theirs))
    assert low != high
    first, second = (client, other) if mine < theirs else (other, client)
    for percent, expected in (
        (0, (False, False)),
        (low, (False, False)),
        (low + 1, (True, False)),
        (high + 1, (True, True)),
    ):
        await keyquorum("canary", CHAIN, "--percent", str(percent))
        stage = "enabled" if percent == 100 else "canary"
        await until_stage(client, stage, percent=None if percent == 100 else percent)
        answers = [await each.post("/v1/wallets", {"user_id": "u", "chains": [CHAIN]}) for each in (first, second)]
        assert tuple(reply.status == 201 for reply in answers) == expected
        for reply in answers:
            if reply.status != 201:
                refused(reply, "not-in-canary")


async def test_a_percentage_of_wallets_is_of_wallets(cell, client, keyquorum):
    """The same wallet is in or out for accounts, transactions and messages alike; raw bytes name no wallet."""
    wallets = [await client.wallet() for _ in range(12)]
    percent = sorted(bucket(CHAIN, "", wallet["id"]) for wallet in wallets)[6]
    await keyquorum("canary", CHAIN, "--percent", str(percent), "--sticky", "wallet")
    await until_stage(client, "canary", enabled=False, reason="depends-on-wallet")
    inside = 0
    for wallet in wallets:
        account = wallet["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        is_in = bucket(CHAIN, "", wallet["id"]) < percent
        inside += is_in
        body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"}
        for reply in (
            await client.post("/v1/transactions", body),
            await client.post("/v1/signatures", {"account_id": account["id"], "message": "m"}),
            await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN}),
        ):
            assert (reply.status == 201) is is_in, reply.body
            if not is_in:
                refused(reply, "not-in-canary")
    assert 0 < inside < 12
    refused(await client.post(f"/v1/chains/{CHAIN}/transactions", {"raw": "AAAA", "txid": "ab"}), "depends-on-wallet")


@pytest.mark.parametrize(("step", "readable"), [("disable", True), ("canary", True), ("kill", False)])
async def test_what_exists_can_be_read_unless_the_chain_is_killed(client, keyquorum, account, step, readable):
    """Balances and the chain's transactions ask the node; what the gateway has stored is always there."""
    made = await client.post("/v1/transactions", {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"})
    await keyquorum(step, CHAIN, *(("--percent", "0") if step == "canary" else ()))
    await until_stage(client, {"disable": "disabled", "canary": "canary", "kill": "killed"}[step])
    for path in (f"/v1/accounts/{account['id']}/balances", f"/v1/chains/{CHAIN}/transactions/{made.body['txid']}"):
        reply = await client.get(path)
        if readable:
            assert reply.status == 200, reply.body
        else:
            refused(reply, "killed")
    for path in (f"/v1/accounts/{account['id']}", f"/v1/transactions/{made.body['id']}", "/v1/chains"):
        assert (await client.get(path)).status == 200


async def test_a_refused_request_may_be_sent_again_under_its_key(client, keyquorum, account):
    """Nothing was begun, so the idempotency key is not used up."""
    await keyquorum("disable", CHAIN)
    await until_stage(client, "disabled")
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"}
    refused(await client.post("/v1/transactions", body, key="again"), "disabled")
    await keyquorum("enable", CHAIN)
    await until_stage(client, "enabled")
    assert (await client.post("/v1/transactions", body, key="again")).status == 201


async def test_a_file_that_breaks_keeps_a_kill_and_says_so(cell, client, keyquorum):
    """In /readyz, in the list, and in the metrics; mended, it counts again."""
    file = cell.folder / "flags.json"
    await keyquorum("kill", CHAIN)
    await until_stage(client, "killed")
    good = file.read_text()
    file.write_text(good.replace("true", "maybe"))
    await until_stage(client, "killed", stale=True)
    refused(await client.post("/v1/wallets", {"user_id": "u", "chains": [CHAIN]}), "killed")
    assert (await client.get("/readyz")).body["checks"]["chain flags"] == "stale, the last good state counts"

    async def counted():
        return b"keyquorum_chain_flags_stale 1.0" in (await client.get("/metrics")).raw

    await eventually(counted)
    assert b'keyquorum_chain_flag_events_total{event="stale"} 1.0' in (await client.get("/metrics")).raw
    assert "flags.json: not JSON" in await keyquorum("enable", CHAIN, ok=False)
    file.write_text(good)
    await until_stage(client, "killed", stale=False)
    assert (await client.get("/readyz")).body["checks"]["chain flags"] == "ok"


@pytest.mark.parametrize("content", [None, "", "{", '{"chains": {"toy:main": {"kil": true}}}'])
async def test_a_gateway_that_cannot_read_its_flags_holds_every_chain(cell, content):
    """From its start: it serves what it knows, begins nothing, and goes on when the file is there."""
    file = cell.folder / "flags.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    async with cell.running() as running, cell.client(running) as client:
        shown = await flag(client)
        assert (shown["enabled"], shown["stage"], shown["stale"]) == (False, "held", True)
        refused(await client.post("/v1/wallets", {"user_id": "u", "chains": [CHAIN]}), "flags-unavailable")
        assert (await client.get("/readyz")).body["checks"]["chain flags"] == "unreadable, every chain is held"
        file.write_text('{"chains": {}}')
        await until_stage(client, "configuration", enabled=True)
        assert (await client.wallet())["state"] == "active"


async def test_decisions_are_counted_by_reason(client, keyquorum, account):
    """Build and broadcast of one transfer are two."""
    await keyquorum("enable", CHAIN)
    await until_stage(client, "enabled")
    await client.post("/v1/transactions", {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"})
    text = (await client.get("/metrics")).raw.decode()
    for reason in ("everyone", "under-way"):
        series = f'keyquorum_chain_flag_decisions_total{{chain="{CHAIN}",decision="allowed",reason="{reason}"}}'
        [line] = [line for line in text.splitlines() if line.startswith(series)]
        assert float(line.split()[-1]) >= 1


async def test_a_chain_for_others_alone_is_not_even_shown_until_it_has_a_flag(cell):
    """The configuration's list hides; a flag shows the chain, closed, to whoever it may be opened for."""
    config = cell.config_file.read_text()
    cell.config_file.write_text(config.replace('fee_ceiling = "100"', 'fee_ceiling = "100"\ntenants = ["other"]'))
    file = cell.folder / "flags.json"
    async with cell.running() as running, cell.client(running) as client:
        assert (await client.get("/v1/chains")).body["items"] == []
        assert (await client.get(f"/v1/chains/{CHAIN}")).status == 403
        assert (await client.get(f"/v1/chains/{CHAIN}/transactions/ab")).status == 403
        file.write_text(f'{{"chains": {{"{CHAIN}": {{"enabled": true}}}}}}')
        await eventually(lambda: _opens(client), WITHIN_S)
        assert (await flag(client))["source"] == "file"


async def _opens(client):
    return (await client.post("/v1/wallets", {"user_id": "u", "chains": [CHAIN]})).status == 201


async def test_an_open_chain_is_open_within_its_limits(cell, client, keyquorum, account):
    """A flag for everybody lifts neither the fee ceiling nor what the parties' policy denies."""
    await keyquorum("enable", CHAIN)
    await until_stage(client, "enabled", enabled=True)
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "1"}
    dear = await client.post("/v1/transactions", {**body, "options": {"fee": "101"}})
    assert (dear.status, dear.body["code"]) == (422, "fee-too-high")
    assert cell.double.sign_intents == []
    cell.double.behaviour.failure = ("policy-denied", False)
    denied = await client.post("/v1/transactions", body)
    assert (denied.status, denied.body["code"]) == (403, "policy-denied")
    assert cell.ledger.submitted == []
