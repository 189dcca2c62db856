"""Message signatures: the chain's own format, raw bytes by policy, and the check before anything is released."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyquorum_gateway.problems import CATALOGUE
from support.gateway_cell import ASSET, RECIPIENT, eventually


async def test_a_message_is_signed_in_the_chains_own_format(cell, client):
    """What is signed is the codec's envelope around the text, and OpenSSL accepts it."""
    wallet = await client.wallet()
    account = wallet["accounts"][0]
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "grüezi"})
    assert reply.status == 201, reply.body
    made = reply.body
    signed = base64.b64decode(made["signed_bytes"])
    assert b"gr\\u00fcezi" in signed
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(made["public_key"])).verify(
        bytes.fromhex(made["signature"]), signed
    )
    (intent,) = cell.double.sign_intents
    assert [(e.kind.value, e.detail) for e in intent.command.effects] == [("message", "grüezi")]
    operation = (await client.get(f"/v1/operations/{made['operation_id']}")).body
    assert operation["signature"] == made


async def test_raw_bytes_are_signed_where_the_certified_policy_allows_it(cell, client):
    """A raw intent carries no chain, codec or effect: the parties decide by the policy alone."""
    account = (await client.wallet(policy={"allow_raw": True}))["accounts"][0]
    raw = base64.b64encode(b"anything at all").decode()
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "raw": raw})
    assert (reply.status, reply.body["signed_bytes"]) == (201, raw)
    (intent,) = cell.double.sign_intents
    assert intent.command.raw


async def test_raw_bytes_are_refused_by_an_ordinary_key(cell, client):
    """Said by the gateway from the certificate, before the parties are asked."""
    account = (await client.wallet())["accounts"][0]
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "raw": "AAAA"})
    assert (reply.status, reply.body["code"]) == (403, "raw-not-allowed")
    assert cell.double.sign_intents == []


@pytest.mark.parametrize(
    ("code", "retriable", "status"),
    [
        ("quorum-unavailable", True, 503),
        ("policy-denied", False, 403),
        ("intent-invalid", False, 422),
        ("scheme-unavailable", False, 422),
        ("key-not-found", False, 404),
        ("operation-conflict", False, 409),
        ("protocol-abort", False, 502),
        ("deadline-exceeded", False, 504),
        ("internal", False, 500),
        ("something-new", False, 502),
    ],
)
async def test_each_failure_of_the_signing_side_has_its_status(cell, client, code, retriable, status):
    """The code passes through; the operation keeps it with its stage; only 503 invites another try."""
    account = (await client.wallet())["accounts"][0]
    cell.double.behaviour.failure = (code, retriable)
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"})
    assert (reply.status, reply.body["code"]) == (status, code)
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert ("Retry-After" in reply.headers) is (status == 503)
    operation = (await client.get(f"/v1/operations/{reply.body['operation_id']}")).body
    assert (operation["state"], operation["error"]["code"]) == ("failed", code)
    assert operation["error"]["retriable"] is (code in CATALOGUE and CATALOGUE[code].retriable)


async def test_a_coordinator_that_is_not_there_is_a_503_within_seconds(cell, client, monkeypatch):
    """No event ever came: nothing happened, and the caller may try again."""
    monkeypatch.setattr("keyquorum_gateway.signer_client.UNREACHABLE_S", 0.3)
    account = (await client.wallet())["accounts"][0]
    await cell.stop_coordinator()
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"}, key="again")
    assert (reply.status, reply.body["code"]) == (503, "coordinator-unavailable")
    await cell.start_coordinator()

    async def answered():  # as its Retry-After says: the channel reconnects in its own time
        again = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"}, key="again")
        return again if again.status != 503 else None

    assert (await eventually(answered, 20)).status == 201
    assert len(cell.double.sign_intents) == 1


async def test_a_stream_that_breaks_is_followed_again(cell, client):
    """The same intent is sent again, and every event is told once."""
    account = (await client.wallet())["accounts"][0]
    cell.double.behaviour.break_after = 3
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"})
    assert reply.status == 201
    (run,) = (run for run in cell.double.runs.values() if run.sent > 1)
    assert run.sent == 2
    events = await client.request("GET", f"/v1/operations/{reply.body['operation_id']}/events")
    stages = [line[7:] for line in events.raw.decode().splitlines() if line.startswith("event: ")]
    assert stages.count("sign_round1") == stages.count("sign_round2") == stages.count("verify") == 1


async def test_a_document_is_signed_with_what_it_permits(cell, client):
    """The parties see its effects; one that would move something at once is refused before they see it."""
    account = (await client.wallet())["accounts"][0]
    permit = {"kind": "permit", "asset": ASSET, "amount": 7, "source": account["address"], "destination": RECIPIENT}
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "typed_data": json.dumps([permit])})
    assert reply.status == 201, reply.body
    (effect,) = cell.double.sign_intents[-1].command.effects
    assert (effect.kind.value, effect.amount, effect.destination) == ("permit", 7, RECIPIENT)
    moves = json.dumps([{**permit, "kind": "transfer"}])
    refused = await client.post("/v1/signatures", {"account_id": account["id"], "typed_data": moves})
    assert (refused.status, refused.body["code"]) == (502, "adapter-refused")
    both = await client.post("/v1/signatures", {"account_id": account["id"], "typed_data": moves, "message": "m"})
    assert both.status == 422
    assert len(cell.double.sign_intents) == 1
