"""Choices that expect change: single random draw, and the most valuable coins first.

Random draw spends coins in no pattern, so that small ones go with large ones and their number stays bounded; the most
valuable first finds a choice of at most 16 coins wherever there is one.
"""

from collections.abc import Callable, Sequence

from keyquorum_btc.coin import Coin
from keyquorum_btc.selection.candidates import Payment

RandBelow = Callable[[int], int]
"""A number from 0 to n - 1, uniformly: the selection has no entropy of its own."""


def single_random_draw(coins: Sequence[Coin], payment: Payment, randbelow: RandBelow) -> tuple[Coin, ...] | None:
    """Coins drawn until they pay with change worth making; where they are too many, the least valuable goes back."""
    goal = payment.goal + payment.change_fee + payment.change_min
    urn, drawn, total = list(coins), list[Coin](), 0
    while total < goal and urn:
        index = randbelow(len(urn))
        urn[index], urn[-1] = urn[-1], urn[index]
        drawn.append(urn.pop())
        total += payment.effective(drawn[-1])
        if len(drawn) > payment.free_inputs:
            least = min(drawn, key=lambda coin: (coin.amount, coin))
            drawn.remove(least)
            total -= payment.effective(least)
    return tuple(drawn) if total >= goal else None


def largest_first(coins: Sequence[Coin], payment: Payment) -> tuple[Coin, ...] | None:
    """The fewest of ``coins`` (the most valuable first) that pay, with or without change, to the last satoshi."""
    for count in range(1, min(len(coins), payment.free_inputs) + 1):
        if payment.selection(coins[:count], "") is not None:
            return tuple(coins[:count])
    return None
