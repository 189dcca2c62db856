"""What reaches and leaves watched addresses, on the real runtime, where Solana differs from other chains."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token import instructions as spl
from spl.token import models

from keyquorum_devnet.solana.server import Endpoint, Settings, running
from keyquorum_plugin_api.chain import ChainEvent
from keyquorum_plugin_api.errors import Expired, InvalidPayload, Unsupported
from keyquorum_plugin_api.testing.event_conformance import following
from keyquorum_sol.adapter import SolanaAdapter
from support.solana import SOL, SolanaRpcCaller
from support.solana_scene import SolanaScene
from support.solana_tokens import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID, TokenIssuer

FINALIZED_AFTER = 3


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with running(settings=Settings(slot_ms=0, finalized_after=FINALIZED_AFTER)) as endpoint:
        yield endpoint


@pytest.fixture
async def scene(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[SolanaScene]:
    async with aiohttp.ClientSession() as http:
        scene = SolanaScene(b"events", endpoint, http, rpc)
        await scene.fund(scene.address(0), 10 * SOL)
        await rpc.advance(FINALIZED_AFTER)
        yield scene


@pytest.fixture
async def adapter(scene: SolanaScene) -> AsyncIterator[SolanaAdapter]:
    adapter = await scene.opened(event_poll_interval_s=0.02, rebroadcast_interval_s=0.05)
    yield adapter
    await adapter.close()


async def until(rpc: SolanaRpcCaller, seen: list[ChainEvent], count: int) -> None:
    async with asyncio.timeout(15):
        while len(seen) < count:
            await rpc.advance()
            await asyncio.sleep(0.03)


async def listening(rpc: SolanaRpcCaller, scene: SolanaScene, seen: list[ChainEvent], address: str) -> None:
    """Returns once the stream is known to listen; its events so far are forgotten."""
    async with asyncio.timeout(15):
        while not seen:
            await scene.fund(address, SOL)
            await asyncio.sleep(0.05)
    await rpc.advance(FINALIZED_AFTER)
    count = -1
    while count != len(seen):
        count = len(seen)
        await asyncio.sleep(0.15)
    seen.clear()


@pytest.mark.parametrize("program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID], ids=["token", "token-2022"])
async def test_tokens_are_told_for_both_owners(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller, program: Pubkey
) -> None:
    """Amount by amount; the fee and the rent of the account that is made are the payer's lamports."""
    issuer = await TokenIssuer(rpc).open()
    mint = await issuer.mint(program)
    await issuer.give(mint, scene.address(0), 100, program)
    asset = f"{scene.chain}/token:{mint}"
    async with following(adapter, [scene.address(0), scene.address(1)]) as seen:
        await listening(rpc, scene, seen, scene.address(0))
        unsigned = await adapter.build_transfer(scene.intent(30, asset), {})
        before = (await adapter.get_balances(scene.address(0)))[0].amount
        await scene.settle(adapter, unsigned)
        after = (await adapter.get_balances(scene.address(0)))[0].amount
        await until(rpc, seen, 3)
        told = {(event.address, event.asset): event.amount for event in seen}
        assert told == {
            (scene.address(0), scene.asset): after - before,
            (scene.address(0), asset): -30,
            (scene.address(1), asset): 30,
        }


async def test_tokens_that_do_not_name_their_owner_are_told(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller
) -> None:
    """A plain mint into an account that exists names the account only; the account turns up while the stream is open."""
    issuer = await TokenIssuer(rpc).open()
    known, later = [await issuer.mint(), await issuer.mint()]
    await issuer.give(known, scene.address(1), 1)
    await rpc.advance(FINALIZED_AFTER)
    async with following(adapter, [scene.address(1)]) as seen:
        await listening(rpc, scene, seen, scene.address(1))
        for mint in (known, later, later):
            await issuer.give(mint, scene.address(1), 5)
            await rpc.advance(FINALIZED_AFTER)
        for mint in (known, later):
            await issuer.send([_plain_mint(issuer, mint, scene.key(1), 7)])
        await until(rpc, seen, 5)
        assert sorted((event.asset.rpartition(":")[2], event.amount) for event in seen) == sorted(
            [(str(known), 5), (str(known), 7), (str(later), 5), (str(later), 5), (str(later), 7)]
        )


async def test_a_cursor_resumes_within_a_slot(scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller) -> None:
    """Several deposits in one slot, from any of them on, none twice and none lost."""
    address = scene.address(1)
    async with following(adapter, [address]) as seen:
        await listening(rpc, scene, seen, address)
        for number in range(1, 6):
            await rpc("requestAirdrop", address, number * SOL)
        await until(rpc, seen, 5)
        first = list(seen)
    assert len({event.block for event in first}) == 1
    assert sorted(event.amount for event in first) == [number * SOL for number in range(1, 6)]
    for behind in range(5):
        async with following(adapter, [address], first[behind].cursor) as seen:
            await scene.fund(address, 77 * SOL)
            await until(rpc, seen, 5 - behind)
        assert seen[: 4 - behind] == first[behind + 1 :]
        assert seen[4 - behind].amount >= 77 * SOL


async def test_failed_transactions_cost_their_fee(
    scene: SolanaScene, adapter: SolanaAdapter, rpc: SolanaRpcCaller
) -> None:
    """Which is a payment like any other."""
    async with following(adapter, [scene.address(0)]) as seen:
        await listening(rpc, scene, seen, scene.address(0))
        held = (await adapter.get_balances(scene.address(0)))[0].amount
        failing = await adapter.build_transfer(scene.intent(held // 2 + SOL), {})
        signed = await adapter.sign(failing)
        await rpc("devnet_dropTransactions", 10**6)
        await adapter.submit(signed)
        await rpc("devnet_dropTransactions", 0)
        first = await adapter.build_transfer(scene.intent(held // 2), {})
        await scene.settle(adapter, first)
        async with asyncio.timeout(15):
            while signed.txid not in {event.txid for event in seen}:
                await rpc.advance()
                await asyncio.sleep(0.05)
    (fee,) = [event.amount for event in seen if event.txid == signed.txid]
    assert fee == -5_000


@pytest.mark.parametrize("cursor", ["x", "1.2.3", "1." + "2" * 88, "-1." + "2" * 88 + ".0", "1." + "0" * 88 + ".0"])
async def test_text_that_is_no_cursor_is_refused(adapter: SolanaAdapter, scene: SolanaScene, cursor: str) -> None:
    """It comes from clients."""
    with pytest.raises(InvalidPayload):
        await anext(adapter.stream_events([scene.address(0)], cursor))


async def test_cursor_before_the_nodes_memory_has_expired(adapter: SolanaAdapter, scene: SolanaScene) -> None:
    """The client is told that it missed something."""
    with pytest.raises(Expired):
        await anext(adapter.stream_events([scene.address(0)], f"3.{'2' * 88}.0"))


async def test_streams_watch_a_bounded_number(adapter: SolanaAdapter, scene: SolanaScene) -> None:
    """Each address costs requests."""
    with pytest.raises(Unsupported):
        await anext(adapter.stream_events([scene.address(index) for index in range(101)]))


def _plain_mint(issuer: TokenIssuer, mint: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    place = spl.get_associated_token_address(owner, mint, TOKEN_PROGRAM_ID)
    us = issuer.keys.pubkey()
    made = models.MintToParams(program_id=TOKEN_PROGRAM_ID, mint=mint, dest=place, mint_authority=us, amount=amount)
    return spl.mint_to(made)
