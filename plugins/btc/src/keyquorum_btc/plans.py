"""Which coins a transaction spends and what it pays, once everything that nodes know is known. No I/O."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from keyquorum_btc.coin import Coin
from keyquorum_btc.fees import LONG_TERM_RATE
from keyquorum_btc.limits import INPUTS_MAX
from keyquorum_btc.selection import Target, select
from keyquorum_btc.sizes import CHANGE_DUST_LIMIT, P2TR_SCRIPT_BYTES, transaction_fee, transaction_weight, vsize
from keyquorum_plugin_api.errors import ChainUnavailable, InsufficientFunds

ROUNDS_MAX: Final = 2 * INPUTS_MAX  # each adds to the fee what the coins of the last one were short of

LeastFee = Callable[[int], int]
"""The least fee (satoshi) of a transaction with so many virtual bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to spend, and the fee in satoshi; what is left returns to the source."""

    coins: tuple[Coin, ...]
    fee: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Coins that may be chosen: those that must be, those that come first, and those for when the others are not enough."""

    required: tuple[Coin, ...]
    confirmed: tuple[Coin, ...]
    change: tuple[Coin, ...]


def at_rate(rate: int) -> LeastFee:
    """The fee of a transaction by itself; ``rate`` is satoshi per 1,000 virtual bytes."""
    return lambda size: -(-rate * size // 1_000)


def pay(target: Target, pool: Pool, rate: int, least: LeastFee) -> Plan:
    """Coins for a payment at ``rate`` whose fee is no less than ``least``. :class:`InsufficientFunds`."""
    try:
        return _pay(target, pool.required, pool.confirmed, rate, least)
    except InsufficientFunds:
        if not pool.change:
            raise
        return _pay(target, pool.required, (*pool.confirmed, *pool.change), rate, least)


def give_back(pool: Pool, least: LeastFee) -> Plan:
    """The required coins back to their account for a fee of no less than ``least``, with as few others as that takes."""
    chosen = list(pool.required)
    others = [*_largest_first(pool.confirmed), *_largest_first(pool.change)]
    while True:
        fee = least(vsize(transaction_weight(len(chosen), [P2TR_SCRIPT_BYTES])))
        if sum(coin.amount for coin in chosen) - fee >= CHANGE_DUST_LIMIT:
            return Plan(tuple(sorted(chosen)), fee)
        if not others or len(chosen) == INPUTS_MAX:
            raise InsufficientFunds("the account's coins do not pay for the fee")
        chosen.append(others.pop(0))


def _pay(target: Target, required: Sequence[Coin], free: Sequence[Coin], rate: int, least: LeastFee) -> Plan:
    extra = 0
    for _ in range(ROUNDS_MAX):
        found = select(
            (*required, *free),
            Target(target.amount + extra, target.script_bytes),
            rate,
            long_term_fee_rate=LONG_TERM_RATE,
            randbelow=secrets.randbelow,
            required=required,
        )
        back = (P2TR_SCRIPT_BYTES,) if found.change else ()
        weight = transaction_weight(len(found.coins), (*target.script_bytes, *back))
        missing = least(vsize(weight)) - found.fee - extra
        if missing <= 0 and found.fee >= transaction_fee(rate, weight):
            return Plan(found.coins, found.fee + extra)
        extra += max(1, missing)
    raise ChainUnavailable("no choice of coins settles the fee")


def _largest_first(coins: Sequence[Coin]) -> list[Coin]:
    return sorted(coins, key=lambda coin: (-coin.amount, coin))
