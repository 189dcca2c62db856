"""Coins by value, so that a build looks at a few of thousands."""

import secrets
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice

from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import INPUTS_MAX

OFFER_WHOLE_MAX = 64  # coins that are offered to the selection as they are
LARGEST = INPUTS_MAX  # if the 16 largest do not pay, none do
NEAREST = 16  # of those that pay alone, from the smallest: where a payment without change is most likely
DRAWN = 16  # neighbours in value, at a place drawn by chance: small coins are spent some day, and builds at the same time seldom want the same


class Shelf:
    """Coins of one address. What is offered of them pays whatever all of them would pay with 16 inputs."""

    def __init__(self, coins: Iterable[Coin]) -> None:
        self._coins = tuple(sorted(coins, key=lambda coin: (coin.amount, coin)))
        self._amounts = [coin.amount for coin in self._coins]
        self._names = tuple(coin.outpoint for coin in self._coins)

    def __iter__(self) -> Iterator[Coin]:
        """All of them, the smallest first."""
        return iter(self._coins)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._coins)

    def offer(self, taken: Collection[str], amount: int) -> tuple[Coin, ...]:
        """Coins to choose from for a payment of ``amount``, none of them ``taken`` (``txid:vout``)."""
        everything = range(len(self._coins))
        if len(everything) <= OFFER_WHOLE_MAX:
            return tuple(self._coins[index] for index in everything if self._names[index] not in taken)
        chosen = set(islice(self._free(reversed(everything), taken), LARGEST))
        chosen.update(islice(self._free(everything[bisect_left(self._amounts, amount) :], taken), NEAREST))
        start = secrets.randbelow(len(everything))
        chosen.update(islice(self._free(chain(everything[start:], everything[:start]), taken), DRAWN))
        return tuple(self._coins[index] for index in sorted(chosen))

    def named(self, names: Collection[str]) -> tuple[Coin, ...]:
        """Those of these names that are here."""
        return tuple(coin for coin, name in zip(self._coins, self._names, strict=True) if name in names)

    def _free(self, indices: Iterable[int], taken: Collection[str]) -> Iterator[int]:
        return (index for index in indices if self._names[index] not in taken)
