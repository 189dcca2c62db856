"""Ethereum through real parties: coins, tokens, messages and documents, confirmed or verified on anvil."""

import asyncio
import json
import secrets
import time

import apsw
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from web3 import Web3

from keyquorum_core_signer.store import events
from keyquorum_core_signer.store.verify import verify_connection
from keyquorum_devnet.engines import ETHEREUM
from keyquorum_devnet.layout import PARTIES
from keyquorum_devnet.rest import Answer
from support.anvil import AnvilCaller
from support.ethereum_hostile import permit
from support.stack import Customer, RunningStack

SUPPLY = 10**24
TRANSFERS = 12
ENDED = frozenset({"confirmed", "failed", "expired"})
WINDOW_S = 3600


@pytest.fixture
async def rpc(stack: RunningStack, customer: Customer) -> AnvilCaller:
    """The chain itself."""
    return AnvilCaller(customer.session, (await stack.status())["chain_urls"]["ethereum"])


def happened(stack: RunningStack, party: str, kind: str) -> list[events.Event]:
    """A party's events of one kind."""
    connection = apsw.Connection(str(stack.layout.node(party) / "shares.db"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = list(connection.execute("SELECT payload FROM events WHERE kind = ? ORDER BY seq", (kind,)))
    connection.close()
    return [events.decode(kind, payload) for (payload,) in rows]


def stocked(stack: RunningStack, party: str) -> list[bytes]:
    """What a party has in stock."""
    connection = apsw.Connection(str(stack.layout.node(party) / "shares.db"), flags=apsw.SQLITE_OPEN_READONLY)
    names = [name for (name,) in connection.execute("SELECT presignature_id FROM presignatures")]
    connection.close()
    return names


def limits(*assets: str) -> dict[str, object]:
    """A policy that lets these go."""
    amounts = {"per_transaction": str(10**22), "per_window": str(10**23), "window_s": WINDOW_S}
    return {"limits": [{"asset": asset, **amounts} for asset in assets]}


async def confirmed(customer: Customer, **body: str) -> dict[str, object]:
    """A transaction that was ordered with this body, once its chain has confirmed it."""
    ordered = await customer.gateway.order("/v1/transactions", body)
    found = await customer.gateway.until(f"/v1/transactions/{ordered.made_id}", ENDED, within_s=40)
    assert found["state"] == "confirmed", found
    return found


def signed_by(answer: Answer) -> bytes:
    """r, s and the recovery id, of a signature that was answered inline."""
    assert answer.status in {200, 201}, answer
    return bytes.fromhex(answer.body["signature"])


async def test_transfers_at_once_leave_no_gap(customer: Customer, rpc: AnvilCaller) -> None:
    """From one account: every nonce is used, in whatever order the parties sign, and the amounts add up."""
    account = await customer.funded_account(ETHEREUM.chain, 10 * ETHEREUM.coin)
    destination = customer.chains[ETHEREUM.chain].stranger()
    body = {"account_id": account["id"], "destination": destination, "amount": str(ETHEREUM.coin // 10)}
    made = await asyncio.gather(*(confirmed(customer, **body) for _ in range(TRANSFERS)))
    assert len({transaction["txid"] for transaction in made}) == TRANSFERS
    assert await rpc.count(account["address"]) == TRANSFERS
    assert await rpc.balance(destination) == TRANSFERS * (ETHEREUM.coin // 10)


async def test_a_token_moves(customer: Customer, rpc: AnvilCaller) -> None:
    """An ERC-20 contract that anybody could have deployed; its own balances say what arrived."""
    owner = Account.create().address
    address, contract = await rpc.deploy("erc20", "Gold Coin", "GOLD", SUPPLY, owner)
    asset = f"{ETHEREUM.chain}/erc20:{address.lower()}"
    account = await customer.funded_account(ETHEREUM.chain, ETHEREUM.coin, policy=limits(ETHEREUM.asset, asset))
    token, destination = contract(address=address), Web3.to_checksum_address(f"0x{secrets.token_hex(20)}")
    await rpc("anvil_impersonateAccount", owner)
    await rpc("anvil_setBalance", owner, hex(ETHEREUM.coin))
    give = token.encode_abi("transfer", [Web3.to_checksum_address(account["address"]), 1000])
    await rpc("eth_sendTransaction", {"from": owner, "to": address, "data": give})
    await rpc.mine()
    await rpc("anvil_stopImpersonatingAccount", owner)
    await confirmed(customer, account_id=account["id"], asset=asset, destination=destination, amount="250")
    for holder, amount in ((destination, 250), (Web3.to_checksum_address(account["address"]), 750)):
        call = {"to": address, "data": token.encode_abi("balanceOf", [holder])}
        assert int(await rpc("eth_call", call, "latest"), 16) == amount


async def test_a_message_names_its_signer(customer: Customer) -> None:
    """EIP-191, recovered by an unrelated library."""
    account = (await customer.wallet(ETHEREUM.chain))["accounts"][0]
    body = {"account_id": account["id"], "message": "I own this address"}
    answer = await customer.gateway.call("POST", "/v1/signatures", body)
    signature = signed_by(answer)
    v = bytes([27 + signature[64]])
    assert (
        Account.recover_message(encode_defunct(text=body["message"]), signature=signature[:64] + v)
        == account["address"]
    )


async def test_a_permit_is_accepted_by_its_contract(customer: Customer, rpc: AnvilCaller) -> None:
    """EIP-712 over ERC-2612: the contract recovers the parties' key, and grants what the policy lets go."""
    address, contract = await rpc.deploy("erc20-permit", SUPPLY)
    asset, spender = f"{ETHEREUM.chain}/erc20:{address.lower()}", Account.create().address
    wallet = await customer.wallet(ETHEREUM.chain, policy=limits(ETHEREUM.asset, asset))
    account = wallet["accounts"][0]
    document = permit(account["address"], spender, value=12345, deadline=2**40)
    document["domain"].update(name="Uniswap V2", verifyingContract=address)
    body = {"account_id": account["id"], "typed_data": json.dumps(document)}
    answer = await customer.gateway.call("POST", "/v1/signatures", body)
    raw = signed_by(answer)
    token = contract(address=address)
    arguments = [account["address"], spender, 12345, 2**40, 27 + raw[64], raw[:32], raw[32:64]]
    (sender,) = await rpc("eth_accounts")
    call = {"from": sender, "to": address, "data": token.encode_abi("permit", arguments)}
    await rpc("eth_sendTransaction", call)
    await rpc.mine()
    allowed = await rpc("eth_call", {"to": address, "data": token.encode_abi("allowance", arguments[:2])}, "latest")
    assert int(allowed, 16) == 12345


async def test_presignatures_are_made_for_what_is_signed_for_and_used_once(
    stack: RunningStack, customer: Customer
) -> None:
    """After a first signature the parties prepare more; the next ones burn those, one each, at exactly two parties. What a
    killed party held is void, and it is paired as before."""
    account = (await customer.wallet(ETHEREUM.chain))["accounts"][0]

    async def sign(message: str) -> None:
        body = {"account_id": account["id"], "message": message}
        answer = await customer.gateway.call("POST", "/v1/signatures", body)
        assert answer.status in {200, 201}, answer

    def burned() -> dict[str, list[bytes]]:
        return {
            party: [name for event in happened(stack, party, "presignatures-burned") for name in event.presignature_ids]
            for party in PARTIES
        }

    def kept(party: str) -> int:
        return sum(len(event.entries) for event in happened(stack, party, "presignatures-kept"))

    made_before = {party: kept(party) for party in PARTIES}
    await sign("the first")
    deadline = time.monotonic() + 30
    while any(kept(party) < made_before[party] + 8 for party in PARTIES):
        assert time.monotonic() < deadline, stack.log_tails()
        await sign("until each of them has signed, and prepares")
        await asyncio.sleep(0.1)
    while any(len(stocked(stack, party)) < 16 for party in PARTIES):  # eight for each of its two quorums
        assert time.monotonic() < deadline, stack.log_tails()
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)  # until the coordinator has heard of the last ones
    before = burned()
    for number in range(4):
        await sign(f"number {number}")
    after = burned()
    used = [name for party in PARTIES for name in after[party][len(before[party]) :]]
    assert len(used) == 8
    assert all(used.count(name) == 2 for name in used)
    victim = PARTIES[0]
    await stack.kill9(victim)
    await stack.bring_back(victim)
    assert happened(stack, victim, "presignatures-voided")
    kept_before = kept(victim)
    deadline = time.monotonic() + 30  # the others find out that their halves are of no use, and new ones are made
    while kept(victim) < kept_before + 16:
        assert time.monotonic() < deadline, stack.log_tails()
        await sign(f"after the crash at {time.monotonic()}")
        await asyncio.sleep(0.1)
    for survivor in PARTIES[1:]:
        assert any(victim in event.reason for event in happened(stack, survivor, "presignatures-voided"))
    for party in PARTIES:
        names = burned()[party]
        assert len(names) == len(set(names))
        connection = apsw.Connection(str(stack.layout.node(party) / "shares.db"), flags=apsw.SQLITE_OPEN_READONLY)
        assert verify_connection(connection).problems == ()
        connection.close()
