"""A chain's life by flags alone, on a running stack: one tenant, a tenth, everybody, nobody; each step within two seconds."""

import asyncio
import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyquorum_devnet.layout import GATEWAY, TENANT, command
from keyquorum_devnet.rest import Gateway
from keyquorum_gateway.authentication import read_pepper
from keyquorum_gateway.flags.rollout import bucket
from keyquorum_gateway.state import api_keys
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.database import connect

WITHIN_S = 2.0
OTHERS = 30
LAMPORTS = 1_000_000
JUNK = {"raw": base64.b64encode(b"no transaction").decode(), "txid": "1" * 64}


@pytest.fixture
async def operator(stack, customer, chain):
    """``keyquorum chains …`` on the gateway's machine: the moment at which the command had ended, which is after it had
    written the file. Afterwards the chain's flag is what it was, for the tests that share the stack."""
    folder = stack.layout.node(GATEWAY)
    before, stage_before = stack.layout.flags.read_bytes(), (await flag(customer.gateway, chain))["stage"]

    async def run(*arguments):
        process = await asyncio.create_subprocess_exec(
            *(command("keyquorum"), "chains", *arguments, "--config", str(folder / "gateway.toml")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return time.monotonic()

    yield run
    fresh = stack.layout.flags.with_suffix(".new")
    fresh.write_bytes(before)
    fresh.replace(stack.layout.flags)
    await took_effect(customer.gateway, chain, time.monotonic(), stage=stage_before)


@pytest.fixture
def tenants(stack, customer):
    """Gateways seen by tenants of the operator's other customers, each with a key of its own."""
    folder = stack.layout.node(GATEWAY)
    pepper = read_pepper(folder / "pepper")
    connection = connect(folder / "gateway.db")
    made = {}
    with connection:
        for index in range(OTHERS):
            key, tenant = api_keys.new_api_key(), f"tenant-{index}"
            digest = api_keys.digest(pepper, key)
            api_keys.add(connection, tenant_id=tenant, name="", scopes=list(Scope), key_digest=digest)
            made[tenant] = Gateway(customer.session, customer.base_url, key)
    connection.close()
    return made


async def flag(gateway, chain):
    """What the gateway tells of the chain's flag."""
    return (await gateway.get(f"/v1/chains/{chain}"))["flags"]


async def took_effect(gateway, chain, since, **expected):
    """Wait until the flag is as expected, and require that it took less than two seconds."""
    while True:
        shown = await flag(gateway, chain)
        elapsed_s = time.monotonic() - since
        if all(shown[name] == value for name, value in expected.items()):
            assert elapsed_s < WITHIN_S, f"{expected} after {elapsed_s:.2f} s"
            return
        assert elapsed_s < WITHIN_S, f"{shown} after {elapsed_s:.2f} s, not {expected}"
        await asyncio.sleep(0.02)


async def is_refused(gateway, chain, reason):
    """Whether a tenant that begins something on the chain gets 403 chain-not-enabled; the reason must be the given one.

    Junk to broadcast is what any tenant can send. Where the chain is open, the chain itself refuses it.
    """
    answer = await gateway.call("POST", f"/v1/chains/{chain}/transactions", JUNK)
    assert answer.status >= 400, answer
    if answer.body["code"] != "chain-not-enabled":
        return False
    assert (answer.status, answer.body["reason"]) == (403, reason), answer
    return True


async def refused_tenants(tenants, chain, reason):
    """The tenants that the chain is closed for."""
    return {tenant for tenant, gateway in tenants.items() if await is_refused(gateway, chain, reason)}


@pytest.fixture
def authorize(stack, customer):
    """Sign, as the client, what an operation waits with; the gateway's answer."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(stack.layout.root_key.read_text(encoding="ascii")))

    async def sign(operation_id):
        waits = frozenset({"awaiting_initiator"})
        awaiting = (await customer.gateway.operation(operation_id, within_s=30, also=waits))["awaiting"]
        data = awaiting["tag"].encode() + b"\x00" + base64.b64decode(awaiting["intent"])
        body = {"public_key": customer.initiator.public.hex(), "signature": key.sign(data).hex()}
        return await customer.gateway.call("POST", f"/v1/operations/{operation_id}/authorization", body)

    return sign


async def test_a_chain_is_opened_for_one_tenant_then_a_tenth_then_all_then_killed(customer, chain, operator, tenants):
    """Real transfers where it is open, 403 where it is not."""
    gateway = customer.gateway
    source = await customer.funded_account(chain)
    target = (await customer.funded_account(chain))["address"]
    order = {"account_id": source["id"], "destination": target, "amount": str(LAMPORTS)}

    since = await operator("disable", chain)
    await took_effect(gateway, chain, since, stage="disabled", enabled=False)
    dark = await gateway.call("POST", "/v1/transactions", order)
    assert (dark.status, dark.body["code"], dark.body["reason"]) == (403, "chain-not-enabled", "disabled")
    assert await refused_tenants(tenants, chain, "disabled") == set(tenants)

    since = await operator("canary", chain, "--tenant", TENANT)
    await took_effect(gateway, chain, since, stage="canary", percent=0, enabled=True, reason="tenant")
    await customer.transfer(source, target, LAMPORTS)
    assert await refused_tenants(tenants, chain, "not-in-canary") == set(tenants)

    since = await operator("canary", chain, "--percent", "10", "--salt", salt_for(chain, tenants))
    await took_effect(gateway, chain, since, stage="canary", percent=10, enabled=True)
    await customer.transfer(source, target, LAMPORTS)
    outside = await refused_tenants(tenants, chain, "not-in-canary")
    assert outside == {tenant for tenant in tenants if bucket(chain, salt_for(chain, tenants), tenant) >= 10}
    assert 0 < len(tenants) - len(outside) < len(tenants) // 2

    since = await operator("enable", chain)
    await took_effect(gateway, chain, since, stage="enabled", enabled=True, reason="everyone")
    await customer.transfer(source, target, LAMPORTS)
    assert await refused_tenants(tenants, chain, "") == set()

    since = await operator("kill", chain)
    await took_effect(gateway, chain, since, stage="killed", enabled=False, reason="killed")
    killed = await gateway.call("POST", "/v1/transactions", order)
    assert (killed.status, killed.body["code"], killed.body["reason"]) == (403, "chain-not-enabled", "killed")
    assert await refused_tenants(tenants, chain, "killed") == set(tenants)

    since = await operator("revive", chain)
    await took_effect(gateway, chain, since, stage="enabled", enabled=True)
    await customer.transfer(source, target, LAMPORTS)


async def test_what_a_kill_meets_under_way_is_not_signed(customer, chain, operator, authorize):
    """Built before it, and authorized by its client during it: 403, and no coin moves."""
    gateway = customer.gateway
    initiation = {"type": "client", "public_key": customer.initiator.public.hex()}
    ordered = await gateway.order("/v1/wallets", {"user_id": "e2e", "chains": [chain], "initiation": initiation})
    assert (await authorize(ordered.operation_id)).status < 300
    await gateway.operation(ordered.operation_id, within_s=30)
    source = (await gateway.get(f"/v1/wallets/{ordered.made_id}"))["accounts"][0]
    await customer.fund(source["address"])
    target = (await customer.funded_account(chain))["address"]
    before = await customer.chain.balance(target)
    begun = await gateway.order(
        "/v1/transactions", {"account_id": source["id"], "destination": target, "amount": str(LAMPORTS)}
    )
    since = await operator("kill", chain)
    await took_effect(gateway, chain, since, stage="killed")
    answer = await authorize(begun.operation_id)
    assert (answer.status, answer.body["code"]) == (403, "chain-not-enabled"), answer
    assert (await gateway.get(f"/v1/transactions/{begun.made_id}"))["state"] == "failed"
    assert await customer.chain.balance(target) == before


def salt_for(chain, tenants):
    """The first salt with which a tenth of these few tenants is some of them, and not half."""
    for salt in map(str, range(1000)):
        inside = sum(bucket(chain, salt, tenant) < 10 for tenant in tenants)
        if 2 <= inside < len(tenants) // 2:
            return salt
    raise AssertionError("no salt draws two of the tenants")
