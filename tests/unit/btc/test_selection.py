"""Coin selection: properties that hold for any coins, and cases that can be checked in the head."""

import random
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import INPUTS_MAX
from keyquorum_btc.selection import Target, select, target_of
from keyquorum_btc.selection.branch_and_bound import branch_and_bound
from keyquorum_btc.selection.candidates import Payment, Selection, by_value
from keyquorum_btc.selection.fallbacks import largest_first, single_random_draw
from keyquorum_btc.sizes import CHANGE_DUST_LIMIT, CHANGE_WEIGHT, transaction_fee, transaction_weight
from keyquorum_plugin_api.errors import InsufficientFunds, InvalidAmount, InvalidPayload
from support.bitcoin_codec_target import txid

P2TR = 34
RATE = 10_000  # 10 sat/vB
INPUT_FEE = 575  # 57.5 vB


def coins_of(*amounts: int) -> list[Coin]:
    """A coin per amount."""
    return [Coin(txid(number), number, amount) for number, amount in enumerate(amounts)]


def first(_: int) -> int:
    """A generator that always draws what comes first."""
    return 0


def chosen(coins, amount, *, rate=RATE, long_term=RATE, randbelow=first, required=(), scripts=(P2TR,)) -> Selection:
    return select(
        coins, Target(amount, scripts), rate, long_term_fee_rate=long_term, randbelow=randbelow, required=required
    )


def fee_of(inputs: int, *, change: bool, rate: int = RATE, scripts: tuple[int, ...] = (P2TR,)) -> int:
    """What a transaction owes, by its size alone."""
    return transaction_fee(rate, transaction_weight(inputs, scripts) + (CHANGE_WEIGHT if change else 0))


wallets = st.lists(st.integers(1, 10**7) | st.integers(1, 5_000), min_size=1, max_size=40).map(lambda a: coins_of(*a))
rates = st.sampled_from([0, 1, 500, 1_000, 2_345, 10_000, 99_999, 500_000])
script_lengths = st.lists(st.sampled_from([22, 23, 25, 34, 83]), min_size=1, max_size=2).map(tuple)


@settings(max_examples=300, deadline=None)
@given(wallets, st.integers(1, 10**8), rates, rates, script_lengths, st.integers(0, 2**32), st.data())
def test_every_selection_is_sound(coins, amount, rate, long_term, scripts, seed, data):
    """Value is conserved, the fee is paid, inputs are few, known and not repeated, change is none or no dust; and what
    is given away for want of change is less than change would have cost or been worth."""
    required = data.draw(st.lists(st.sampled_from(coins), unique=True, max_size=3))

    def once(listed) -> Selection:
        draw = random.Random(seed).randrange
        return chosen(
            listed, amount, rate=rate, long_term=long_term, randbelow=draw, required=required, scripts=scripts
        )

    try:
        found = once(coins)
    except InsufficientFunds:
        richest = sorted((c for c in coins if c not in required), key=lambda c: -c.amount)
        payment = Payment(Target(amount, scripts), rate, long_term, tuple(required))
        worth = [payment.effective(c) for c in richest if payment.effective(c) > 0][: INPUTS_MAX - len(required)]
        assert sum(worth) < payment.goal
        return
    assert sum(coin.amount for coin in found.coins) == amount + found.fee + found.change
    assert 0 < len(found.coins) <= INPUTS_MAX
    assert len({coin.outpoint for coin in found.coins}) == len(found.coins)
    assert set(required) <= set(found.coins) <= set(coins)
    assert list(found.coins) == sorted(found.coins)
    owed = fee_of(len(found.coins), change=bool(found.change), rate=rate, scripts=scripts)
    if found.change:
        assert found.change >= CHANGE_DUST_LIMIT
        assert found.fee == owed
    else:
        payment = Payment(Target(amount, scripts), rate, long_term, ())
        assert owed <= found.fee < owed + payment.change_fee + payment.change_min + 1
    assert once(coins[::-1]) == found == once(coins)


@settings(max_examples=150, deadline=None)
@given(wallets, st.integers(1, 10**7), rates, rates, st.integers(0, 2**32))
def test_least_waste_is_chosen(coins, amount, rate, long_term, seed):
    """No algorithm alone would have wasted less."""
    payment = Payment(Target(amount, (P2TR,)), rate, long_term, ())
    pool = by_value(coins, payment)
    draws = [
        branch_and_bound(pool, payment),
        single_random_draw(pool, payment, random.Random(seed).randrange),
        largest_first(pool, payment),
    ]
    candidates = [payment.selection(each, "") for each in draws if each is not None]
    wastes = [each.waste for each in candidates if each is not None]
    assume(wastes)
    found = chosen(coins, amount, rate=rate, long_term=long_term, randbelow=random.Random(seed).randrange)
    assert found.waste == min(wastes)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(600, 3_000), min_size=1, max_size=9), st.integers(400, 12_000), rates)
def test_branch_and_bound_finds_the_best_there_is(amounts, amount, long_term):
    """Against all subsets: it finds a changeless one if there is one, and the least wasteful."""
    coins = coins_of(*amounts)
    payment = Payment(Target(amount, (P2TR,)), 1_000, long_term, ())
    pool = by_value(coins, payment)
    fits = []
    for mask in range(1, 1 << len(pool)):
        subset = [coin for bit, coin in enumerate(pool) if mask >> bit & 1]
        value = sum(map(payment.effective, subset))
        # A superset of a set that suffices is not looked at: it would only give more away.
        minimal = all(value - payment.effective(coin) < payment.goal for coin in subset)
        if payment.goal <= value <= payment.goal + payment.change_cost and minimal:
            fits.append(len(subset) * payment.input_waste + value - payment.goal)
    found = branch_and_bound(pool, payment)
    assert (found is not None) == bool(fits)
    if found is not None:
        value = sum(map(payment.effective, found))
        assert len(found) * payment.input_waste + value - payment.goal == min(fits)


def test_exact_match_needs_no_change():
    """Two coins pay to the satoshi, though one alone could pay with change."""
    exact = 50_000 + fee_of(2, change=False) + 3  # satoshi, for rounding
    found = chosen(coins_of(200_000, exact - 20_000, 20_000, 7_000), 50_000)
    assert (found.algorithm, found.change) == ("branch and bound", 0)
    assert sorted(coin.amount for coin in found.coins) == sorted([20_000, exact - 20_000])
    assert found.fee == fee_of(2, change=False) + 3


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("rate", [1_000, 1_001, 12_345])
def test_everything_can_be_sent(count, rate):
    """All coins less exactly what the transaction owes; one satoshi more cannot be."""
    coins = coins_of(*range(100_000, 100_000 + count))
    most = sum(coin.amount for coin in coins) - fee_of(count, change=False, rate=rate)
    found = chosen(coins, most, rate=rate)
    assert (len(found.coins), found.change, found.fee) == (count, 0, fee_of(count, change=False, rate=rate))
    with pytest.raises(InsufficientFunds):
        chosen(coins, most + 1, rate=rate)


def test_one_large_coin_makes_change():
    """To the satoshi: amount, fee for one input and two outputs, and the rest."""
    found = chosen(coins_of(1_000_000), 100_000)
    assert (found.fee, found.change) == (1_540, 1_000_000 - 100_000 - 1_540)
    assert found.waste == 430 + INPUT_FEE


def test_dust_goes_to_the_fee():
    """Change of 329 satoshi is none; 30 more than change would cost and be worth make one."""
    bare, with_change = fee_of(1, change=False), fee_of(1, change=True)
    short = chosen(coins_of(100_000 + with_change + 329), 100_000)
    assert (short.change, short.fee) == (0, with_change + 329)
    assert short.waste == with_change - bare + 329
    enough = chosen(coins_of(100_000 + with_change + INPUT_FEE + 1), 100_000)
    assert (enough.change, enough.fee) == (INPUT_FEE + 1, with_change)


def test_cheap_times_gather_coins_and_dear_times_spare_them():
    """The long-term rate says which: the same wallet pays with one coin or with many."""
    coins = coins_of(100_000, *[13_000] * 8)
    amount = 90_000
    cheap = chosen(coins, amount, rate=1_000, long_term=50_000, randbelow=lambda n: n - 1)
    dear = chosen(coins, amount, rate=50_000, long_term=1_000, randbelow=lambda n: n - 1)
    assert len(cheap.coins) > len(dear.coins) == 1


def test_coins_that_cost_more_than_they_hold_stay():
    """At 10 sat/vB, 575 satoshi cannot pay for themselves; 576 can."""
    with pytest.raises(InsufficientFunds, match="do not pay"):
        chosen(coins_of(*[INPUT_FEE] * 16), 330)
    found = chosen(coins_of(50_000, INPUT_FEE, INPUT_FEE + 1), 30_000)
    assert all(coin.amount > INPUT_FEE for coin in found.coins)


def test_sixteen_coins_at_most():
    """Enough in all, but not in sixteen: said so. Sixteen of a thousand are found at once."""
    with pytest.raises(InsufficientFunds, match="more than 16 coins"):
        chosen(coins_of(*[10_000] * 100), 500_000)
    started = time.process_time()
    found = chosen(coins_of(*[10_000] * 1_000), 145_000, randbelow=random.Random(1).randrange)
    assert len(found.coins) == 16
    assert time.process_time() - started < 5


def test_worst_wallet_ends():
    """Amounts that are powers of two times a common part make the tree as deep as it gets; tries are bounded."""
    coins = coins_of(*[(1 << each) * 1_000 + (1 << 14) for each in range(30)])
    started = time.process_time()
    assert chosen(coins, 3_333_333, randbelow=random.Random(2).randrange).coins
    assert time.process_time() - started < 5


def test_required_coins_are_spent():
    """A replacement spends what it replaces, alone if that is enough, and more if not."""
    coins = coins_of(50_000, 60_000, 70_000)
    alone = chosen(coins, 30_000, required=[coins[0]])
    assert alone.coins == (coins[0],)
    more = chosen(coins, 100_000, required=[coins[0]])
    assert coins[0] in more.coins
    assert len(more.coins) == 2
    elsewhere = Coin(txid(99), 0, 40_000)  # one that the node no longer lists
    assert elsewhere in chosen(coins, 30_000, required=[elsewhere]).coins


def test_random_draw_keeps_the_most_valuable():
    """Where sixteen do not pay, the least valuable goes back."""
    coins = coins_of(*[20_000] * 16, *[1_000] * 30)
    payment = Payment(Target(200_000, (P2TR,)), 1_000, 1_000, ())
    drawn = single_random_draw(coins, payment, lambda n: n - 1)  # the small ones come first
    assert drawn is not None
    assert sorted(coin.amount for coin in drawn) == [1_000] * 6 + [20_000] * 10


def test_branch_and_bound_counts_inputs():
    """What only seventeen coins would pay exactly is not paid exactly; sixteen are."""
    for count in (16, 17):
        payment = Payment(Target(count * 9_000, (P2TR,)), 1_000, 1_000, ())
        value = -(-payment.goal // count) + 58  # 57.5 vB
        found = branch_and_bound(coins_of(*[value] * 20), payment)
        assert (found is not None) == (count == 16)


def test_randomness_is_the_callers():
    """Another generator draws other coins; without one there is no draw."""
    coins = coins_of(*range(200_000, 240_000, 1_000))
    draws = {chosen(coins, 100_000, randbelow=random.Random(seed).randrange).coins for seed in range(20)}
    assert len(draws) > 5

    def broken(_: int) -> int:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError):
        chosen(coins, 100_000, randbelow=broken)


def test_nonsense_is_refused():
    """Coins that are listed twice, amounts of nothing, more required coins than a transaction has inputs."""
    (coin,) = coins_of(50_000)
    with pytest.raises(InvalidPayload, match="twice"):
        chosen([coin, Coin(coin.txid, coin.vout, 60_000)], 1_000)
    with pytest.raises(InvalidPayload, match="at most 16"):
        chosen([], 1_000, required=coins_of(*[50_000] * 17))
    for amount in (0, -1):
        with pytest.raises(InvalidAmount):
            chosen([coin], amount)
    with pytest.raises(InsufficientFunds):
        chosen([], 1_000)


def test_target_counts_every_script():
    """Destination and memo."""
    assert target_of(bytes(22), 5) == Target(5, (22,))
    assert target_of(bytes(34), 5, "ü" * 40) == Target(5, (34, 83))
