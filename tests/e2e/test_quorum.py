"""Two of three are enough, whichever two; one of three is not, and says so."""

import time

import pytest
from solders.keypair import Keypair

from keyquorum_devnet.layout import COORDINATOR, GATEWAY, PARTIES

ANSWER_S_MAX = 30.0  # the gateway's wait_s_max


def stranger() -> str:
    """An address that has never been used."""
    return str(Keypair().pubkey())


@pytest.fixture
async def account(customer, chain):
    """An account with coins."""
    return await customer.funded_account(chain)


async def test_coins_move(customer, account):
    """From a REST call to a balance, by a signature that OpenSSL accepts."""
    found = await customer.transfer(account, stranger(), 1_500_000_000)
    assert found["error"] is None


@pytest.mark.parametrize("victim", PARTIES)
async def test_any_one_party_may_die(stack, customer, account, victim):
    """The very next transfer after a SIGKILL succeeds with the other two, and so does one after the return."""
    await stack.kill9(victim)
    await customer.transfer(account, stranger(), 1_000_000_000)
    await stack.bring_back(victim)
    await customer.transfer(account, stranger(), 1_000_000_000)


async def test_two_dead_parties_end_in_a_clear_answer(stack, customer, account):
    """Too few parties: a 503 problem within its deadline, nothing lost; with one of them back it works again."""
    destination = stranger()
    dead = PARTIES[1:]
    for name in dead:
        await stack.kill9(name)
    body = {"account_id": account["id"], "destination": destination, "amount": "1000000000"}
    began = time.monotonic()
    answer = await customer.gateway.call("POST", "/v1/transactions", body, headers={"Prefer": "wait=30"})
    assert time.monotonic() - began < ANSWER_S_MAX
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["code"] == "quorum-unavailable"
    assert answer.body["retriable"] is True
    assert "Retry-After" in answer.headers
    assert answer.body["trace_id"]
    assert await customer.chain.balance(destination) == 0
    await stack.bring_back_one(dead[0])
    await customer.transfer(account, destination, 1_000_000_000)
    await stack.bring_back(dead[1])


@pytest.mark.parametrize("victim", [COORDINATOR, GATEWAY])
async def test_who_holds_no_share_may_die_too(stack, account, victim):
    """A killed coordinator or gateway is started again and goes on from what it had written down."""
    await stack.kill9(victim)
    await stack.bring_back(victim)
    async with stack.customer() as customer:
        await customer.transfer(account, stranger(), 1_000_000_000)
