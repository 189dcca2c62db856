"""An adapter that wants something else signed than was asked for: no request leaves for the parties."""

import asyncio
from dataclasses import replace

import pytest
from toychain.codec import ToyCodec, address_of

from keyquorum_plugin_api.codec import SignedTransaction, SignerAccount, UnsignedTransaction
from keyquorum_plugin_api.signer import SigningError
from support.gateway_cell import ASSET, CHAIN, RECIPIENT, eventually

THIEF = "toy1" + "ee" * 20


@pytest.fixture
async def account(cell, client):
    """A funded account."""
    made = (await client.wallet())["accounts"][0]
    cell.ledger.balances[made["address"]] = 1000
    return (await client.get(f"/v1/accounts/{made['id']}")).body


async def pay(client, account, **rest):
    """A transfer of 100."""
    body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100", "memo": "m", **rest}
    return await client.post("/v1/transactions", body)


def effect(kind, amount=0, source="", destination="", detail="", asset=ASSET):
    """One effect of a made-up payload."""
    return {
        "kind": kind,
        "asset": asset,
        "amount": amount,
        "source": source,
        "destination": destination,
        "detail": detail,
    }


def rebuilt(intent, *effects, chain=CHAIN, account=None):
    """An unsigned transaction with those effects, consistent in itself."""
    return ToyCodec().unsigned(chain, account or intent.source, list(effects), "evil")


TAMPERINGS = {
    "another recipient": lambda i, a: rebuilt(i, effect("transfer", 100, a, THIEF, "m"), effect("fee", 5, a)),
    "another amount": lambda i, a: rebuilt(i, effect("transfer", 999, a, RECIPIENT, "m"), effect("fee", 5, a)),
    "another asset": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m", "toy:main/slip44:2"), effect("fee", 5, a)
    ),
    "another memo": lambda i, a: rebuilt(i, effect("transfer", 100, a, RECIPIENT, "x"), effect("fee", 5, a)),
    "no memo": lambda i, a: rebuilt(i, effect("transfer", 100, a, RECIPIENT), effect("fee", 5, a)),
    "a second transfer": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("transfer", 1, a, THIEF), effect("fee", 5, a)
    ),
    "no transfer": lambda i, a: rebuilt(i, effect("fee", 5, a)),
    "an approval": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("approve", 1, a, THIEF), effect("fee", 5, a)
    ),
    "a delegation": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("delegate", 0, a, THIEF), effect("fee", 5, a)
    ),
    "a permit": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("permit", 1, a, THIEF), effect("fee", 5, a)
    ),
    "change to somebody else": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("change", 1, a, THIEF), effect("fee", 5, a)
    ),
    "a fee in another asset": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("fee", 5, a, asset="toy:main/slip44:2")
    ),
    "a fee of somebody else": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("fee", 5, THIEF)
    ),
    "a payload for another chain": lambda i, a: rebuilt(
        i, effect("transfer", 100, a, RECIPIENT, "m"), effect("fee", 5, a), chain="toy:other"
    ),
    "a payload that says it is ours": lambda i, a: replace(
        rebuilt(i, effect("transfer", 100, a, RECIPIENT, "m"), effect("fee", 5, a), chain="toy:other"), chain=CHAIN
    ),
    "no payload at all": lambda i, a: UnsignedTransaction(CHAIN, b"garbage", (), ()),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
async def test_a_payload_that_does_something_else_is_not_signed(cell, client, account, tamper):
    """502 adapter-refused; nothing reaches the coordinator, and what was reserved is given back."""
    cell.ledger.on_build = lambda adapter, intent, honest: tamper(intent, account["address"])
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused"), reply.body
    assert cell.double.sign_intents == []
    assert len(cell.ledger.discarded) == 1


async def test_a_lie_about_the_effects_changes_nothing(cell, client, account):
    """What the adapter says of its payload is not looked at: the codec reads the payload."""

    def lie(adapter, intent, honest):
        evil = rebuilt(intent, effect("transfer", 100, account["address"], THIEF, "m"))
        return replace(evil, effects=honest.effects, requests=honest.requests)

    cell.ledger.on_build = lie
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert cell.double.sign_intents == []


async def test_a_fee_above_the_ceiling_is_not_signed(cell, client, account):
    """The ceiling is the operator's, per chain."""
    reply = await pay(client, account, options={"fee": "101"})
    assert (reply.status, reply.body["code"]) == (422, "fee-too-high")
    assert cell.double.sign_intents == []


async def test_a_payload_of_another_account_is_not_signed(cell, client, account):
    """Even one of the same wallet."""
    other = _account_of((await client.post(f"/v1/wallets/{account['wallet_id']}/accounts", {"chain": CHAIN})).body)
    assert other.address == address_of(other.public_key)
    cell.ledger.on_build = lambda adapter, intent, honest: rebuilt(
        intent,
        effect("transfer", 100, other.address, RECIPIENT, "m"),
        effect("fee", 5, other.address),
        account=other,
    )
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert cell.double.sign_intents == []


async def test_another_payload_at_signing_time_is_not_signed(cell, client, account):
    """Approved is one payload; the adapter then asks for another."""

    async def swap(adapter, unsigned):
        intent_source = ToyCodec().decode(unsigned.payload, CHAIN, [_account_of(account)]).requests[0]
        evil = ToyCodec().unsigned(
            CHAIN, _account_of(account), [effect("transfer", 999, intent_source.signer, THIEF)], "evil"
        )
        return ToyCodec().combine(evil, await adapter.context.signer.sign(evil))

    cell.ledger.on_sign = swap
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert cell.double.sign_intents == []


def _account_of(account):
    return SignerAccount(account["address"], bytes.fromhex(account["public_key"]), tuple(account["path"]))


async def test_a_payload_is_signed_once(cell, client, account):
    """A second request within the operation is refused, and the operation fails."""

    async def twice(adapter, unsigned):
        await adapter.context.signer.sign(unsigned)
        return ToyCodec().combine(unsigned, await adapter.context.signer.sign(unsigned))

    cell.ledger.on_sign = twice
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert len(cell.double.sign_intents) == 1
    assert cell.ledger.submitted == []


async def test_nothing_is_signed_outside_an_operation(cell, gateway, client, account):
    """A task of the adapter's own has no operation, and gets nothing."""
    kept = {}

    async def keep(adapter, unsigned):
        signed = await super(type(adapter), adapter).sign(unsigned)
        kept["signer"], kept["unsigned"] = adapter.context.signer, unsigned
        return signed

    cell.ledger.on_sign = keep
    assert (await pay(client, account)).status == 201
    with pytest.raises(SigningError, match="outside an operation"):
        await kept["signer"].sign(kept["unsigned"])
    assert len(cell.double.sign_intents) == 1


async def test_a_task_left_behind_signs_nothing_more(cell, client, account):
    """A context copied during the operation is worth nothing after it."""
    outcome = {}

    async def leave_a_task(adapter, unsigned):
        async def later():
            await asyncio.sleep(0.2)
            try:
                await adapter.context.signer.sign(unsigned)
            except SigningError as error:
                outcome["error"] = error

        outcome["task"] = asyncio.create_task(later())
        return await super(type(adapter), adapter).sign(unsigned)

    cell.ledger.on_sign = leave_a_task
    assert (await pay(client, account)).status == 201
    await eventually(lambda: outcome.get("error"))
    assert len(cell.double.sign_intents) == 1


async def test_other_bytes_than_the_codecs_are_not_broadcast(cell, client, account):
    """What is stored and sent is what our own codec makes of the signatures."""

    async def pad(adapter, unsigned):
        signed = await super(type(adapter), adapter).sign(unsigned)
        return SignedTransaction(signed.chain, signed.raw + b"!", signed.txid)

    cell.ledger.on_sign = pad
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert cell.ledger.submitted == []


async def test_an_adapter_cannot_hide_that_signing_failed(cell, client, account):
    """The operation reports the parties' own code, whatever the adapter raises or returns."""
    cell.double.behaviour.failure = ("policy-denied", False)

    async def swallow(adapter, unsigned):
        try:
            return await super(type(adapter), adapter).sign(unsigned)
        except SigningError:
            raise RuntimeError("nothing to see here") from None

    cell.ledger.on_sign = swallow
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (403, "policy-denied")


async def test_an_adapter_that_has_nothing_signed_is_refused(cell, client, account):
    """A signature from elsewhere is not a signature."""

    async def forge(adapter, unsigned):
        return SignedTransaction(CHAIN, bytes(64) + unsigned.payload, "00")

    cell.ledger.on_sign = forge
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "adapter-refused")
    assert (cell.double.sign_intents, cell.ledger.submitted) == ([], [])


async def test_an_adapter_that_crashes_is_a_502_without_its_words(cell, client, account):
    """Its exception is logged; a client learns the call and the type."""

    def crash(adapter, intent, honest):
        raise RuntimeError("secret-internal-url")

    cell.ledger.on_build = crash
    reply = await pay(client, account)
    assert (reply.status, reply.body["code"]) == (502, "chain-error")
    assert "secret-internal-url" not in reply.raw.decode()
