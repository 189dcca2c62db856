"""Tokens and histories on the development chain, as an unchanged client sees them."""

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.models import TokenAccountOpts
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from spl.token import instructions as spl
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from support.solana import SOL, SolanaRpcCaller

PROGRAMS = {"spl-token": TOKEN_PROGRAM_ID, "spl-token-2022": TOKEN_2022_PROGRAM_ID}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_faucet_makes_tokens(client: AsyncClient, rpc: SolanaRpcCaller, name: str) -> None:
    """Of either program; the supply, the account and its balance are those that the token program keeps."""
    owner, program = Keypair().pubkey(), PROGRAMS[name]
    mint = await rpc("devnet_createMint", 2, {"program": name})
    await rpc("devnet_mintTokens", mint, str(owner), 12_340)
    await rpc.advance()
    supply = (await client.get_token_supply(Pubkey.from_string(mint))).value
    assert (supply.amount, supply.decimals, supply.ui_amount_string) == ("12340", 2, "123.4")
    place = spl.get_associated_token_address(owner, Pubkey.from_string(mint), program)
    assert (await client.get_token_account_balance(place)).value.amount == "12340"
    for wanted in (TokenAccountOpts(program_id=program), TokenAccountOpts(mint=Pubkey.from_string(mint))):
        (found,) = (await client.get_token_accounts_by_owner(owner, wanted)).value
        assert (found.pubkey, found.account.owner) == (place, program)
    nobody = TokenAccountOpts(program_id=program)
    assert (await client.get_token_accounts_by_owner(Keypair().pubkey(), nobody)).value == []


async def test_transactions_state_token_balances(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Before and after, with owner, program and amount."""
    owner = Keypair().pubkey()
    mint = await rpc("devnet_createMint")
    await rpc("devnet_mintTokens", mint, str(owner), 5)
    txid = await rpc("devnet_mintTokens", mint, str(owner), 7)
    await rpc.advance()
    meta = (await client.get_transaction(Signature.from_string(txid), "json")).value.transaction.meta
    (before,), (after,) = meta.pre_token_balances, meta.post_token_balances
    assert (before.ui_token_amount.amount, after.ui_token_amount.amount) == ("5", "12")
    assert (after.owner, str(after.mint), after.program_id) == (owner, mint, TOKEN_PROGRAM_ID)


async def test_history_of_an_address(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Newest first, at the commitment asked for, in pages, down to a known transaction."""
    address = Keypair().pubkey()
    txids = []
    for _ in range(5):
        txids.append(await rpc("requestAirdrop", str(address), SOL))
        await rpc.advance()
    newest = list(reversed(txids))

    async def listed(**options: object) -> list[str]:
        found = await client.get_signatures_for_address(address, **options)
        return [str(entry.signature) for entry in found.value]

    assert await listed() == newest
    assert await listed(limit=2) == newest[:2]
    assert await listed(before=Signature.from_string(newest[1])) == newest[2:]
    assert await listed(until=Signature.from_string(newest[3])) == newest[:3]
    assert await listed(before=Signature.from_string(newest[0]), limit=1) == newest[1:2]
    finalized = await rpc("getSignaturesForAddress", str(address), {"commitment": "finalized"})
    assert finalized == []
    await rpc.advance(31)
    finalized = await rpc("getSignaturesForAddress", str(address), {"commitment": "finalized"})
    assert [(entry["signature"], entry["err"], entry["confirmationStatus"]) for entry in finalized] == [
        (txid, None, "finalized") for txid in newest
    ]
    assert await rpc("getFirstAvailableBlock") <= finalized[-1]["slot"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("devnet_createMint", [19]),
        ("devnet_createMint", [6, {"program": "system"}]),
        ("devnet_mintTokens", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS", "1" * 32, 1]),
        ("getSignaturesForAddress", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS", {"limit": 1001}]),
        ("getSignaturesForAddress", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS", {"before": "x"}]),
        ("getTokenAccountBalance", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"]),
        ("getTokenSupply", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"]),
        ("getTokenAccountsByOwner", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS", {}]),
        ("getTokenAccountsByOwner", ["4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS", {"programId": "1" * 32}]),
    ],
)
async def test_what_cannot_be_answered_is_refused(rpc: SolanaRpcCaller, method: str, params: list[object]) -> None:
    """As wrong parameters."""
    assert (await rpc.answer(method, *params))["error"]["code"] == -32602
