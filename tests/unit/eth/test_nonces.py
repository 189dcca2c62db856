"""The nonce allocator in front of a host and a node that fail at the wrong moment."""

import asyncio
from collections.abc import Mapping

import aiohttp
import pytest

from keyquorum_eth.heads import Heads
from keyquorum_eth.ledger import Cost
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.nonces import BUILT_TTL_S, IN_FLIGHT_MAX, SENT_TTL_S, NonceAllocator
from keyquorum_plugin_api.errors import ChainUnavailable, NonceConflict
from keyquorum_plugin_api.testing import MemoryReservations, RecordingLogger, refused
from support.anvil import CHAIN
from support.ethereum_script import block
from support.manual_clock import ManualClock
from support.scripted_rpc import ScriptedNode, error, result

ADDRESS = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
COST = Cost(5)


class SlowReservations(MemoryReservations):
    """A host whose writes can be held up, or fail."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def reserve(self, chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        granted = await super().reserve(chain, account, item, owner, ttl_s)
        await self.open.wait()
        if self.broken:
            raise OSError("the disk is full")
        return granted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reservations(clock: ManualClock) -> SlowReservations:
    return SlowReservations(clock)


@pytest.fixture
def nonces(
    node: EthereumNode,
    script: ScriptedNode,
    http: aiohttp.ClientSession,
    clock: ManualClock,
    reservations: SlowReservations,
) -> NonceAllocator:
    account(script, 5)
    script.says("eth_getBlockByNumber", result(block()))
    heads = Heads(node, http, None, clock, RecordingLogger(), age_s_max=1.0)
    return NonceAllocator(node, heads, reservations, clock, CHAIN, age_s_max=1.0)


def account(script: ScriptedNode, count: int) -> None:
    """An account of which so many transactions are included, and final."""
    script.says("eth_getTransactionCount", result(hex(count)))
    script.says("eth_getBalance", result("0x64"))


async def take(nonces: NonceAllocator, payload: bytes = b"payload") -> int:
    """The next nonce, kept."""
    ledger = await nonces.ledger(ADDRESS)
    hold = nonces.hold(ledger, ledger.next_nonce(), payload, COST)
    assert await nonces.kept(ledger, hold)
    return hold.nonce


async def held(reservations: MemoryReservations) -> Mapping[str, str]:
    return await reservations.held(CHAIN, ADDRESS)


async def test_a_node_that_fails_gives_no_nonce(
    nonces: NonceAllocator, script: ScriptedNode, reservations: SlowReservations
) -> None:
    """Neither the first one nor any other; when it is back, the right one."""
    script.says("eth_getTransactionCount", error(-32000, "header not found"))
    with refused(ChainUnavailable):
        await take(nonces)
    assert not await held(reservations)
    account(script, 5)
    assert await take(nonces) == 5


async def test_what_the_host_does_not_write_is_not_held(nonces: NonceAllocator, reservations: SlowReservations) -> None:
    """A build that fails or is left while the host writes gives its nonce back, in memory and on disk."""
    reservations.broken = True
    with pytest.raises(OSError, match="disk"):
        await take(nonces)
    reservations.broken = False
    assert not await held(reservations)
    reservations.open.clear()
    left = asyncio.create_task(take(nonces))
    while not await held(reservations):
        await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    reservations.open.set()
    assert not await held(reservations)
    assert await take(nonces) == 5


async def test_equal_payloads_exclude_each_other(
    nonces: NonceAllocator,
    reservations: SlowReservations,
    node: EthereumNode,
    http: aiohttp.ClientSession,
    clock: ManualClock,
) -> None:
    """Two gateways that build the same payload at the same time do not both get its nonce."""
    heads = Heads(node, http, None, clock, RecordingLogger(), age_s_max=1.0)
    other = NonceAllocator(node, heads, reservations, clock, CHAIN, age_s_max=1.0)
    theirs = await other.ledger(ADDRESS)  # before ours is written
    assert await take(nonces) == 5
    assert theirs.next_nonce() == 5
    assert not await other.kept(theirs, other.hold(theirs, 5, b"payload", COST))
    assert theirs.next_nonce() == 6


async def test_a_build_that_nobody_signs_frees_its_nonce(
    nonces: NonceAllocator, clock: ManualClock, reservations: SlowReservations
) -> None:
    """After an hour; its bytes are refused from the moment on at which another payload has the nonce."""
    assert await take(nonces, b"abandoned") == 5
    await clock.advance(BUILT_TTL_S + 1)
    assert await take(nonces, b"another") == 5
    with refused(NonceConflict):
        await nonces.claim(ADDRESS, 5, b"abandoned", COST)
    claim = await nonces.claim(ADDRESS, 5, b"another", COST)
    claim.sent()
    await clock.advance(BUILT_TTL_S + 1)
    assert await take(nonces, b"next") == 6
    await clock.advance(SENT_TTL_S + 1)
    assert not await held(reservations)


async def test_a_claim_is_undone_by_what_it_proves(nonces: NonceAllocator, reservations: SlowReservations) -> None:
    """Not sent: bytes from elsewhere give their nonce back, our own keep it. Refused: both do. Sent: neither."""
    await (await nonces.claim(ADDRESS, 9, b"elsewhere", COST)).not_sent()
    assert not await held(reservations)
    assert await take(nonces, b"ours") == 5
    await (await nonces.claim(ADDRESS, 5, b"ours", COST)).not_sent()
    assert set(await held(reservations)) == {"nonce:5"}
    await (await nonces.claim(ADDRESS, 5, b"ours", COST)).refused()
    assert not await held(reservations)
    assert await take(nonces, b"ours") == 5
    claim = await nonces.claim(ADDRESS, 5, b"ours", COST)
    claim.sent()
    await claim.refused()
    await nonces.give_back(ADDRESS, 5, b"ours")
    assert set(await held(reservations)) == {"nonce:5"}


async def test_another_payload_gives_nothing_back(nonces: NonceAllocator, reservations: SlowReservations) -> None:
    """A payload that never had the nonce cannot free it, before or after a restart."""
    assert await take(nonces, b"ours") == 5
    await nonces.give_back(ADDRESS, 5, b"theirs")
    await nonces.give_back(ADDRESS, 6, b"ours")
    assert set(await held(reservations)) == {"nonce:5"}


async def test_odd_reservations_are_passed_over(nonces: NonceAllocator, reservations: SlowReservations) -> None:
    """Items of another kind or form hold no nonce."""
    for item in ("nonce:", "nonce:x", "nonce:-5", "nonce:\u0665", "coin:5", "nonce:6"):
        await reservations.reserve(CHAIN, ADDRESS, item, "somebody", 60)
    assert [await take(nonces, str(number).encode()) for number in range(2)] == [5, 7]


async def test_waiting_transactions_are_limited(nonces: NonceAllocator) -> None:
    """An account cannot pile up more than a node could keep."""
    ledger = await nonces.ledger(ADDRESS)
    for number in range(IN_FLIGHT_MAX):
        nonces.hold(ledger, 5 + number, str(number).encode(), COST)
    with refused(NonceConflict):
        nonces.hold(ledger, ledger.next_nonce(), b"one more", COST)


async def test_sums_of_promises_are_exact(nonces: NonceAllocator, script: ScriptedNode, clock: ManualClock) -> None:
    """Counted one by one as they come and go, and anew with each look at the account."""
    ledger = await nonces.ledger(ADDRESS)
    holds = [nonces.hold(ledger, 5 + number, str(number).encode(), Cost(number, b"t", 1)) for number in range(4)]
    ledger.tokens[b"t"] = 10
    assert (ledger.spendable(None), ledger.spendable(b"t")) == (100 - 6, 6)
    assert ledger.spendable(None, without=8) == 100 - 3
    ledger.drop(holds[3])
    ledger.drop(holds[3])
    ledger.raise_cost(holds[0], Cost(50))
    assert (ledger.spendable(None), ledger.spendable(b"t")) == (100 - 53, 7)
    account(script, 6)
    await clock.advance(2)
    await nonces.ledger(ADDRESS)
    assert ledger.spendable(None) == 100 - 3
    assert set(ledger.holds) == {6, 7}
