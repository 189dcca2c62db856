"""Durable nonces: made without another key, used once each, alive for as long as the nonce, and expired only by it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from solders.keypair import Keypair
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import EffectKind, SignedTransaction, UnsignedTransaction
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    Expired,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    NonceConflict,
    OutcomeUnknown,
    Unsupported,
)
from keyquorum_plugin_api.testing.scenes import confirmed
from keyquorum_sol.adapter import SolanaAdapter
from keyquorum_sol.movements import nonce_address
from support.solana import SOL, SolanaRpcCaller
from support.solana_scene import SolanaScene
from support.solana_tokens import TokenIssuer

RENT = 1_447_680


@pytest.fixture
async def scene(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[SolanaScene]:
    async with aiohttp.ClientSession() as http:
        scene = SolanaScene(b"nonces", endpoint, http, rpc)
        await scene.fund(scene.address(0), 10 * SOL)
        await scene.fund(scene.address(1), SOL)
        yield scene


@pytest.fixture
async def adapter(scene: SolanaScene) -> AsyncIterator[SolanaAdapter]:
    adapter = await scene.opened(rebroadcast_interval_s=0.05)
    yield adapter
    await adapter.close()


async def made(scene: SolanaScene, adapter: SolanaAdapter, seed: str = "spare") -> Pubkey:
    """A nonce account of account 0, which can be used."""
    place = nonce_address(scene.key(0), seed)
    unsigned = await adapter.build_transfer(scene.intent(RENT, destination=place), {"create_nonce": seed})
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    return place


@pytest.fixture
async def nonce(scene: SolanaScene, adapter: SolanaAdapter) -> dict[str, str]:
    """The option that uses a nonce account."""
    return {"durable_nonce": str(await made(scene, adapter))}


async def finalize(rpc: SolanaRpcCaller) -> None:
    await rpc.advance(32)


async def test_nonce_account_is_made_by_its_source_alone(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """One signature; the rent is the amount of the transfer; the source has authority over it."""
    place = nonce_address(scene.key(0), "spare")
    intent = scene.intent(RENT, destination=place, memo="for approvals")
    unsigned = await adapter.build_transfer(intent, {"create_nonce": "spare"})
    assert require_transfer(intent, unsigned.effects) == unsigned.effects[1].amount
    assert [request.signer for request in unsigned.requests] == [scene.address(0)]
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    (held,) = await adapter.get_balances(str(place))
    assert held.amount == RENT
    using = await adapter.build_transfer(scene.intent(), {"durable_nonce": str(place)})
    assert (await scene.settle(adapter, using)).state is TransactionState.CONFIRMED
    with pytest.raises(InvalidAddress, match="choose another seed"):
        await adapter.build_transfer(intent, {"create_nonce": "spare"})


async def test_nonce_accounts_that_cannot_be_made(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """Another address, too little, a seed that is none, a source that cannot pay: refused, with nothing reserved."""
    place = nonce_address(scene.key(0), "spare")
    with pytest.raises(InvalidAddress, match=str(place)):
        await adapter.build_transfer(scene.intent(RENT), {"create_nonce": "spare"})
    with pytest.raises(InvalidAmount):
        await adapter.build_transfer(scene.intent(RENT - 1, destination=place), {"create_nonce": "spare"})
    for seed in ("", "a" * 33, "sp re", "é", "a/b"):
        with pytest.raises(Unsupported):
            await adapter.build_transfer(scene.intent(RENT, destination=place), {"create_nonce": seed})
    poor = scene.account(3).account
    theirs = nonce_address(scene.key(3), "spare")
    with pytest.raises(InsufficientFunds):
        await adapter.build_transfer(
            replace(scene.intent(RENT, destination=theirs), source=poor), {"create_nonce": "spare"}
        )
    assert not await scene.reservations.held(scene.chain, scene.address(0))
    assert not await scene.reservations.held(scene.chain, poor.address)


async def test_transfer_waits_as_long_as_it_takes(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller, nonce: dict[str, str]
) -> None:
    """No height ends it: neither before signing, nor between signing and submission."""
    unsigned = await adapter.build_transfer(scene.intent(memo="approved in time"), nonce)
    assert list(unsigned.expires) == ["nonce_slot"]
    await rpc.advance(1_000)
    signed = await adapter.sign(unsigned)
    await rpc.advance(1_000)
    assert (await adapter.get_status(signed.txid, unsigned)).state is TransactionState.UNKNOWN
    await adapter.submit(signed)
    assert (await confirmed(scene, adapter, signed, unsigned)).state is TransactionState.CONFIRMED


async def test_two_builds_never_share_a_value(
    scene: SolanaScene, adapter: SolanaAdapter, nonce: dict[str, str]
) -> None:
    """Of many at a time one gets it; given back, or used, there is a next one."""
    builds = (adapter.build_transfer(scene.intent(SOL // 100 + number), nonce) for number in range(20))
    found = await asyncio.gather(*builds, return_exceptions=True)
    (first,) = [unsigned for unsigned in found if isinstance(unsigned, UnsignedTransaction)]
    assert sum(isinstance(refusal, NonceConflict) for refusal in found) == 19
    await adapter.discard(first)
    again = await adapter.build_transfer(scene.intent(), nonce)
    with pytest.raises(NonceConflict):
        await adapter.build_transfer(scene.intent(), nonce)
    assert (await scene.settle(adapter, again)).state is TransactionState.CONFIRMED
    following = await adapter.build_transfer(scene.intent(), nonce)
    assert following.payload != again.payload


async def test_what_was_reserved_is_given_back_after_a_restart(
    scene: SolanaScene, adapter: SolanaAdapter, nonce: dict[str, str]
) -> None:
    """By whoever has the payload; another payload gives back nothing."""
    unsigned = await adapter.build_transfer(scene.intent(), nonce)
    restarted = await scene.opened()
    other = scene.codec.build(
        scene.intent(SOL // 100 + 1),
        {
            "blockhash": _value(unsigned),
            "nonce_account": nonce["durable_nonce"],
            "nonce_slot": "1",
            "compute_unit_limit": "1000",
            "compute_unit_price": "0",
        },
    )
    await restarted.discard(other)
    with pytest.raises(NonceConflict):
        await restarted.build_transfer(scene.intent(), nonce)
    await restarted.discard(unsigned)
    await restarted.build_transfer(scene.intent(), nonce)
    await restarted.close()


async def test_expired_only_once_the_nonce_has_moved_on(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller, nonce: dict[str, str]
) -> None:
    """And then neither signed nor submitted any more, and reported when that is final."""
    late = await _signed(adapter, scene, nonce)
    await adapter.discard(late[0])
    first = await adapter.build_transfer(scene.intent(SOL // 50), nonce)
    await rpc.advance(500)
    assert (await adapter.get_status(late[1].txid, late[0])).state is TransactionState.UNKNOWN
    assert (await scene.settle(adapter, first)).state is TransactionState.CONFIRMED
    with pytest.raises(Expired, match="moved on"):
        await adapter.sign(late[0])
    await finalize(rpc)
    with pytest.raises(Expired, match="moved on"):
        await adapter.submit(late[1])
    expired = await adapter.get_status(late[1].txid, late[0])
    assert expired.state is TransactionState.EXPIRED
    assert nonce["durable_nonce"] in expired.detail
    states = [status.state async for status in adapter.stream_status(late[1].txid, late[0])]
    assert states == [TransactionState.EXPIRED]
    restarted = await scene.opened()
    with pytest.raises(OutcomeUnknown):
        await restarted.submit(late[1])
    assert (await restarted.get_status(late[1].txid, late[0])).state is TransactionState.EXPIRED
    await restarted.close()


async def test_signing_too_late_gives_the_nonce_back(
    scene: SolanaScene, adapter: SolanaAdapter, nonce: dict[str, str]
) -> None:
    """What can never be included holds nothing."""
    late = await _signed(adapter, scene, nonce)
    another = await scene.opened()
    scene.reservations._held.clear()
    await scene.settle(another, await another.build_transfer(scene.intent(SOL // 50), nonce))
    following = await another.build_transfer(scene.intent(SOL // 50), nonce)
    with pytest.raises(Expired):
        await adapter.sign(late[0])
    with pytest.raises(NonceConflict):
        await adapter.build_transfer(scene.intent(), nonce)
    await another.discard(following)
    assert (await adapter.build_transfer(scene.intent(), nonce)).payload != late[0].payload
    await another.close()


async def test_failed_transaction_advances_the_nonce(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller, nonce: dict[str, str]
) -> None:
    """It was paid for, so it cannot be tried again, and another one is needed."""
    intent = scene.intent(9 * SOL)
    unsigned = await adapter.build_transfer(intent, nonce)
    signed = await adapter.sign(unsigned)
    await rpc("devnet_dropTransactions", 10**6)
    await adapter.submit(signed)
    await rpc("devnet_dropTransactions", 0)
    await scene.settle(adapter, await adapter.build_transfer(scene.intent(2 * SOL), {}))
    async with asyncio.timeout(10):
        while (status := await adapter.get_status(signed.txid, unsigned)).state is not TransactionState.FAILED:
            await scene.advance()
            await asyncio.sleep(0.02)
    assert status.detail
    following = await adapter.build_transfer(scene.intent(), nonce)
    assert _value(following) != _value(unsigned)
    assert (await scene.settle(adapter, following)).state is TransactionState.CONFIRMED


async def test_nonce_accounts_of_others_are_refused(
    scene: SolanaScene, adapter: SolanaAdapter, nonce: dict[str, str]
) -> None:
    """Another authority, a wallet, nothing, and text."""
    await scene.fund(scene.address(3), SOL)
    theirs = replace(scene.intent(), source=scene.account(3).account)
    with pytest.raises(InvalidAddress, match="authority"):
        await adapter.build_transfer(theirs, nonce)
    for account in (scene.address(3), str(Keypair().pubkey())):
        with pytest.raises(InvalidAddress):
            await adapter.build_transfer(scene.intent(), {"durable_nonce": account})
    for account in (scene.address(0), scene.address(1)):
        with pytest.raises(InvalidAddress, match="no other part"):
            await adapter.build_transfer(scene.intent(), {"durable_nonce": account})
    with pytest.raises(Unsupported):
        await adapter.build_transfer(scene.intent(), {"durable_nonce": "mine"})


async def test_tokens_and_another_payer_with_a_nonce(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller, nonce: dict[str, str]
) -> None:
    """All of it in one transaction that waited."""
    issuer = await TokenIssuer(rpc).open()
    mint = await issuer.mint()
    await issuer.give(mint, scene.address(0), 7)
    await scene.fund(scene.address(2), SOL)
    asset = f"{scene.chain}/token:{mint}"
    intent = scene.intent(7, asset, memo="m" * 400, fee_payer=scene.account(2).account)
    unsigned = await adapter.build_transfer(intent, nonce)
    await rpc.advance(300)
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    (held,) = await adapter.get_balances(scene.address(1), [asset])
    assert held.amount == 7
    fees = [effect.source for effect in unsigned.effects if effect.kind is EffectKind.FEE]
    assert set(fees) == {scene.address(2)}


async def _signed(
    adapter: SolanaAdapter, scene: SolanaScene, nonce: dict[str, str]
) -> tuple[UnsignedTransaction, SignedTransaction]:
    unsigned = await adapter.build_transfer(scene.intent(), nonce)
    return unsigned, await adapter.sign(unsigned)


def _value(unsigned: UnsignedTransaction) -> str:

    return str(from_bytes_versioned(unsigned.payload).recent_blockhash)
