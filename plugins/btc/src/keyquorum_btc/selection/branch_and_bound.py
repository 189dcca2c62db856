"""Branch and bound: the set of coins that pays exactly, so that no change is needed, with the least waste.

Depth first over the coins by falling value, each taken before it is left out (Erhardt, section 4.2). A branch ends when it
overshoots, when what remains cannot reach the goal, when it has as many inputs as there may be, or when it already wastes
more than the best set found.
"""

from collections.abc import Sequence
from itertools import accumulate

from keyquorum_btc.coin import Coin
from keyquorum_btc.selection.candidates import Payment

TRIES_MAX = 50_000  # nodes of the tree; about a tenth of a second


def branch_and_bound(coins: Sequence[Coin], payment: Payment) -> tuple[Coin, ...] | None:
    """The best changeless choice among ``coins`` (the most valuable first), or None if none was found in time."""
    goal, window = payment.goal, payment.change_cost
    values = [payment.effective(coin) for coin in coins]
    remaining = [*accumulate(reversed(values), initial=0)][::-1]  # remaining[i]: all of values[i:]
    chosen: list[int] = []
    best: tuple[int, tuple[int, ...]] | None = None
    total = index = 0
    for _ in range(TRIES_MAX):
        waste = len(chosen) * payment.input_waste + total - goal
        dead = (
            total + remaining[index] < goal
            or total > goal + window
            or (best is not None and payment.input_waste > 0 and len(chosen) * payment.input_waste > best[0])
        )
        if not dead and total >= goal:
            if chosen and (best is None or waste < best[0]):
                best = (waste, tuple(chosen))
            dead = True  # every further coin only adds
        if not dead and len(chosen) < payment.free_inputs and index < len(coins):
            chosen.append(index)
            total += values[index]
            index += 1
            continue
        if not chosen:
            break
        # Go back to the last coin taken and leave it out, with all that are worth the same: they lead to the same sums.
        index = chosen.pop()
        total -= values[index]
        skipped = values[index]
        while index < len(coins) and values[index] == skipped:
            index += 1
    return None if best is None else tuple(coins[each] for each in best[1])
