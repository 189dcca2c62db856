"""Another account of the key pays the network: both sign, in the message's order, and nobody else can."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import (
    InsufficientFunds,
    InvalidAddress,
    InvalidPayload,
    SignatureInvalid,
)
from keyquorum_sol.adapter import SolanaAdapter
from support.solana import SOL, SolanaRpcCaller
from support.solana_scene import SolanaScene
from support.solana_target import RENT_EXEMPT


@pytest.fixture
async def scene(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[SolanaScene]:
    async with aiohttp.ClientSession() as http:
        scene = SolanaScene(b"payer", endpoint, http, rpc)
        await scene.fund(scene.address(0), SOL)
        yield scene


@pytest.fixture
async def adapter(scene: SolanaScene) -> AsyncIterator[SolanaAdapter]:
    adapter = await scene.opened()
    yield adapter
    await adapter.close()


async def test_source_can_be_emptied_to_the_last_lamport(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """As the fee is another's."""
    await scene.fund(scene.address(2), SOL)
    intent = scene.intent(SOL, fee_payer=scene.account(2).account)
    unsigned = await adapter.build_transfer(intent, {})
    assert [request.path for request in unsigned.requests] == [(2,), (0,)]
    assert unsigned.effects[1].amount == 10_000
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    assert [(await adapter.get_balances(scene.address(index)))[0].amount for index in (0, 1, 2)] == [
        0,
        SOL,
        SOL - 10_000,
    ]


async def test_payer_may_receive(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """An account that pays for what it is given."""
    await scene.fund(scene.address(2), SOL)
    intent = scene.intent(SOL // 2, destination=scene.address(2), fee_payer=scene.account(2).account)
    unsigned = await adapter.build_transfer(intent, {})
    assert (await scene.settle(adapter, unsigned)).state is TransactionState.CONFIRMED
    assert (await adapter.get_balances(scene.address(2)))[0].amount == SOL + SOL // 2 - 10_000


@pytest.mark.parametrize("held", [0, RENT_EXEMPT, RENT_EXEMPT + 9_999])
async def test_payer_that_cannot_pay_is_refused(scene: SolanaScene, adapter: SolanaAdapter, held: int) -> None:
    """Or that would be left below its rent exemption; with nothing reserved."""
    payer = scene.account(3).account
    if held:
        await scene.fund(payer.address, held)
    with pytest.raises(InsufficientFunds, match="payer"):
        await adapter.build_transfer(scene.intent(fee_payer=payer), {})
    assert not await scene.reservations.held(scene.chain, scene.address(0))
    await scene.fund(payer.address, RENT_EXEMPT + 10_000)
    await adapter.build_transfer(scene.intent(fee_payer=payer), {})


async def test_payer_is_neither_the_source_nor_a_stranger(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """An address that is not its key's, and the source once more."""
    with pytest.raises(InvalidAddress, match="without being named"):
        await adapter.build_transfer(scene.intent(fee_payer=scene.account(0).account), {})
    mixed = replace(scene.account(2).account, address=scene.address(3))
    with pytest.raises(InvalidAddress):
        await adapter.build_transfer(scene.intent(fee_payer=mixed), {})


async def test_signatures_have_their_places(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """The payer's first, which names the transaction; swapped, one missing, or one of a stranger: refused."""
    await scene.fund(scene.address(2), SOL)
    unsigned = await adapter.build_transfer(scene.intent(fee_payer=scene.account(2).account), {})
    payers, sources = (scene.account(index).sign(unsigned.requests[0]) for index in (2, 0))
    signed = scene.codec.combine(unsigned, [payers, sources])
    assert signed.txid == str(VersionedTransaction.from_bytes(signed.raw).signatures[0])
    assert all(VersionedTransaction.from_bytes(signed.raw).verify_with_results())
    strangers = scene.account(1).sign(unsigned.requests[0])
    for wrong in (
        [sources, payers],
        [payers],
        [sources],
        [payers, payers],
        [payers, strangers],
        [payers, sources, sources],
    ):
        with pytest.raises(SignatureInvalid):
            scene.codec.combine(unsigned, wrong)
    swapped = replace(unsigned, requests=tuple(reversed(unsigned.requests)))
    with pytest.raises(InvalidPayload):
        scene.codec.combine(swapped, [sources, payers])


async def test_both_must_be_the_keys_own(scene: SolanaScene, adapter: SolanaAdapter) -> None:
    """A payload that an account of somebody else signs, too, is not for this key."""
    await scene.fund(scene.address(2), SOL)
    unsigned = await adapter.build_transfer(scene.intent(fee_payer=scene.account(2).account), {})
    source, payer, other = (scene.account(index).account for index in (0, 2, 3))
    assert scene.codec.decode(unsigned.payload, scene.chain, [other, source, payer]).requests == unsigned.requests
    for accounts in ([source], [payer], [source, other], [replace(payer, public_key=other.public_key), source]):
        with pytest.raises(InvalidPayload):
            scene.codec.decode(unsigned.payload, scene.chain, accounts)
