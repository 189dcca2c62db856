"""Rate limits: per key, per tenant, per class of route, with the draft's headers."""

import asyncio
import re

from keyquorum_gateway.state.api_keys import Scope
from support.gateway_cell import CHAIN

POLICY = re.compile(r'"([a-z-]+)";q=(\d+);w=(\d+)')
LIMIT = re.compile(r'"([a-z-]+)";r=(\d+);t=(\d+)')


async def test_every_answer_tells_policy_and_rest(cell):
    """Draft 10: the policies of the class, and what is left of the key's."""
    async with (
        cell.running(RATE_LIMITS__READ="{per_key = 3, per_tenant = 100, window_s = 3600}") as running,
        cell.client(running) as client,
    ):
        replies = [await client.get("/v1/wallets") for _ in range(3)]
        assert POLICY.findall(replies[0].headers["RateLimit-Policy"]) == [
            ("read-key", "3", "3600"),
            ("read-tenant", "100", "3600"),
        ]
        limits = [LIMIT.fullmatch(reply.headers["RateLimit"]).groups() for reply in replies]
        assert [(name, left) for name, left, _ in limits] == [("read-key", "2"), ("read-key", "1"), ("read-key", "0")]
        assert all(0 < int(seconds) <= 3600 for _, _, seconds in limits)


async def test_a_key_that_has_used_up_its_budget_is_told_when_to_come_back(cell):
    """429 as a problem, with Retry-After; other classes and other keys go on."""
    async with (
        cell.running(RATE_LIMITS__READ="{per_key = 2, per_tenant = 100, window_s = 3600}") as running,
        cell.client(running) as client,
        cell.client(running, scopes=(Scope.READ,)) as neighbour,
    ):
        for _ in range(2):
            assert (await client.get("/v1/wallets")).status == 200
        refused = await client.get("/v1/wallets")
        assert (refused.status, refused.body["code"]) == (429, "rate-limited")
        assert refused.headers["Content-Type"].startswith("application/problem+json")
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert LIMIT.fullmatch(refused.headers["RateLimit"])[2] == "0"
        assert refused.body["retriable"] is True
        assert (await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN]})).status == 201
        assert (await neighbour.get("/v1/wallets")).status == 200


async def test_a_tenants_keys_share_its_budget(cell):
    """Many keys are no way around it, and another tenant is not touched."""
    async with (
        cell.running(RATE_LIMITS__READ="{per_key = 100, per_tenant = 3, window_s = 3600}") as running,
        cell.client(running) as first,
        cell.client(running) as second,
        cell.client(running, tenant="other") as other,
    ):
        for client in (first, second, first):
            assert (await client.get("/v1/wallets")).status == 200
        refused = await second.get("/v1/wallets")
        assert (refused.status, "read-tenant" in refused.body["detail"]) == (429, True)
        assert (await other.get("/v1/wallets")).status == 200


async def test_a_refused_request_does_nothing_and_keeps_nothing(cell):
    """The budget is taken before the idempotency key is."""
    async with (
        cell.running(RATE_LIMITS__CREATE="{per_key = 1, per_tenant = 100, window_s = 1}") as running,
        cell.client(running) as client,
    ):
        await client.wallet()
        body = {"user_id": "b", "chains": [CHAIN]}
        assert (await client.post("/v1/wallets", body, key="k")).status == 429
        assert len(cell.double.runs) == 1
        await asyncio.sleep(1.2)
        again = await client.post("/v1/wallets", body, key="k")
        assert (again.status, "Idempotent-Replayed" in again.headers) == (201, False)
