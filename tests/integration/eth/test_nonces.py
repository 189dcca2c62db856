"""Nonces on a real node: none is used twice, none is left out, whatever becomes of the transactions that took them."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import pytest

from keyquorum_eth.adapter import EthereumAdapter
from keyquorum_eth.codec import transaction_of
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import UnsignedTransaction
from keyquorum_plugin_api.errors import InsufficientFunds, NonceConflict
from keyquorum_plugin_api.testing import LocalSigner, MemoryReservations, SystemClock, refused
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from support.anvil import ETHER, Anvil, running_anvil
from support.ethereum_target import FINAL_CONFIRMATIONS, EthereumChainTarget

PAYMENTS = 200
PATIENCE_S = 60


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """A node that makes a block when it is told to."""
    with running_anvil("--no-mining") as anvil:
        yield anvil


@pytest.fixture
async def target(anvil: Anvil, http: aiohttp.ClientSession, request: pytest.FixtureRequest) -> EthereumChainTarget:
    target = EthereumChainTarget(request.node.name.encode(), anvil, http)
    await target.fund(target.account(0).account.address, 10 * ETHER)
    return target


@pytest.fixture
async def adapter(target: EthereumChainTarget) -> EthereumAdapter:
    return await target.adapter(LocalSigner(target.codec, [target.account(0)]))


def nonce_of(unsigned: UnsignedTransaction) -> int:
    return transaction_of(unsigned)[0].nonce


async def restarted(target: EthereumChainTarget) -> EthereumAdapter:
    """Another adapter on the same reservations, which remembers nothing else."""
    return await target.adapter(LocalSigner(target.codec, [target.account(0)]))


async def send(adapter: EthereumAdapter, unsigned: UnsignedTransaction) -> str:
    return await adapter.submit(await adapter.sign(unsigned))


async def test_two_hundred_concurrent_transfers(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """All from one account, while blocks are made: each nonce once, none left out, every one confirmed, all paid."""
    intent = transfer_intent(target)
    address = intent.source.address
    done = asyncio.Event()

    async def blocks() -> None:
        while not done.is_set():
            await target.rpc.mine()
            await asyncio.sleep(0.05)

    async def pay() -> tuple[int, str]:
        unsigned = await adapter.build_transfer(intent, {})
        txid = await send(adapter, unsigned)
        async for status in adapter.stream_status(txid, unsigned):
            last = status
        assert (last.state, last.reversible) == (TransactionState.CONFIRMED, False)
        return nonce_of(unsigned), txid

    miner = asyncio.create_task(blocks())
    async with asyncio.timeout(PATIENCE_S):
        paid = await asyncio.gather(*(pay() for _ in range(PAYMENTS)))
    done.set()
    await miner
    await adapter.close()
    assert sorted(nonce for nonce, _ in paid) == list(range(PAYMENTS))
    assert len({txid for _, txid in paid}) == PAYMENTS
    assert await target.rpc.balance(intent.destination) == PAYMENTS * intent.amount
    assert await target.rpc.count(address) == await target.rpc.count(address, "pending") == PAYMENTS


async def test_a_discarded_nonce_is_taken_first(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """Also while later ones wait in the pool for it: the next payment lets all of them go."""
    intent = transfer_intent(target)
    first, second, third = [await adapter.build_transfer(intent, {}) for _ in range(3)]
    assert [nonce_of(each) for each in (first, second, third)] == [0, 1, 2]
    for each in (first, third):
        await send(adapter, each)
    await adapter.discard(second)
    await target.advance()
    assert await target.rpc.count(intent.source.address) == 1
    fourth = await adapter.build_transfer(intent, {})
    assert nonce_of(fourth) == 1
    await send(adapter, fourth)
    assert nonce_of(await adapter.build_transfer(intent, {})) == 3
    await target.advance()
    assert await target.rpc.count(intent.source.address) == 3


async def test_a_restart_loses_no_nonce(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """What was built before is not built over, can still be sent, and can still be given back."""
    intent = transfer_intent(target)
    built = [await adapter.build_transfer(intent, {}) for _ in range(3)]
    await adapter.close()
    later = await restarted(target)
    assert nonce_of(await later.build_transfer(intent, {})) == 3
    await later.discard(built[1])
    assert nonce_of(await later.build_transfer(replace(intent, amount=intent.amount + 1), {})) == 1
    await send(later, built[0])
    with refused(NonceConflict):
        await send(later, built[1])
    await target.advance()
    assert await target.rpc.count(intent.source.address) == 1


async def test_a_lost_reservation_leaves_no_gap(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """The host forgot a nonce that was built and never broadcast, with later ones in the pool: it is found and filled."""
    intent = transfer_intent(target)
    built = [await adapter.build_transfer(intent, {}) for _ in range(3)]
    for each in built[1:]:
        await send(adapter, each)
    await adapter.close()
    target.reservations = MemoryReservations(SystemClock())
    later = await restarted(target)
    filler = await later.build_transfer(replace(intent, amount=intent.amount + 1), {})
    assert nonce_of(filler) == 0
    with refused(NonceConflict):  # what had the nonce before may not come back beside it
        await send(later, built[0])
    await send(later, filler)
    await target.advance()
    assert await target.rpc.count(intent.source.address) == 3
    await asyncio.sleep(0.15)  # what is known of the account is older than the poll interval
    assert nonce_of(await later.build_transfer(intent, {})) == 3


async def test_gateways_share_reservations(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """Two adapters build for one account at the same time: no nonce twice, none left out."""
    intent = transfer_intent(target)
    other = await restarted(target)
    built = await asyncio.gather(*(each.build_transfer(intent, {}) for _ in range(20) for each in (adapter, other)))
    assert sorted(map(nonce_of, built)) == list(range(40))
    assert len({each.payload for each in built}) == 40


async def test_a_nonce_is_not_guessed(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """An account that has paid before starts where it was, and what others sent with its key is counted."""
    intent = transfer_intent(target)
    for _ in range(2):
        await send(adapter, await adapter.build_transfer(intent, {}))
    await target.rpc("anvil_impersonateAccount", intent.source.address)
    elsewhere = {"from": intent.source.address, "to": intent.destination, "value": "0x1", "gas": "0x5208"}
    await target.rpc("eth_sendTransaction", elsewhere)
    await target.rpc("anvil_stopImpersonatingAccount", intent.source.address)
    later = await restarted(target)
    assert nonce_of(await later.build_transfer(intent, {})) == 3


async def test_pending_transactions_are_paid_for(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """What built and broadcast transactions will take is not spent again, and comes back when one is discarded."""
    intent = replace(transfer_intent(target), amount=4 * ETHER)
    first = await adapter.build_transfer(intent, {})
    second = await adapter.build_transfer(intent, {})
    with refused(InsufficientFunds):
        await adapter.build_transfer(intent, {})
    await send(adapter, first)
    with refused(InsufficientFunds):
        await adapter.build_transfer(intent, {})
    with refused(InsufficientFunds):  # also by one that has only the node's word for what is pending
        await (await restarted(target)).build_transfer(replace(intent, amount=7 * ETHER), {})
    await adapter.discard(second)
    assert nonce_of(await adapter.build_transfer(intent, {})) == 1


async def test_final_nonces_are_not_held_for_ever(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """Reservations end with the transactions that used them."""
    intent = transfer_intent(target)
    for _ in range(3):
        await send(adapter, await adapter.build_transfer(intent, {}))
    await target.rpc.mine(1 + FINAL_CONFIRMATIONS)
    await asyncio.sleep(0.15)  # what is known of the account is older than the poll interval
    last = await adapter.build_transfer(intent, {})
    held = await target.reservations.held(target.chain, intent.source.address)
    assert set(held) == {f"nonce:{nonce_of(last)}"} == {"nonce:3"}


async def test_replaced_and_discarded_replacements(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """A replacement may use the nonce after a restart, too; given back, it may not, and the original still may."""
    intent = transfer_intent(target)
    unsigned = await adapter.build_transfer(intent, {})
    await send(adapter, unsigned)
    newer = await adapter.build_replacement(intent, unsigned, {})
    old, new = transaction_of(unsigned)[0], transaction_of(newer)[0]
    assert new.nonce == old.nonce
    for name in ("max_fee_per_gas", "max_priority_fee_per_gas"):
        assert 8 * getattr(new, name) >= 9 * getattr(old, name)
    later = await restarted(target)
    await later.discard(newer)
    with refused(NonceConflict):
        await send(later, newer)
    assert await send(later, unsigned) == (await later.sign(unsigned)).txid
    cancellation = await later.build_cancellation(intent.source, unsigned, {})
    txid = await send(await restarted(target), cancellation)
    await target.advance()
    assert (await later.get_status(txid)).state is TransactionState.INCLUDED
    assert await target.rpc.balance(intent.destination) == 0


async def test_a_superseded_transaction_expires_when_nothing_can_bring_it_back(
    target: EthereumChainTarget, adapter: EthereumAdapter
) -> None:
    """EXPIRED is said once the other one is final, and not before: a reorganisation might still choose."""
    intent = transfer_intent(target)
    unsigned = await adapter.build_transfer(intent, {})
    txid = await send(adapter, unsigned)
    await send(adapter, await adapter.build_cancellation(intent.source, unsigned, {}))
    for _ in range(FINAL_CONFIRMATIONS - 1):
        await target.advance()
        assert (await adapter.get_status(txid, unsigned)).state is TransactionState.UNKNOWN
    await target.advance()
    assert (await adapter.get_status(txid, unsigned)).state is TransactionState.EXPIRED
    assert (await adapter.get_status(txid)).state is TransactionState.UNKNOWN
