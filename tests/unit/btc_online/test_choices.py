"""Which coins are offered and what is paid, for transfers, replacements and children."""

from itertools import pairwise

import pytest

from keyquorum_btc.coin import Coin
from keyquorum_btc.options import Options
from keyquorum_btc.plans import Pool, at_rate, give_back, pay
from keyquorum_btc.replacement import Bar, Stuck
from keyquorum_btc.selection import Target
from keyquorum_btc.shelf import OFFER_WHOLE_MAX, Shelf
from keyquorum_btc.sizes import CHANGE_DUST_LIMIT, transaction_weight, vsize
from keyquorum_plugin_api.errors import InsufficientFunds, Unsupported


def coins(*amounts: int, first: int = 1) -> tuple[Coin, ...]:
    return tuple(Coin(f"{number:064x}", 0, amount) for number, amount in enumerate(amounts, first))


def size_of(inputs: int, *scripts: int) -> int:
    return vsize(transaction_weight(inputs, scripts))


def test_unconfirmed_change_is_the_last_resort() -> None:
    """Only where confirmed coins do not pay."""
    pool = Pool((), coins(50_000), coins(60_000, first=9))
    target = Target(40_000, (34,))
    assert pay(target, pool, 1_000, at_rate(1_000)).coins == pool.confirmed
    both = pay(Target(90_000, (34,)), pool, 1_000, at_rate(1_000))
    assert set(both.coins) == {*pool.confirmed, *pool.change}
    with pytest.raises(InsufficientFunds):
        pay(Target(110_000, (34,)), pool, 1_000, at_rate(1_000))


@pytest.mark.parametrize("rate", [1_000, 5_500, 60_000])
@pytest.mark.parametrize("floor", [0, 500, 4_000, 30_000])
def test_fee_reaches_what_is_asked_for(rate: int, floor: int) -> None:
    """Rate and floor both, and what is left is change that is no dust, or none."""
    pool = Pool(coins(30_000), coins(20_000, 25_000, 80_000, 200_000, first=5), ())
    target = Target(28_000, (34,))

    def least(size: int) -> int:
        return floor + at_rate(rate)(size)

    plan = pay(target, pool, rate, least)
    change = sum(coin.amount for coin in plan.coins) - target.amount - plan.fee
    assert change == 0 or change >= CHANGE_DUST_LIMIT
    assert plan.fee >= least(size_of(len(plan.coins), *target.script_bytes, *([34] if change else [])))
    assert pool.required[0] in plan.coins


def test_what_returns_adds_as_few_coins_as_it_takes() -> None:
    """A coin that is worth less than its fee is helped by the largest one."""
    pool = Pool(coins(600), coins(1_000, 90_000, first=3), coins(10**6, first=9))
    plan = give_back(pool, at_rate(10_000))
    assert {coin.amount for coin in plan.coins} == {600, 90_000}
    assert plan.fee == at_rate(10_000)(size_of(2, 34))
    assert give_back(Pool(coins(60_000), (), ()), at_rate(1_000)).fee == size_of(1, 34)
    with pytest.raises(InsufficientFunds):
        give_back(Pool(coins(600), coins(700, first=3), ()), at_rate(10_000))


def test_replacement_pays_for_what_it_evicts_and_for_its_relay() -> None:
    """BIP125 rules 3 and 4."""
    assert Bar(1_000, 1_000).least_fee(150) == 1_150
    assert Bar(1_000, 100).least_fee(150) == 1_015
    assert Bar(1_000, 0).least_fee(150) == 1_001


def test_child_pays_for_its_parents_and_for_itself() -> None:
    """So that the package reaches the rate; a parent that pays more lowers nothing."""
    assert Stuck("", (), fee=200, vsize=200).least_fee(10_000, 100) == 2_800
    assert Stuck("", (), fee=9_000, vsize=200).least_fee(10_000, 100) == 1_000


def test_thousands_of_coins_are_offered_by_the_dozen() -> None:
    """None of them taken, those that pay alone among them, and enough value for whatever 16 of all can pay."""
    shelf = Shelf(coins(*range(10_000, 13_000)))
    taken = {coin.outpoint for coin in shelf if coin.amount % 2}
    offered = shelf.offer(taken, 11_500)
    assert 16 <= len(offered) <= OFFER_WHOLE_MAX
    assert taken.isdisjoint(coin.outpoint for coin in offered)
    assert all(one.amount < other.amount for one, other in pairwise(offered))
    amounts = [coin.amount for coin in offered]
    assert 11_500 in amounts
    assert set(range(12_998, 12_998 - 32, -2)) <= set(amounts)
    assert Shelf(coins(1_000, 2_000)).offer({f"{1:064x}:0"}, 5) == coins(2_000, first=2)


@pytest.mark.parametrize(
    "options",
    [
        {"coins": ""},
        {"coins": "ab:0"},
        {"coins": f"{'ab' * 32}:0,{'ab' * 32}:0"},
        {"coins": ",".join(f"{number:064x}:0" for number in range(17))},
        {"coins": f"{'AB' * 32}:0"},
        {"bump": "cpfp:"},
        {"bump": f"cpfp:{'ab' * 32}\n"},
        {"subtract_fee": "yes"},
        {"fee_rate": "fast"},
    ],
)
def test_options_that_are_none(options: dict[str, str]) -> None:
    """Refused before a node is asked."""
    with pytest.raises(Unsupported):
        Options.parse(options, "coins", "bump", "fee_rate")
