"""Who holds which coin, for how long, and who may give it back."""

import asyncio
from collections.abc import Sequence

import pytest

from keyquorum_btc.codec import BitcoinCodec
from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.reserved import BUILT_TTL_S, OWNER_CHARS_MAX, SIGNED_TTL_S, CoinReservations, new_owner
from keyquorum_plugin_api.codec import UnsignedTransaction
from keyquorum_plugin_api.errors import Expired, InvalidPayload, NonceConflict
from keyquorum_plugin_api.testing import MemoryReservations
from support.bitcoin_codec_target import BitcoinCodecTarget
from support.manual_clock import ManualClock

TARGET = BitcoinCodecTarget()
SOURCE = TARGET.account(0).account
COINS = [Coin(f"{number:02x}" * 32, 0, 10_000) for number in range(1, 5)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(clock: ManualClock) -> MemoryReservations:
    return MemoryReservations(clock)


@pytest.fixture
def held(memory: MemoryReservations) -> CoinReservations:
    return CoinReservations(memory, TARGET.chain)


def spending(coins: Sequence[Coin], fee: int = 500) -> UnsignedTransaction:
    """A payload that spends these coins."""
    metadata = {"coins": format_coins(coins), "fee": str(fee)}
    return BitcoinCodec().build_cancellation(SOURCE, TARGET.chain, metadata)


async def built(held: CoinReservations, unsigned: UnsignedTransaction, coins: Sequence[Coin], owner: str) -> None:
    assert await held.hold(SOURCE.address, [coin.outpoint for coin in coins], owner)
    await held.record(unsigned, owner)


async def test_all_coins_or_none(held: CoinReservations) -> None:
    """Who loses one gives back the others, and leaves what somebody else holds."""
    assert await held.hold(SOURCE.address, [COINS[1].outpoint], new_owner())
    assert not await held.hold(SOURCE.address, [coin.outpoint for coin in COINS], new_owner())
    assert await held.taken(SOURCE.address) == {COINS[1].outpoint}


async def test_of_two_that_want_the_same_coins_one_gets_them(held: CoinReservations) -> None:
    """Whoever asks at the same time."""
    names = [coin.outpoint for coin in COINS]
    answers = await asyncio.gather(*(held.hold(SOURCE.address, names, new_owner()) for _ in range(8)))
    assert sum(answers) == 1


async def test_cancelled_builds_hold_nothing(held: CoinReservations, memory: MemoryReservations) -> None:
    """A client that goes away in the middle of a reservation."""
    reached, reserve = asyncio.Event(), memory.reserve

    async def slow(chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        answer = await reserve(chain, account, item, owner, ttl_s)
        reached.set()
        await asyncio.sleep(3600)
        return answer

    memory.reserve = slow  # type: ignore[method-assign]
    task = asyncio.create_task(held.hold(SOURCE.address, [coin.outpoint for coin in COINS], new_owner()))
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not await held.taken(SOURCE.address)


async def test_coins_are_held_until_a_signed_transaction_has_left_every_mempool(
    held: CoinReservations, clock: ManualClock
) -> None:
    """A day to be approved and signed, and from then on longer than any node keeps what waits."""
    unsigned = spending(COINS[:2])
    await built(held, unsigned, COINS[:2], new_owner())
    await clock.advance(BUILT_TTL_S - 1)
    await held.extend(unsigned)
    await clock.advance(SIGNED_TTL_S - 1)
    assert {coin.outpoint for coin in COINS[:2]} < await held.taken(SOURCE.address)
    await clock.advance(2)
    assert not await held.taken(SOURCE.address)


async def test_what_is_no_longer_held_is_not_signed(held: CoinReservations, clock: ManualClock) -> None:
    """Too late, discarded, or its coin taken by another: built again, never signed."""
    unsigned = spending(COINS[:2])
    with pytest.raises(Expired):
        await held.extend(unsigned)
    await built(held, unsigned, COINS[:2], new_owner())
    await held.release(unsigned)
    with pytest.raises(Expired):
        await held.extend(unsigned)
    await held.record(unsigned, new_owner())
    assert await held.hold(SOURCE.address, [COINS[0].outpoint], new_owner())
    with pytest.raises(Expired):
        await held.extend(unsigned)


async def test_one_payload_is_built_once(held: CoinReservations) -> None:
    """The same bytes are the same payment."""
    unsigned = spending(COINS[:1])
    await held.record(unsigned, new_owner())
    with pytest.raises(NonceConflict):
        await held.record(unsigned, new_owner())


async def test_replacement_gives_back_what_it_added_alone(held: CoinReservations) -> None:
    """The coins of what waits stay where they are; the replacement may use them, and nobody else."""
    old, newer = spending(COINS[:2]), spending(COINS[:3], fee=2_000)
    owner = new_owner()
    await built(held, old, COINS[:2], owner)
    await built(held, newer, COINS[2:3], new_owner(owner))
    await held.extend(newer)
    await held.extend(old)
    await held.release(newer)
    assert COINS[2].outpoint not in await held.taken(SOURCE.address)
    await held.extend(old)
    with pytest.raises(Expired):
        await held.extend(newer)


async def test_settled_replacement_frees_the_coins_of_both(held: CoinReservations) -> None:
    """What was spent needs no reservation."""
    old, newer = spending(COINS[:2]), spending(COINS[:3], fee=2_000)
    owner = new_owner()
    await built(held, old, COINS[:2], owner)
    await built(held, newer, COINS[2:3], new_owner(owner))
    await held.settle(newer)
    await held.release(old)
    assert not await held.taken(SOURCE.address)


def test_replacements_of_replacements_have_an_end() -> None:
    """Names of owners do not grow for ever."""
    owner = ""
    while len(owner) <= OWNER_CHARS_MAX - 25:
        owner = new_owner(owner)
    with pytest.raises(InvalidPayload):
        new_owner(owner)
