"""A coordinator that lies: substituted keys, addresses, committees, policies and signatures are refused."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from toychain.codec import address_of

from keyquorum_core_signer.coordinator.failures import Failure
from keyquorum_core_signer.wire.certificates import transport_credentials
from keyquorum_core_signer.wire.identity import IdentityKey
from support.coordinator_double import new_key, other_policy, public_bytes
from support.gateway_cell import CHAIN, RECIPIENT


def forged(node_id):
    """Signatures of somebody else under every node's name."""
    return STRANGERS.setdefault(node_id, IdentityKey.generate())


STRANGERS: dict[str, IdentityKey] = {}


async def order(client):
    """Ask for a wallet."""
    return await client.post("/v1/wallets", {"user_id": "alice", "chains": [CHAIN]})


FALSE_CERTIFICATES = {
    "another wallet": lambda c: replace(c, wallet_id="wal_" + "0" * 32),
    "another user": lambda c: replace(c, user_id="mallory"),
    "another tenant": lambda c: replace(c, tenant_id="other"),
    "another cell": lambda c: replace(c, cell_id="cell-elsewhere"),
    "another key": lambda c: replace(c, key_id="key_" + "0" * 32),
    "a lower threshold": lambda c: replace(c, threshold=3),
    "a smaller committee": lambda c: replace(
        c, node_ids=c.node_ids[:2], indices=c.indices[:2], public_shares=c.public_shares[:2]
    ),
    "another roster": lambda c: replace(c, roster_hash=bytes(32)),
    "another intent": lambda c: replace(c, intent_hash=bytes(32)),
    "another policy": other_policy,
    "raw signing allowed": lambda c: replace(c, policy=replace(c.policy, allow_raw=True)),
    "no limits": lambda c: replace(c, policy=replace(c.policy, limits=())),
    "a later epoch": lambda c: replace(c, epoch=2),
    "an imported key": lambda c: replace(c, imported=True),
    "another scheme": lambda c: replace(
        c, scheme="ecdsa_secp256k1", public_key=bytes([2]) + bytes(32), public_shares=(bytes([2]) + bytes(32),) * 3
    ),
}


@pytest.mark.parametrize("falsify", FALSE_CERTIFICATES.values(), ids=FALSE_CERTIFICATES)
async def test_a_certificate_that_says_something_else_is_refused(cell, client, falsify):
    """Even one that all parties signed: it must be the key that was ordered."""
    cell.double.behaviour.certificate = falsify
    reply = await order(client)
    assert (reply.status, reply.body["code"]) == (502, "certificate-refused")
    wallets = (await client.get("/v1/wallets")).body["items"]
    assert [(w["state"], w["keys"], w["accounts"]) for w in wallets] == [("failed", [], [])]


async def test_a_public_key_of_the_coordinators_own_is_refused(cell, client):
    """It can put its own key into the bytes, but not the parties' signatures under them."""
    cell.double.behaviour.certificate = lambda c: replace(c, public_key=public_bytes(new_key()))
    cell.double.behaviour.certificate_signers = forged
    reply = await order(client)
    assert (reply.status, reply.body["code"]) == (502, "certificate-refused")


async def test_one_missing_signature_is_one_too_few(cell, client):
    """A certificate needs all its nodes."""
    signers = cell.identities
    cell.double.behaviour.certificate_signers = lambda node_id: None if node_id == "party-2" else signers[node_id]
    reply = await order(client)
    assert (reply.status, reply.body["code"]) == (502, "certificate-refused")


async def test_one_forged_signature_spoils_all(cell, client):
    """Two true ones do not make up for it."""
    signers = cell.identities
    cell.double.behaviour.certificate_signers = lambda node_id: (
        forged(node_id) if node_id == "party-3" else signers[node_id]
    )
    reply = await order(client)
    assert (reply.status, reply.body["code"]) == (502, "certificate-refused")
    assert "party-3" in reply.body["detail"]


THIEF_KEY = public_bytes(new_key())
FALSE_ATTESTATIONS = {
    "an address of somebody else": lambda a: replace(a, address=address_of(THIEF_KEY)),
    "a key of somebody else": lambda a: replace(a, address=address_of(THIEF_KEY), public_key=THIEF_KEY),
    "another chain": lambda a: replace(a, chain="toy:other"),
    "another path": lambda a: replace(a, path=(9,)),
    "another wallet": lambda a: replace(a, wallet_id="wal_" + "0" * 32),
    "another key's certificate": lambda a: replace(a, certificate_hash=bytes(32)),
    "another codec": lambda a: replace(a, codec=replace(a.codec, name="bitcoin")),
}


@pytest.mark.parametrize("falsify", FALSE_ATTESTATIONS.values(), ids=FALSE_ATTESTATIONS)
async def test_a_false_deposit_address_is_refused(cell, client, falsify):
    """Even one that t parties signed: the codec derives the address again, from the certified key."""
    wallet = await client.wallet(chains=[], schemes=["eddsa_ed25519"])
    cell.double.behaviour.attestation = falsify
    reply = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})
    assert (reply.status, reply.body["code"]) == (502, "attestation-refused")
    assert (await client.get(f"/v1/wallets/{wallet['id']}")).body["accounts"] == []


async def test_a_child_address_needs_the_parties_signatures(cell, client):
    """Below the certified key the public key is the attested one: without t true signatures there is none."""
    wallet = await client.wallet()
    path = f"/v1/wallets/{wallet['id']}/accounts"
    cell.double.behaviour.attestation_signers = forged
    reply = await client.post(path, {"chain": CHAIN})
    assert (reply.status, reply.body["code"]) == (502, "attestation-refused")
    signers = cell.identities
    cell.double.behaviour.attestation_signers = lambda n: signers[n] if n == "party-1" else None
    reply = await client.post(path, {"chain": CHAIN})
    assert (reply.status, reply.body["code"]) == (502, "attestation-refused")
    cell.double.behaviour.attestation_signers = lambda n: signers[n] if n != "party-1" else None
    reply = await client.post(path, {"chain": CHAIN})
    assert (reply.status, reply.body["attested_by"]) == (201, ["party-2", "party-3"])


async def test_a_wallet_keeps_its_keys_when_its_first_address_is_refused(cell, client):
    """The keys are certified and stay; the account can be opened when the coordinator is honest again."""
    cell.double.behaviour.attestation_signers = forged
    reply = await order(client)
    assert (reply.status, reply.body["code"]) == (502, "attestation-refused")
    cell.double.behaviour.attestation_signers = None
    (wallet,) = (await client.get("/v1/wallets")).body["items"]
    assert wallet["state"] == "active"
    reply = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})
    assert (reply.status, reply.body["index"]) == (201, 0)


async def test_a_signature_that_does_not_verify_is_not_released(cell, client):
    """Neither over a message nor in a transaction."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    cell.double.behaviour.signature = lambda signature: bytes([signature[0] ^ 1]) + signature[1:]
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"})
    assert (reply.status, reply.body["code"]) == (502, "protocol-abort")
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
    reply = await client.post("/v1/transactions", body)
    assert (reply.status, reply.body["code"]) == (502, "protocol-abort")
    assert cell.ledger.submitted == []


async def test_another_roster_is_noticed(cell, client):
    """The gateway is not ready behind a coordinator that serves other roots, and says so."""
    cell.double.roster = replace(cell.roster, cell_id="cell-elsewhere")
    reply = await client.get("/v1/parties")
    assert (reply.status, reply.body["roster_matches"]) == (200, False)
    reply = await client.get("/readyz")
    assert (reply.status, reply.body["checks"]["coordinator"]) == (503, "another roster")


async def test_an_unpinned_coordinator_is_not_spoken_to(cell, client, monkeypatch):
    """mTLS: another certificate under the same name gets no request."""
    monkeypatch.setattr("keyquorum_gateway.signer_client.UNREACHABLE_S", 0.3)
    account = (await client.wallet())["accounts"][0]
    await cell.stop_coordinator()
    cell.coordinator = transport_credentials(["coordinator-1"], datetime.now(UTC))
    await cell.start_coordinator()
    reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "hello"})
    assert (reply.status, reply.body["code"]) == (503, "coordinator-unavailable")
    assert cell.double.sign_intents == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("key-not-found", 404),
        ("intent-invalid", 422),
        ("scheme-unavailable", 422),
        ("quorum-unavailable", 503),
        ("busy", 503),
        ("attestation-refused", 502),
        ("policy-denied", 403),
        ("internal", 500),
    ],
)
async def test_a_refused_call_keeps_the_coordinators_code(cell, client, code, status):
    """As its own code packs it into the status: scheme-unavailable is not intent-invalid, though gRPC calls both one."""
    wallet = await client.wallet()
    cell.double.behaviour.abort = Failure(code, f"{code} by the test")
    reply = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})
    assert (reply.status, reply.body["code"]) == (status, code)
    body = {"account_id": wallet["accounts"][0]["id"], "message": "x"}
    reply = await client.post("/v1/signatures", body)
    assert (reply.status, reply.body["code"]) == (status, code)


def _changed(**fields):
    def mangle(event):
        copy = type(event)()
        copy.CopyFrom(event)
        for name, value in fields.items():
            setattr(copy, name, value)
        return [copy]

    return mangle


NONSENSE = {
    "events of another operation": _changed(operation_id="op_" + "0" * 32),
    "events without a number": _changed(sequence=0),
    "events without a state": _changed(state=0),
    "no result": lambda event: [] if event.signatures else [event],
    "events without end": lambda event: [
        type(event)(operation_id=event.operation_id, sequence=n, state=2) for n in range(1, 3000)
    ],
    "two signatures for one": lambda event: (
        [type(event)(**{**_fields(event), "signatures": [*event.signatures] * 2})] if event.signatures else [event]
    ),
}


def _fields(event):
    return {"operation_id": event.operation_id, "sequence": event.sequence, "state": event.state}


@pytest.mark.parametrize("mangle", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_in_the_stream_ends_the_operation(cell, mangle):
    """Within its deadline, as protocol-abort or deadline-exceeded: never as a result, and never as a hang."""
    async with cell.running(COORDINATOR__SIGN_S="1") as running, cell.client(running) as client:
        account = (await client.wallet())["accounts"][0]
        cell.double.behaviour.mangle = mangle
        async with asyncio.timeout(5):
            reply = await client.post("/v1/signatures", {"account_id": account["id"], "message": "x"})
    assert (reply.status, reply.body["code"]) in ((502, "protocol-abort"), (504, "deadline-exceeded"))
