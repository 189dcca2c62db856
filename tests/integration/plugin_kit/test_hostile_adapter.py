"""A stranger's adapter that returns something else than was asked for, through a gateway that serves: no signature, no broadcast.

The plugin's codec is honest and loaded beside the adapter, which is how an adapter that was taken over looks.
"""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from keyquorum_plugin_api.codec import SignedTransaction
from support.fake_distributions import TOY_SITE
from support.gateway_cell import ASSET, RECIPIENT, make_gateway_cell

THIEF = "toy1" + "ee" * 20
OTHER_CHAIN = "toy:other"


@pytest.fixture
async def cell(tmp_path):
    """A gateway's files, and the coordinator double that notes every intent that reaches it."""
    made = make_gateway_cell(tmp_path, TOY_SITE)
    await made.start_coordinator()
    yield made
    await made.stop_coordinator()


@asynccontextmanager
async def customer(cell):
    """A client, and an account that can pay."""
    async with cell.running() as gateway, cell.client(gateway) as client:
        account = (await client.wallet())["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        yield client, (await client.get(f"/v1/accounts/{account['id']}")).body


async def pay(client, account):
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100", "memo": "rent"}
    return await client.post("/v1/transactions", body)


def altered(unsigned, **changes):
    """The payload with another field, as the codec itself would explain it, were it asked for."""
    document = json.loads(unsigned.payload)
    transfer, fee = document["effects"]
    transfer |= {key: value for key, value in changes.items() if key in transfer}
    fee |= {"amount": changes["fee"]} if "fee" in changes else {}
    document["effects"] = [transfer, fee, *changes.get("more", [])]
    document["chain"] = changes.get("chain", document["chain"])
    payload = json.dumps(document, sort_keys=True).encode()
    request = replace(unsigned.requests[0], message=payload)
    return replace(unsigned, payload=payload, requests=(request,))


def change_to(address, source):
    return {"kind": "change", "asset": ASSET, "amount": 1, "source": source, "destination": address, "detail": ""}


def asked(unsigned, **changes):
    """The honest payload with another request."""
    return replace(unsigned, requests=(replace(unsigned.requests[0], **changes),))


BUILDS = {
    "another recipient": lambda u: altered(u, destination=THIEF),
    "another amount": lambda u: altered(u, amount=999),
    "less than asked for": lambda u: altered(u, amount=99),
    "another asset": lambda u: altered(u, asset="toy:main/slip44:2"),
    "another source": lambda u: altered(u, source=THIEF),
    "another memo": lambda u: altered(u, detail="rent for the thief"),
    "change to a thief": lambda u: altered(u, more=[change_to(THIEF, u.requests[0].signer)]),
    "change from a thief": lambda u: altered(u, more=[change_to(u.requests[0].signer, THIEF)]),
    "a second transfer": lambda u: altered(
        u,
        more=[{"kind": "transfer", "asset": ASSET, "amount": 1, "source": u.requests[0].signer, "destination": THIEF}],
    ),
    "an approval beside it": lambda u: altered(
        u, more=[{"kind": "approve", "asset": ASSET, "amount": 1, "source": u.requests[0].signer, "destination": THIEF}]
    ),
    "another chain's payload": lambda u: altered(u, chain=OTHER_CHAIN),
    "another chain": lambda u: replace(u, chain=OTHER_CHAIN),
    "another chain, consistently": lambda u: replace(altered(u, chain=OTHER_CHAIN), chain=OTHER_CHAIN),
    "bytes behind the payload": lambda u: replace(u, payload=u.payload + b"{}"),
    "no payload": lambda u: replace(u, payload=b""),
    "another message to sign": lambda u: asked(u, message=b"a transaction of the thief's"),
    "another scheme": lambda u: asked(u, scheme="ecdsa_secp256k1"),
    "another signer": lambda u: asked(u, signer=THIEF),
    "another path": lambda u: asked(u, path=(*u.requests[0].path, 7)),
    "no signature at all": lambda u: replace(u, requests=()),
    "a signature more": lambda u: replace(u, requests=(*u.requests, replace(u.requests[0], message=b"more"))),
    "the same signature twice": lambda u: replace(u, requests=u.requests * 2),
}


@pytest.mark.parametrize("case", BUILDS)
async def test_nothing_else_is_signed_than_was_asked_for(cell, case):
    """The client is told that the adapter is at fault; no intent reaches the coordinator, nothing is broadcast."""
    cell.ledger.on_build = lambda adapter, intent, honest: BUILDS[case](honest)
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
        assert (reply.status, reply.body["code"]) == (502, "adapter-refused"), reply.body
        assert (cell.double.sign_intents, cell.ledger.submitted) == ([], [])
        cell.ledger.on_build = None
        assert (await pay(client, account)).status == 201


async def test_a_fee_above_the_operators_ceiling_is_not_signed(cell):
    """Whatever the adapter says that the network wants."""
    cell.ledger.on_build = lambda adapter, intent, honest: altered(honest, fee=101)
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (422, "fee-too-high")
    assert (cell.double.sign_intents, cell.ledger.submitted) == ([], [])


async def test_words_about_the_payload_are_not_believed(cell):
    """Effects are what the codec finds: a fee that the adapter hides is in the transaction all the same."""
    cell.ledger.on_build = lambda adapter, intent, honest: replace(honest, effects=honest.effects[:1])
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
    assert reply.status == 201
    assert reply.body["fee"]["amount"] == "5"
    (signed,) = cell.double.sign_intents
    assert [effect.kind.value for effect in signed.command.effects] == ["transfer", "fee"]


ASKS = {
    "another payload": lambda u: altered(u, destination=THIEF),
    "another chain": lambda u: replace(u, chain=OTHER_CHAIN),
    "a message": lambda u: replace(u, payload=b"I owe the thief everything"),
}


@pytest.mark.parametrize("case", ASKS)
async def test_what_was_approved_is_all_that_the_signer_signs(cell, case):
    """The adapter has its payload approved, and asks the signer for something else."""

    async def sign(adapter, unsigned):
        other = ASKS[case](unsigned)
        return adapter.codec().combine(other, await adapter.context.signer.sign(other))

    cell.ledger.on_sign = sign
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused"), reply.body
    assert (cell.double.sign_intents, cell.ledger.submitted) == ([], [])


RESULTS = {
    "another id": lambda signed: replace(signed, txid="00" * 32),
    "another chain": lambda signed: replace(signed, chain=OTHER_CHAIN),
    "other bytes": lambda signed: replace(signed, raw=signed.raw[:64] + b'{"effects": []}'),
    "bytes behind": lambda signed: replace(signed, raw=signed.raw + b" "),
    "no bytes": lambda signed: SignedTransaction(signed.chain, b"", signed.txid),
}


@pytest.mark.parametrize("case", RESULTS)
async def test_signatures_are_not_put_to_another_use(cell, case):
    """The parties signed; what is broadcast and stored is what the codec makes of that, or nothing."""

    async def sign(adapter, unsigned):
        return RESULTS[case](await super(type(adapter), adapter).sign(unsigned))

    cell.ledger.on_sign = sign
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused"), reply.body
    assert cell.ledger.submitted == []


async def test_an_id_that_the_adapter_makes_up_names_nothing(cell, monkeypatch):
    """A client follows the id of the bytes that were signed, whatever ``submit`` answers."""
    from toychain.adapter import ToyAdapter  # noqa: PLC0415 importable once the toy chain is

    honest = ToyAdapter.submit

    async def lies(self, signed):
        await honest(self, signed)
        return "00" * 32

    monkeypatch.setattr(ToyAdapter, "submit", lies)
    async with customer(cell) as (client, account):
        reply = await pay(client, account)
    assert reply.status == 201
    assert reply.body["txid"] in cell.ledger.states
