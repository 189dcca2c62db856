"""Transactions from request to chain, in every way that a chain can answer."""

import base64

import pytest

from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import (
    ChainUnavailable,
    Expired,
    InsufficientFunds,
    NonceConflict,
    OutcomeUnknown,
    TransactionRejected,
)
from support.gateway_cell import ASSET, CHAIN, RECIPIENT, eventually


@pytest.fixture
async def account(cell, client):
    """A funded account."""
    made = (await client.wallet())["accounts"][0]
    cell.ledger.balances[made["address"]] = 1000
    return made


def transfer(account, **rest):
    """A request."""
    return {"account_id": account["id"], "destination": RECIPIENT, "amount": "100", **rest}


async def state_of(client, transaction_id):
    """A transaction's state now."""
    return (await client.get(f"/v1/transactions/{transaction_id}")).body["state"]


async def test_a_transfer_arrives(cell, client, account):
    """Built, signed, broadcast within the request; confirmed behind it."""
    reply = await client.post("/v1/transactions", transfer(account, memo="rent"))
    assert reply.status == 201, reply.body
    made = reply.body
    assert made["state"] in ("submitted", "confirmed")
    assert made["fee"] == {"asset": ASSET, "amount": "5"}
    await eventually(lambda: _is(client, made["id"], "confirmed"))
    assert cell.ledger.balances[RECIPIENT] == 100
    assert cell.ledger.balances[account["address"]] == 895
    final = (await client.get(f"/v1/transactions/{made['id']}")).body
    assert (final["confirmations"], final["block"], final["memo"]) == (1, "block-1", "rent")
    operation = (await client.get(f"/v1/operations/{made['operation_id']}")).body
    assert (operation["state"], operation["transaction_id"]) == ("succeeded", made["id"])
    assert operation["signing_ms"] > 0


async def _is(client, transaction_id, state):
    return await state_of(client, transaction_id) == state


async def test_signed_bytes_without_broadcast_can_be_submitted_later(cell, client, account):
    """``submit: false`` returns what the client may broadcast itself, here or elsewhere."""
    made = (await client.post("/v1/transactions", transfer(account, submit=False))).body
    assert (made["state"], cell.ledger.submitted) == ("signed", [])
    path = f"/v1/chains/{CHAIN}/transactions"
    unknown = (await client.get(f"{path}/{made['txid']}")).body
    assert unknown["state"] == "unknown"
    reply = await client.post(path, {"raw": made["raw"], "txid": made["txid"]})
    assert (reply.status, reply.body["state"]) == (201, "confirmed")
    assert cell.ledger.submitted == [base64.b64decode(made["raw"])]
    assert (await client.get(f"/v1/chains/toy:alias/transactions/{made['txid']}")).body == reply.body


@pytest.mark.parametrize("end", [TransactionState.CONFIRMED, TransactionState.FAILED, TransactionState.EXPIRED])
async def test_the_chain_decides_how_a_transaction_ends(cell, client, account, end):
    """The state follows the chain's, and a bad end carries its reason."""
    cell.ledger.confirm = False
    made = (await client.post("/v1/transactions", transfer(account))).body
    assert made["state"] == "submitted"
    cell.ledger.set_state(made["txid"], end)
    await eventually(lambda: _is(client, made["id"], end.value))
    error = (await client.get(f"/v1/transactions/{made['id']}")).body["error"]
    assert (error is None) is (end is TransactionState.CONFIRMED)


async def test_a_slow_build_is_answered_with_an_operation(cell, client, account):
    """Beyond the wait budget: 202, a durable operation, and a transaction that can be followed from its first moment."""
    cell.ledger.build_delay_s = 0.2
    reply = await client.post("/v1/transactions", transfer(account), Prefer="wait=0")
    assert (reply.status, reply.body["state"]) == (202, "running")
    assert reply.headers["Location"] == f"/v1/operations/{reply.body['id']}"
    assert await state_of(client, reply.body["transaction_id"]) == "building"
    await eventually(lambda: _is(client, reply.body["transaction_id"], "confirmed"))


@pytest.mark.parametrize("trouble", [ChainUnavailable("down"), OutcomeUnknown("no answer")])
async def test_the_same_bytes_are_broadcast_until_a_node_has_them(cell, client, account, trouble):
    """A node that does not answer changes nothing about what was signed."""
    cell.ledger.submit_errors = [trouble, trouble]
    reply = await client.post("/v1/transactions", transfer(account))
    assert reply.status == 201, reply.body
    assert len(cell.ledger.submitted) == 3
    assert len(set(cell.ledger.submitted)) == 1
    assert len(cell.double.sign_intents) == 1


@pytest.mark.parametrize(
    ("trouble", "status", "state"),
    [
        (TransactionRejected("program error"), 422, "failed"),
        (InsufficientFunds("spent meanwhile"), 422, "failed"),
        (NonceConflict("nonce used"), 409, "failed"),
        (Expired("blockhash too old"), 409, "expired"),
    ],
)
async def test_a_refused_broadcast_is_the_end(cell, client, account, trouble, status, state):
    """The code is the chain's, the operation failed at broadcasting, and the answer is kept for the key."""
    cell.ledger.submit_errors = [trouble]
    reply = await client.post("/v1/transactions", transfer(account), key="once")
    assert (reply.status, reply.body["code"]) == (status, trouble.code)
    operation = (await client.get(f"/v1/operations/{reply.body['operation_id']}")).body
    assert (operation["state"], operation["error"]["stage"]) == ("failed", "broadcasting")
    assert await state_of(client, operation["transaction_id"]) == state
    again = await client.post("/v1/transactions", transfer(account), key="once")
    assert (again.body, again.headers["Idempotent-Replayed"]) == (reply.body, "true")
    assert len(cell.double.sign_intents) == 1


async def test_a_refusal_of_bytes_that_the_chain_has_is_no_refusal(cell, client, account):
    """Before a transaction is called failed, the chain is asked whether it knows it."""

    class Lies(TransactionRejected):
        """Refused by a node behind the one that took it."""

    def accept_then_refuse(adapter, unsigned):
        async def sign():
            signed = await super(type(adapter), adapter).sign(unsigned)
            cell.ledger.apply(signed.raw, signed.txid)
            return signed

        return sign()

    cell.ledger.on_sign = accept_then_refuse
    cell.ledger.submit_errors = [Lies("already processed")]
    reply = await client.post("/v1/transactions", transfer(account))
    assert reply.status == 201, reply.body
    await eventually(lambda: _is(client, reply.body["id"], "confirmed"))


async def test_an_external_id_is_used_once(cell, client, account):
    """For ever and per tenant, whatever the idempotency key; the problem names the transaction that has it."""
    made = (await client.post("/v1/transactions", transfer(account, external_id="invoice-1"))).body
    reply = await client.post("/v1/transactions", transfer(account, external_id="invoice-1"))
    assert (reply.status, reply.body["code"]) == (409, "external-id-taken")
    assert reply.body["transaction_id"] == made["id"]
    assert len(cell.ledger.submitted) == 1


async def test_transactions_are_listed_by_account(cell, client, account):
    """Newest first."""
    made = [(await client.post("/v1/transactions", transfer(account))).body["id"] for _ in range(3)]
    page = (await client.get(f"/v1/transactions?account_id={account['id']}&limit=2")).body
    assert [t["id"] for t in page["items"]] == [made[2], made[1]]
    page = (await client.get(f"/v1/transactions?limit=2&page_token={page['next_page_token']}")).body
    assert [t["id"] for t in page["items"]] == [made[0]]


async def test_what_was_built_and_never_signed_is_given_back(cell, client, account):
    """A denial by the parties releases what the adapter had reserved."""
    cell.double.behaviour.failure = ("policy-denied", False)
    reply = await client.post("/v1/transactions", transfer(account))
    assert (reply.status, reply.body["code"]) == (403, "policy-denied")
    assert len(cell.ledger.discarded) == 1
    assert cell.ledger.submitted == []


async def test_the_intent_says_exactly_what_the_payload_does(cell, client, account):
    """The effects that every party compares with its own codec's are the gateway's codec's, with the fee."""
    await client.post("/v1/transactions", transfer(account, memo="for you"))
    (intent,) = cell.double.sign_intents
    command = intent.command
    assert [(e.kind.value, e.asset, e.amount, e.source, e.destination, e.detail) for e in command.effects] == [
        ("transfer", ASSET, 100, account["address"], RECIPIENT, "for you"),
        ("fee", ASSET, 5, account["address"], "", ""),
    ]
    assert (command.chain, command.codec) == (CHAIN, cell.double.codec)
    assert intent.valid_until_ms > 0


async def test_another_account_of_the_wallet_may_pay_the_fee(cell, client, account):
    """Named by the client, of the same key and chain; the adapter cannot choose one."""
    wallet = (await client.get(f"/v1/accounts/{account['id']}")).body["wallet_id"]
    payer = (await client.post(f"/v1/wallets/{wallet}/accounts", {"chain": CHAIN})).body
    made = await client.post("/v1/transactions", transfer(account, fee_account_id=payer["id"]))
    assert (made.status, made.body["fee_account_id"]) == (201, payer["id"]), made.body
    fees = [effect for effect in cell.double.sign_intents[-1].command.effects if effect.kind.value == "fee"]
    assert [fee.source for fee in fees] == [payer["address"]]
    stranger = (await client.wallet())["accounts"][0]
    for wrong in (account["id"], stranger["id"], "acc_unknown"):
        refused = await client.post("/v1/transactions", transfer(account, fee_account_id=wrong))
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/fee_account_id")
