"""Whatever a client gets wrong is answered with the right 4xx and a code, and costs nobody anything."""

import uuid

import pytest

DESTINATION = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
COINS = 3_000_000_000


@pytest.fixture
async def account(customer, chain):
    """An account with coins."""
    return await customer.funded_account(chain, COINS)


def transfer(account, **changes):
    """The body of a good transfer, with fields replaced; None leaves a field out."""
    body = {"account_id": account["id"], "destination": DESTINATION, "amount": "1000000"} | changes
    return {name: value for name, value in body.items() if value is not None}


def assert_problem(answer, status: int, code: str) -> None:
    """RFC 9457, with our fields."""
    assert (answer.status, answer.body["code"]) == (status, code), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == status
    assert answer.body["type"]
    assert answer.body["title"]
    assert len(answer.body["trace_id"]) == 32


BAD_TRANSFERS = {
    "bad address": ({"destination": "not-an-address"}, 422, "invalid-address"),
    "address of another chain": ({"destination": "0x52908400098527886E0F7030069857D2E4169EE7"}, 422, "invalid-address"),
    "amount zero": ({"amount": "0"}, 422, "invalid-amount"),
    "amount negative": ({"amount": "-5"}, 422, "validation-failed"),
    "amount not a number": ({"amount": "a lot"}, 422, "validation-failed"),
    "amount a float": ({"amount": "1.5"}, 422, "validation-failed"),
    "amount a JSON number": ({"amount": 5}, 422, "validation-failed"),
    "amount beyond 2^256": ({"amount": str(2**256)}, 422, "invalid-amount"),
    "over the balance": ({"amount": str(COINS + 1)}, 422, "insufficient-funds"),
    "the balance without the fee": ({"amount": str(COINS)}, 422, "insufficient-funds"),
    "unknown field": ({"speed": "fast"}, 422, "validation-failed"),
    "missing field": ({"destination": None}, 422, "validation-failed"),
    "unknown account": ({"account_id": "acc_00000000000000000000000000000000"}, 404, "not-found"),
    "asset of another chain": ({"asset": "eip155:1/slip44:60"}, 422, "unsupported-asset"),
}


@pytest.mark.parametrize(("changes", "status", "code"), BAD_TRANSFERS.values(), ids=BAD_TRANSFERS)
async def test_a_bad_transfer_is_refused_and_costs_nothing(customer, account, changes, status, code):
    """The answer names the problem; the balance is untouched and the next good transfer succeeds."""
    answer = await customer.gateway.call("POST", "/v1/transactions", transfer(account, **changes))
    assert_problem(answer, status, code)
    assert await customer.chain.balance(account["address"]) == COINS


async def test_after_every_refusal_all_coins_can_still_be_moved(customer, account):
    """Nothing was reserved or lost by requests that came to nothing."""
    for changes, _, _ in BAD_TRANSFERS.values():
        await customer.gateway.call("POST", "/v1/transactions", transfer(account, **changes))
    await customer.transfer(account, DESTINATION, COINS - 1_000_000 - 1_000_000)


async def test_a_wallet_on_an_unknown_chain_is_refused(customer):
    """A chain that nobody serves is not a wallet without accounts."""
    answer = await customer.gateway.call("POST", "/v1/wallets", {"user_id": "u", "chains": ["eip155:424242"]})
    assert_problem(answer, 422, "unknown-chain")


async def test_an_oversized_body_is_refused(customer, account):
    """More than the configured limit is not read."""
    answer = await customer.gateway.call("POST", "/v1/transactions", transfer(account, memo="x" * 200_000))
    assert_problem(answer, 413, "body-too-large")


async def test_a_body_that_is_not_json_is_refused(customer):
    """Neither another format nor a broken one is guessed at."""
    headers = customer.headers | {"Idempotency-Key": str(uuid.uuid4())}
    for content_type, data, status, code in (
        ("application/json", b"{not json", 400, "malformed-json"),
        ("text/plain", b"{}", 415, "unsupported-media-type"),
    ):
        async with customer.session.post(
            f"{customer.base_url}/v1/wallets", data=data, headers=headers | {"Content-Type": content_type}
        ) as response:
            body = await response.json(content_type=None)
            assert (response.status, body["code"]) == (status, code)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "authentication-required"),
        ("Bearer kq_" + "A" * 43, "invalid-api-key"),
        ("Bearer nonsense", "invalid-api-key"),
        ("Basic dXNlcjpwYXNz", "authentication-required"),
    ],
    ids=["no key", "wrong key", "not a key", "another scheme"],
)
async def test_without_a_good_key_nothing_is_answered(customer, account, authorization, code):
    """401, whatever the rest of the request is."""
    for method, path, body in (
        ("POST", "/v1/transactions", transfer(account)),
        ("GET", f"/v1/wallets/{account['wallet_id']}", None),
    ):
        answer = await customer.gateway.call(method, path, body, headers={"Authorization": authorization})
        assert_problem(answer, 401, code)
        assert "WWW-Authenticate" in answer.headers


async def test_an_idempotency_key_is_needed_and_means_one_thing(customer, account):
    """Missing: 400. The same again: the stored answer. With another body: 422. Coins move once."""
    async with customer.session.post(
        f"{customer.base_url}/v1/transactions", json=transfer(account), headers=customer.headers
    ) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (400, "idempotency-key-missing")
    key = {"Idempotency-Key": str(uuid.uuid4())}
    before = await customer.chain.balance(DESTINATION)
    first = await customer.gateway.call("POST", "/v1/transactions", transfer(account), headers=key)
    again = await customer.gateway.call("POST", "/v1/transactions", transfer(account), headers=key)
    assert first.status in {201, 202}
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    reused = await customer.gateway.call("POST", "/v1/transactions", transfer(account, amount="2"), headers=key)
    assert_problem(reused, 422, "idempotency-key-reused")
    await customer.chain.until_balance(DESTINATION, before + 1_000_000, within_s=10)
    assert await customer.chain.balance(DESTINATION) == before + 1_000_000
