"""Wallets and accounts: certified keys, attested addresses, and who may see them."""

import base64

from keyquorum_core_signer.intents.attestation import verify_attestation
from keyquorum_core_signer.intents.certificate import verify_certificate
from keyquorum_protos.wallet.v1 import certificate_pb2
from support.gateway_cell import ASSET, CHAIN, RECIPIENT


def signatures(entry):
    """Node signatures as the parties' own verifier wants them."""
    return [
        certificate_pb2.NodeSignature(node_id=s["node_id"], signature=bytes.fromhex(s["signature"]))
        for s in entry["signatures"]
    ]


async def test_a_wallet_has_a_certified_key_and_an_attested_account(cell, client):
    """One call gives an address that can be funded, with the configured limits in the certified policy."""
    wallet = await client.wallet(name="main")
    assert wallet["state"] == "active"
    (key,) = wallet["keys"]
    assert key["policy"]["limits"] == [
        {"asset": ASSET, "per_transaction": "1000000", "per_window": "10000000", "window_s": 86400}
    ]
    assert key["threshold"] == 2
    assert key["parties"] == ["party-1", "party-2", "party-3"]
    (account,) = wallet["accounts"]
    assert account["chain"] == CHAIN
    assert (await client.get(f"/v1/wallets/{wallet['id']}")).body == wallet


async def test_the_wallet_says_who_initiates_and_what_that_protects(client, gateway):
    """A gateway-initiated wallet names the gateway's key and the bound that limits put on it."""
    initiation = (await client.wallet())["initiation"]
    assert initiation["type"] == "gateway"
    assert initiation["public_key"] == gateway.services.key.public.hex()
    assert "limits" in initiation["protects"]


async def test_the_certificate_verifies_with_the_parties_own_verifier(cell, client):
    """The bytes that are served are the bytes that were signed: the core signer's code accepts them."""
    wallet = await client.wallet()
    bundle = (await client.get(f"/v1/wallets/{wallet['id']}/certificate")).body
    (entry,), (address,) = bundle["keys"], bundle["addresses"]
    signed = certificate_pb2.SignedKeyCertificate(
        certificate=base64.b64decode(entry["certificate"]), signatures=signatures(entry)
    )
    certificate = verify_certificate(signed, cell.roster)
    assert certificate.public_key.hex() == wallet["keys"][0]["public_key"]
    attestation = certificate_pb2.SignedAddressAttestation(
        attestation=base64.b64decode(address["attestation"]), signatures=signatures(address)
    )
    assert verify_attestation(attestation, certificate, cell.roster).address == wallet["accounts"][0]["address"]
    assert bundle["roster_hash"] == cell.roster.roster_hash.hex()


async def test_limits_and_raw_signing_are_what_the_caller_asked_for(client):
    """A policy in the request replaces the configured one as a whole."""
    limit = {"asset": ASSET, "per_transaction": "7", "per_window": "9", "window_s": 60}
    wallet = await client.wallet(policy={"limits": [limit], "allow_raw": True})
    policy = wallet["keys"][0]["policy"]
    assert policy["limits"] == [limit]
    assert policy["allow_raw"] is True


async def test_a_wallet_of_schemes_alone_can_move_nothing(client):
    """Without a chain there are no default limits: what has no limit cannot be moved."""
    reply = await client.post("/v1/wallets", {"user_id": "bob", "schemes": ["eddsa_ed25519"]})
    assert reply.status == 201
    assert reply.body["keys"][0]["policy"]["limits"] == []
    assert reply.body["accounts"] == []


async def test_an_alias_is_accepted_and_the_caip2_id_is_answered(client):
    """Aliases are for input."""
    wallet = await client.wallet(chains=["toy:alias", CHAIN])
    assert wallet["chains"] == [CHAIN]


async def test_wallets_are_listed_newest_first_page_by_page(client):
    """A cursor walks over all wallets once, and only over the user's where one is named."""
    made = [(await client.wallet(user_id=user))["id"] for user in ("alice", "bob", "alice")]
    first = (await client.get("/v1/wallets?limit=2")).body
    assert [w["id"] for w in first["items"]] == [made[2], made[1]]
    second = (await client.get(f"/v1/wallets?limit=2&page_token={first['next_page_token']}")).body
    assert [w["id"] for w in second["items"]] == [made[0]]
    assert second["next_page_token"] is None
    alice = (await client.get("/v1/wallets?user_id=alice")).body
    assert [w["id"] for w in alice["items"]] == [made[2], made[0]]


async def test_accounts_after_the_first_are_children_of_the_key(cell, client):
    """Index i is the child at path [i], attested; without an index the next free one is made."""
    wallet = await client.wallet()
    made = (await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})).body
    assert (made["index"], made["path"]) == (1, [1])
    assert made["public_key"] != wallet["keys"][0]["public_key"]
    assert made["attested_by"] == ["party-1", "party-2", "party-3"]
    assert made["caip10"] == f"{CHAIN}:{made['address']}"
    far = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN, "index": 40})
    assert (far.status, far.body["path"]) == (201, [40])
    again = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN, "index": 40})
    assert (again.status, again.body) == (200, far.body)
    listed = (await client.get(f"/v1/wallets/{wallet['id']}/accounts")).body["items"]
    assert [account["index"] for account in listed] == [40, 1, 0]
    assert (await client.get(f"/v1/accounts/{far.body['id']}")).body == far.body


async def test_a_child_account_can_pay(cell, client):
    """The path of the account reaches the parties with the message."""
    wallet = await client.wallet()
    account = (await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN, "index": 3})).body
    cell.ledger.balances[account["address"]] = 100
    body = {"account_id": account["id"], "destination": wallet["accounts"][0]["address"], "amount": "60"}
    reply = await client.post("/v1/transactions", body)
    assert reply.status == 201, reply.body
    (intent,) = cell.double.sign_intents
    assert intent.command.messages[0].path == (3,)


async def test_balances_are_the_chains(cell, client):
    """Minor units as decimal strings."""
    account = (await client.wallet())["accounts"][0]
    cell.ledger.balances[account["address"]] = 12345
    reply = await client.get(f"/v1/accounts/{account['id']}/balances")
    assert reply.body["balances"] == [{"asset": ASSET, "amount": "12345", "decimals": 2, "symbol": "TOY"}]
    cell.ledger.down = True
    reply = await client.get(f"/v1/accounts/{account['id']}/balances")
    assert (reply.status, reply.body["code"]) == (503, "chain-unavailable")
    assert "Retry-After" in reply.headers


async def test_a_tenant_sees_nothing_of_another(cell, gateway, client):
    """Every resource of one tenant is 404 to the other, in reads and in writes."""
    wallet = await client.wallet()
    account = wallet["accounts"][0]
    cell.ledger.balances[account["address"]] = 1000
    transaction = (
        await client.post(
            "/v1/transactions", {"account_id": account["id"], "destination": account["address"], "amount": "1"}
        )
    ).body
    async with cell.client(gateway, tenant="other") as other:
        for path in (
            f"/v1/wallets/{wallet['id']}",
            f"/v1/wallets/{wallet['id']}/certificate",
            f"/v1/wallets/{wallet['id']}/accounts",
            f"/v1/accounts/{account['id']}",
            f"/v1/accounts/{account['id']}/balances",
            f"/v1/transactions/{transaction['id']}",
            f"/v1/operations/{wallet['operation_id']}",
            f"/v1/operations/{wallet['operation_id']}/events",
        ):
            reply = await other.get(path)
            assert (reply.status, reply.body["code"]) == (404, "not-found"), path
        for path in ("/v1/wallets", "/v1/accounts", "/v1/transactions", "/v1/operations"):
            assert (await other.get(path)).body["items"] == []
        body = {"account_id": account["id"], "destination": account["address"], "amount": "1"}
        assert (await other.post("/v1/transactions", body)).status == 404
        assert (await other.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})).status == 404


async def test_a_tenant_that_the_roster_does_not_know_gets_no_wallet(cell, gateway):
    """The parties would refuse: the gateway says so before anything is asked of them."""
    async with cell.client(gateway, tenant="stranger") as stranger:
        reply = await stranger.post("/v1/wallets", {"user_id": "eve", "chains": [CHAIN]})
    assert (reply.status, reply.body["code"]) == (403, "tenant-not-enrolled")
    assert cell.double.runs == {}


async def test_a_key_that_the_parties_refuse_leaves_a_failed_wallet(cell, client):
    """The reason is the operation's, with its stage."""
    cell.double.behaviour.failure = ("policy-denied", False)
    reply = await client.post("/v1/wallets", {"user_id": "alice", "chains": [CHAIN]})
    assert (reply.status, reply.body["code"]) == (403, "policy-denied")
    operation = (await client.get(f"/v1/operations/{reply.body['operation_id']}")).body
    assert (operation["state"], operation["error"]["code"]) == ("failed", "policy-denied")
    assert (await client.get(f"/v1/wallets/{operation['wallet_id']}")).body["state"] == "failed"
    account = await client.post(f"/v1/wallets/{operation['wallet_id']}/accounts", {"chain": CHAIN})
    assert (account.status, account.body["code"]) == (409, "wallet-not-active")


async def test_a_key_whose_payloads_name_no_chain_is_for_one_chain(cell, monkeypatch):
    """A payload for the test chain would be valid on the main chain: neither chains, limits nor accounts mix the two."""
    monkeypatch.setattr("toychain.codec.ToyCodec.payload_names_chain", False)
    text = cell.config_file.read_text()
    table = text[text.index('[chains."toy:main"]') :]
    cell.config_file.write_text(text + "\n" + table.replace(CHAIN, "toy:test"))
    async with cell.running() as running, cell.client(running) as client:
        both = await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN, "toy:test"]})
        assert (both.status, both.body["code"]) == (422, "one-chain-per-key")
        limit = {"asset": "toy:test/slip44:1", "per_transaction": "1", "per_window": "1", "window_s": 1}
        mixed = await client.post("/v1/wallets", {"user_id": "a", "chains": [CHAIN], "policy": {"limits": [limit]}})
        assert (mixed.status, mixed.body["code"]) == (422, "one-chain-per-key")
        wallet = await client.wallet()
        account = await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": "toy:test"})
        assert (account.status, account.body["code"]) == (422, "one-chain-per-key")
        limited = await client.wallet(chains=[], schemes=["eddsa_ed25519"], policy={"limits": [limit]})
        account = await client.post(f"/v1/wallets/{limited['id']}/accounts", {"chain": CHAIN})
        assert (account.status, account.body["code"]) == (422, "one-chain-per-key")
        assert (await client.post(f"/v1/wallets/{limited['id']}/accounts", {"chain": "toy:test"})).status == 201


async def test_assets_are_written_in_the_spelling_of_effects(cell, client):
    """In a policy, where another spelling would never match, and in a transfer, where it would look like another asset."""
    limit = {"asset": f"{CHAIN}/erc20:0xAB", "per_transaction": "1", "per_window": "1", "window_s": 60}
    wallet = await client.wallet(policy={"limits": [limit]})
    assert wallet["keys"][0]["policy"]["limits"][0]["asset"] == f"{CHAIN}/erc20:0xab"
    body = {"account_id": wallet["accounts"][0]["id"], "destination": RECIPIENT, "amount": "1"}
    reply = await client.post("/v1/transactions", {**body, "asset": f"{CHAIN}/erc20:0xAB"}, Prefer="wait=0")
    stored = await client.get(f"/v1/operations/{reply.body.get('operation_id') or reply.body['id']}")
    transaction = await client.get(f"/v1/transactions/{stored.body['transaction_id']}")
    assert transaction.body["asset"] == f"{CHAIN}/erc20:0xab"
