"""Bad input: the right 4xx as problem+json with a code, before anything is reserved, signed or stored."""

import pytest

from support.gateway_cell import CHAIN, RECIPIENT


@pytest.fixture
async def body(cell, client):
    """A transfer that could be made."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}


def is_problem(reply, status, code):
    """A complete problem document, and the media type of one."""
    assert (reply.status, reply.body["code"]) == (status, code), reply.body
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert reply.body["status"] == status
    assert reply.body["type"] == f"urn:keyquorum:problem:{code}"
    assert len(reply.body["trace_id"]) == 32
    assert reply.headers["Traceparent"].split("-")[1] == reply.body["trace_id"]
    assert {"title", "detail", "instance", "retriable"} <= reply.body.keys()


TRANSFERS = {
    "amount zero": ({"amount": "0"}, 422, "invalid-amount"),
    "amount beyond 2^256": ({"amount": str(2**256)}, 422, "invalid-amount"),
    "amount negative": ({"amount": "-1"}, 422, "validation-failed"),
    "amount a number": ({"amount": 100}, 422, "validation-failed"),
    "amount with a point": ({"amount": "1.0"}, 422, "validation-failed"),
    "amount with an exponent": ({"amount": "1e3"}, 422, "validation-failed"),
    "amount with a leading zero": ({"amount": "0100"}, 422, "validation-failed"),
    "amount in words": ({"amount": "all"}, 422, "validation-failed"),
    "amount too long": ({"amount": "9" * 10_000}, 422, "validation-failed"),
    "amount over the balance": ({"amount": "996"}, 422, "insufficient-funds"),
    "bad address": ({"destination": "nowhere"}, 422, "invalid-address"),
    "empty address": ({"destination": ""}, 422, "validation-failed"),
    "address of another kind": ({"destination": ["x"]}, 422, "validation-failed"),
    "another chain's asset": ({"asset": "toy:main/slip44:2"}, 422, "unsupported-asset"),
    "no asset type": ({"asset": "gold"}, 422, "validation-failed"),
    "unknown field": ({"speed": "fast"}, 422, "validation-failed"),
    "unknown account": ({"account_id": "acc_" + "0" * 32}, 404, "not-found"),
    "submit a word": ({"submit": "yes"}, 422, "validation-failed"),
    "an option that is no name": ({"options": {"A B": "c"}}, 422, "validation-failed"),
    "null": ({"memo": None}, 422, "validation-failed"),
}


@pytest.mark.parametrize(("change", "status", "code"), TRANSFERS.values(), ids=TRANSFERS)
async def test_a_bad_transfer_costs_nothing(cell, client, body, change, status, code):
    """The field is named, nothing is asked of the parties, and the next good transfer has all the funds."""
    reply = await client.post("/v1/transactions", {**body, **change})
    is_problem(reply, status, code)
    if code == "validation-failed":
        (pointer,) = {error["pointer"] for error in reply.body["errors"]}
        assert pointer.split("/")[1] == next(iter(change))
    assert cell.double.sign_intents == []
    assert (await client.get("/v1/transactions")).body["items"] == []
    good = await client.post("/v1/transactions", {**body, "amount": "995"})
    assert good.status == 201, good.body


WALLETS = {
    "unknown chain": ({"chains": ["eip155:1"]}, 422, "unknown-chain"),
    "no chain id": ({"chains": ["ethereum"]}, 422, "validation-failed"),
    "nothing asked": ({"chains": []}, 422, "validation-failed"),
    "no user": ({"user_id": ""}, 422, "validation-failed"),
    "a user with spaces": ({"user_id": "a b"}, 422, "validation-failed"),
    "unknown scheme": ({"schemes": ["rsa"]}, 422, "validation-failed"),
    "unknown initiation": ({"initiation": {"type": "nobody"}}, 422, "validation-failed"),
    "a client without key": ({"initiation": {"type": "client"}}, 422, "validation-failed"),
    "a key that is none": ({"initiation": {"type": "client", "public_key": "00"}}, 422, "validation-failed"),
    "a limit upside down": (
        {
            "policy": {
                "limits": [
                    {"asset": "toy:main/slip44:1", "per_transaction": "2", "per_window": "1", "window_s": 1},
                ]
            }
        },
        422,
        "validation-failed",
    ),
    "unknown field": ({"owner": "me"}, 422, "validation-failed"),
}


@pytest.mark.parametrize(("change", "status", "code"), WALLETS.values(), ids=WALLETS)
async def test_a_bad_wallet_is_not_made(cell, client, change, status, code):
    """No key generation is started."""
    reply = await client.post("/v1/wallets", {"user_id": "alice", "chains": [CHAIN], **change})
    is_problem(reply, status, code)
    assert cell.double.runs == {}
    assert (await client.get("/v1/wallets")).body["items"] == []


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"{not json", "application/json", 400, "malformed-json"),
        (b"", "application/json", 400, "malformed-json"),
        (b"\xff\xfe", "application/json", 400, "malformed-json"),
        (b"[" * 100_00 + b"]" * 100_00, "application/json", 400, "malformed-json"),
        (b"[]", "application/json", 422, "validation-failed"),
        (b"null", "application/json", 422, "validation-failed"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b'{"memo": "' + b"x" * 70_000 + b'"}', "application/json", 413, "body-too-large"),
    ],
    ids=["broken", "empty", "not UTF-8", "deep", "a list", "null", "text", "a form", "oversized"],
)
async def test_a_body_has_to_be_a_json_object_of_a_bounded_size(client, data, content_type, status, code):
    """Whatever is sent, the answer is a problem, and never a 500."""
    headers = {"Content-Type": content_type, "Idempotency-Key": "k"}
    is_problem(await client.request("POST", "/v1/transactions", data=data, headers=headers), status, code)


async def test_an_oversized_body_without_a_length_is_cut_off(client):
    """A chunked body is counted as it comes."""

    async def chunks():
        for _ in range(100):
            yield b"x" * 1024

    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    reply = await client.request("POST", "/v1/transactions", data=chunks(), headers=headers)
    is_problem(reply, 413, "body-too-large")


async def test_paths_and_methods_that_do_not_exist_are_problems(client):
    """404 and 405, the latter with what is allowed."""
    is_problem(await client.get("/v2/wallets"), 404, "not-found")
    is_problem(await client.get("/"), 404, "not-found")
    reply = await client.request("DELETE", "/v1/wallets")
    is_problem(reply, 405, "method-not-allowed")
    assert set(reply.headers["Allow"].split(",")) == {"GET", "POST"}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "page_token=%21", "page_token=AAAA==", "colour=red"],
)
async def test_a_bad_query_is_refused(client, query):
    """Unknown, repeated and impossible parameters."""
    reply = await client.get(f"/v1/wallets?{query}")
    is_problem(reply, 422, "validation-failed")
    assert reply.body["errors"][0]["pointer"].startswith("?")


async def test_a_chain_in_the_path_that_is_not_there_is_not_found(client):
    """Unlike one in a body."""
    is_problem(await client.get("/v1/chains/eip155:1"), 404, "unknown-chain")
    is_problem(await client.get(f"/v1/chains/{CHAIN}/transactions/%2e%2e"), 404, "not-found")


async def test_bytes_that_are_no_base64_are_refused(client, body):
    """In every field that holds bytes."""
    is_problem(
        await client.post(f"/v1/chains/{CHAIN}/transactions", {"raw": "@@@@", "txid": "aa"}), 422, "validation-failed"
    )
    request = {"account_id": body["account_id"], "raw": "@@@@"}
    is_problem(await client.post("/v1/signatures", request), 422, "validation-failed")


async def test_a_signature_is_of_a_message_or_of_raw_bytes(client, body):
    """Not both, not neither."""
    for request in ({}, {"message": "a", "raw": "AAAA"}):
        reply = await client.post("/v1/signatures", {"account_id": body["account_id"], **request})
        is_problem(reply, 422, "validation-failed")


async def test_a_disabled_chain_and_one_for_others_is_forbidden(cell):
    """403 with the code, and not in the list."""
    config = cell.config_file.read_text()
    cell.config_file.write_text(config.replace('fee_ceiling = "100"', 'fee_ceiling = "100"\ntenants = ["other"]'))
    async with cell.running() as running, cell.client(running) as client:
        is_problem(await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN]}), 403, "chain-not-enabled")
        assert (await client.get("/v1/chains")).body["items"] == []
        async with cell.client(running, tenant="other") as other:
            assert (await other.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN]})).status == 201


async def test_an_unexpected_error_says_nothing_about_the_inside(client, gateway, monkeypatch):
    """500, a trace id, and no exception text."""

    def explode(*_):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(type(gateway.services.wallets), "page", explode)
    reply = await client.get("/v1/wallets")
    is_problem(reply, 500, "internal")
    assert "hunter2" not in reply.raw.decode()
