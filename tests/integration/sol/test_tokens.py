"""Tokens of both programs, on the real token programs: moved, refused for the right reason, and stated to the lamport."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token import instructions as spl
from spl.token import models

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import EffectKind
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    InsufficientFunds,
    InvalidAddress,
    TransactionRejected,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_sol.adapter import SolanaAdapter
from keyquorum_sol.codec import RENT_DETAIL
from keyquorum_sol.tokens import account_rent_max
from support.solana import SOL, SolanaRpcCaller
from support.solana_scene import SolanaScene
from support.solana_tokens import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID, TokenIssuer

PROGRAMS = pytest.mark.parametrize("program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID], ids=["token", "token-2022"])
RENT = {TOKEN_PROGRAM_ID: 2_039_280, TOKEN_2022_PROGRAM_ID: 2_074_080}


@pytest.fixture
async def scene(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[SolanaScene]:
    async with aiohttp.ClientSession() as http:
        scene = SolanaScene(b"tokens", endpoint, http, rpc)
        await scene.fund(scene.address(0), 10 * SOL)
        yield scene


@pytest.fixture
async def adapter(scene: SolanaScene) -> AsyncIterator[SolanaAdapter]:
    adapter = await scene.opened()
    yield adapter
    await adapter.close()


@pytest.fixture
async def issuer(rpc: SolanaRpcCaller) -> TokenIssuer:
    return await TokenIssuer(rpc).open()


def asset_of(scene: SolanaScene, mint: Pubkey) -> str:
    return f"{scene.chain}/token:{mint}"


async def lamports(adapter: SolanaAdapter, address: str) -> int:
    (balance,) = await adapter.get_balances(address)
    return balance.amount


@PROGRAMS
async def test_tokens_arrive_and_the_missing_account_is_made(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, program: Pubkey
) -> None:
    """The first transfer makes the destination's account and takes its rent, the second finds it; both say the most that
    they can take."""
    mint = await issuer.mint(program)
    asset = asset_of(scene, mint)
    await issuer.give(mint, scene.address(0), 5_000_000, program)
    intent = scene.intent(1_500_000, asset, memo="invoice 7")
    for time, rent in enumerate((RENT[program], 0), 1):
        before = await lamports(adapter, scene.address(0))
        unsigned = await adapter.build_transfer(intent, {})
        transfer, fee, most = unsigned.effects
        assert (transfer.kind, transfer.asset, transfer.amount) == (EffectKind.TRANSFER, asset, 1_500_000)
        assert (transfer.source, transfer.destination, transfer.detail) == (
            scene.address(0),
            scene.address(1),
            "invoice 7",
        )
        assert (most.kind, most.amount, most.detail) == (EffectKind.FEE, account_rent_max(program), RENT_DETAIL)
        assert require_transfer(intent, unsigned.effects) == fee.amount + most.amount
        assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
        assert before - await lamports(adapter, scene.address(0)) == fee.amount + rent <= fee.amount + most.amount
        (held,) = await adapter.get_balances(scene.address(1), [asset])
        assert (held.amount, held.decimals) == (time * 1_500_000, 6)
    (left,) = await adapter.get_balances(scene.address(0), [asset])
    assert (left.asset, left.amount) == (asset, 2_000_000)


@PROGRAMS
async def test_another_account_pays_fee_and_rent(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, program: Pubkey
) -> None:
    """The owner of the tokens needs no lamport at all."""
    mint = await issuer.mint(program)
    holder, payer = scene.account(3).account, scene.account(2).account
    await issuer.give(mint, holder.address, 10, program)
    await scene.fund(payer.address, SOL)
    intent = replace(scene.intent(10, asset_of(scene, mint)), source=holder, fee_payer=payer)
    unsigned = await adapter.build_transfer(intent, {})
    assert [request.signer for request in unsigned.requests] == [payer.address, holder.address]
    assert {effect.source for effect in unsigned.effects if effect.kind is EffectKind.FEE} == {payer.address}
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    assert await lamports(adapter, holder.address) == 0
    assert await lamports(adapter, payer.address) == SOL - unsigned.effects[1].amount - RENT[program]


async def test_balances_of_tokens(scene: SolanaScene, issuer: TokenIssuer, rpc: SolanaRpcCaller) -> None:
    """Named or configured; nothing where there is no account; both programs; in the order asked for."""
    mints = [await issuer.mint(TOKEN_PROGRAM_ID, 9), await issuer.mint(TOKEN_2022_PROGRAM_ID, 0)]
    await issuer.give(mints[0], scene.address(0), 7)
    adapter = await scene.opened(tokens={str(mints[0]): "TKN"})
    listed = await adapter.get_balances(scene.address(0))
    assert [(found.symbol, found.amount) for found in listed] == [("SOL", 10 * SOL), ("TKN", 7)]
    named = await adapter.get_balances(scene.address(0), [asset_of(scene, mints[1]), scene.asset])
    assert [(found.amount, found.decimals) for found in named] == [(0, 0), (10 * SOL, 9)]
    await adapter.close()


@pytest.mark.parametrize("case", ["nobody", "wallet", "program", "another cluster", "no address", "token account"])
async def test_what_is_no_token_is_unsupported(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, case: str
) -> None:
    """For balances and transfers alike, and with nothing reserved."""
    mint = await issuer.mint()
    place = await issuer.give(mint, scene.address(0), 5)
    asset = {
        "nobody": asset_of(scene, Keypair().pubkey()),
        "wallet": asset_of(scene, scene.key(0)),
        "program": asset_of(scene, TOKEN_PROGRAM_ID),
        "another cluster": f"{scene.other_chain}/token:{mint}",
        "no address": f"{scene.chain}/token:mint",
        "token account": asset_of(scene, place),
    }[case]
    with pytest.raises(UnsupportedAsset):
        await adapter.get_balances(scene.address(0), [asset])
    with pytest.raises(UnsupportedAsset):
        await adapter.build_transfer(scene.intent(5, asset), {})
    assert not await scene.reservations.held(scene.chain, scene.address(0))


@pytest.mark.parametrize(
    "extension", ["transfer fee", "non-transferable", "permanent delegate", "transfer hook", "confidential"]
)
async def test_tokens_in_which_others_have_a_hand_are_not_moved(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, extension: str
) -> None:
    """Refused by what the mint says, before anything is built."""
    mint = await issuer.mint(TOKEN_2022_PROGRAM_ID, extensions=[extension])
    with pytest.raises(UnsupportedAsset, match=r"takes a fee|cannot be|lets somebody|has a program|can hide"):
        await adapter.build_transfer(scene.intent(5, asset_of(scene, mint)), {})


async def test_harmless_extensions_are_moved(scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer) -> None:
    """How an amount is shown changes nothing about what arrives."""
    mint = await issuer.mint(TOKEN_2022_PROGRAM_ID, extensions=["interest", "metadata pointer", "default open"])
    await issuer.give(mint, scene.address(0), 50, TOKEN_2022_PROGRAM_ID)
    unsigned = await adapter.build_transfer(scene.intent(20, asset_of(scene, mint)), {})
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    (held,) = await adapter.get_balances(scene.address(1), [asset_of(scene, mint)])
    assert held.amount == 20


@PROGRAMS
@pytest.mark.parametrize("end", [0, 1], ids=["source", "destination"])
async def test_frozen_accounts_are_refused(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, program: Pubkey, end: int
) -> None:
    """At either end."""
    mint = await issuer.mint(program)
    places = [await issuer.give(mint, scene.address(index), 5, program) for index in (0, 1)]
    await issuer.freeze(mint, places[end], program)
    with pytest.raises(TransactionRejected, match="frozen"):
        await adapter.build_transfer(scene.intent(5, asset_of(scene, mint)), {})


async def test_account_that_would_start_frozen_is_refused(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer
) -> None:
    """What arrives there could not be moved."""
    mint = await issuer.mint(TOKEN_2022_PROGRAM_ID, extensions=["default frozen"])
    place = spl.get_associated_token_address(scene.key(0), mint, TOKEN_2022_PROGRAM_ID)
    us = issuer.keys.pubkey()
    thaw = models.ThawAccountParams(program_id=TOKEN_2022_PROGRAM_ID, account=place, mint=mint, authority=us)
    made = spl.create_idempotent_associated_token_account(us, scene.key(0), mint, TOKEN_2022_PROGRAM_ID)
    await issuer.send([made, spl.thaw_account(thaw)])
    await issuer.give(mint, scene.address(0), 5, TOKEN_2022_PROGRAM_ID)
    with pytest.raises(TransactionRejected, match="new ones are frozen"):
        await adapter.build_transfer(scene.intent(5, asset_of(scene, mint)), {})


async def test_funds_of_tokens_are_checked(scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer) -> None:
    """Of the token, and of lamports for fee and rent."""
    mint = await issuer.mint()
    asset = asset_of(scene, mint)
    with pytest.raises(InsufficientFunds, match="holds 0 of the token"):
        await adapter.build_transfer(scene.intent(1, asset), {})
    await issuer.give(mint, scene.address(0), 5)
    with pytest.raises(InsufficientFunds, match="holds 5 of the token"):
        await adapter.build_transfer(scene.intent(6, asset), {})
    poor = replace(scene.intent(5, asset), source=scene.account(3).account)
    await issuer.give(mint, scene.address(3), 5)
    await scene.fund(scene.address(3), 1_000_000)
    with pytest.raises(InsufficientFunds, match="payer of the fee"):
        await adapter.build_transfer(poor, {})
    await issuer.give(mint, scene.address(1), 1)
    assert (await scene.settle(adapter, await adapter.build_transfer(poor, {}))).state is TransactionState.CONFIRMED
    assert not await scene.reservations.held(scene.chain, scene.address(1))


@pytest.mark.parametrize("case", ["token account", "mint", "program", "itself"])
async def test_destination_is_an_owner(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, case: str
) -> None:
    """The address that tokens lie in is not whom they belong to; a person who mixes them up loses nothing."""
    mint = await issuer.mint()
    place = await issuer.give(mint, scene.address(0), 5)
    theirs = await issuer.give(mint, scene.address(1), 5)
    destination = {"token account": theirs, "mint": mint, "program": TOKEN_PROGRAM_ID, "itself": scene.key(0)}[case]
    with pytest.raises(InvalidAddress):
        await adapter.build_transfer(scene.intent(5, asset_of(scene, mint), destination=destination), {})
    assert place != theirs


async def test_account_that_was_given_away_is_refused(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, rpc: SolanaRpcCaller
) -> None:
    """By the adapter, and by the runtime where the adapter is asked too early: the payload names the owner."""
    mint = await issuer.mint()
    await issuer.give(mint, scene.address(0), 10)
    friend, thief = Keypair(), Keypair()
    place = await issuer.give(mint, str(friend.pubkey()), 1)
    intent = scene.intent(5, asset_of(scene, mint), destination=friend.pubkey())
    early = await adapter.sign(await adapter.build_transfer(intent, {}))
    given = spl.set_authority(
        models.SetAuthorityParams(
            program_id=TOKEN_PROGRAM_ID,
            account=place,
            authority=models.AuthorityType.ACCOUNT_OWNER,
            current_authority=friend.pubkey(),
            new_authority=thief.pubkey(),
        )
    )
    await issuer.send([given], friend)
    with pytest.raises(InvalidAddress, match="belongs to somebody else"):
        await adapter.build_transfer(intent, {})
    with pytest.raises(TransactionRejected):
        await adapter.submit(early)
    (left,) = await adapter.get_balances(scene.address(0), [asset_of(scene, mint)])
    assert left.amount == 10


async def test_wrong_decimals_are_refused_by_the_runtime(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer
) -> None:
    """A codec cannot know them, so the instruction makes the runtime check."""
    mint = await issuer.mint(decimals=6)
    await issuer.give(mint, scene.address(0), 5)
    latest = await issuer.rpc("getLatestBlockhash", {"commitment": "confirmed"})
    metadata = {
        "blockhash": latest["value"]["blockhash"],
        "last_valid_block_height": str(latest["value"]["lastValidBlockHeight"]),
        "compute_unit_limit": "100000",
        "compute_unit_price": "0",
        "token_program": str(TOKEN_PROGRAM_ID),
        "token_decimals": "9",
    }
    unsigned = scene.codec.build(scene.intent(5, asset_of(scene, mint)), metadata)
    with pytest.raises(TransactionRejected, match="18"):
        await adapter.submit(await adapter.sign(unsigned))


async def test_account_that_demands_a_memo_gets_one(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer
) -> None:
    """Token-2022 looks for it just before the transfer."""
    mint = await issuer.mint(TOKEN_2022_PROGRAM_ID)
    await issuer.give(mint, scene.address(0), 5, TOKEN_2022_PROGRAM_ID)
    friend = Keypair()
    place = await issuer.give(mint, str(friend.pubkey()), 1, TOKEN_2022_PROGRAM_ID)
    await scene.fund(str(friend.pubkey()), SOL)
    await issuer.send(_demand_memos(place, friend), friend)
    intent = scene.intent(5, asset_of(scene, mint), destination=friend.pubkey())
    with pytest.raises(TransactionRejected, match="memo"):
        await adapter.build_transfer(intent, {})
    unsigned = await adapter.build_transfer(replace(intent, memo="rent for May"), {})
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED


async def test_lamports_at_the_address_of_the_account_hinder_nobody(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer, rpc: SolanaRpcCaller
) -> None:
    """Anybody can send some there before there is an account."""
    mint = await issuer.mint()
    await issuer.give(mint, scene.address(0), 5)
    place = spl.get_associated_token_address(scene.key(1), mint, TOKEN_PROGRAM_ID)
    await scene.fund(str(place), 1_000_000)
    unsigned = await adapter.build_transfer(scene.intent(5, asset_of(scene, mint)), {})
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED


async def test_tokens_and_nonce_accounts_do_not_mix(
    scene: SolanaScene, adapter: SolanaAdapter, issuer: TokenIssuer
) -> None:
    """A nonce account starts with lamports."""
    mint = await issuer.mint()
    with pytest.raises(Unsupported):
        await adapter.build_transfer(scene.intent(5, asset_of(scene, mint)), {"create_nonce": "spare"})


def _demand_memos(place: Pubkey, owner: Keypair) -> list[spl.Instruction]:
    meta = spl.AccountMeta
    new_size = spl.Instruction(
        TOKEN_2022_PROGRAM_ID,
        bytes([29]) + (8).to_bytes(2, "little"),
        [
            meta(place, False, True),
            meta(owner.pubkey(), True, True),
            meta(Pubkey.default(), False, False),
            meta(owner.pubkey(), True, False),
        ],
    )
    demand = spl.Instruction(
        TOKEN_2022_PROGRAM_ID, bytes([30, 0]), [meta(place, False, True), meta(owner.pubkey(), True, False)]
    )
    return [new_size, demand]
