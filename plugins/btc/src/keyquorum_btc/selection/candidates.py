"""What coins are worth to a payment, and what a choice of them wastes.

After M. Erhardt, "An evaluation of coin selection strategies" (2016), and Bitcoin Core's waste metric: a coin's effective
value is its amount less the fee of spending it; a choice wastes what it costs to spend its coins now instead of at the
long-term rate, and either what change costs or what is given away for want of change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import INPUTS_MAX
from keyquorum_btc.memo import memo_script
from keyquorum_btc.sizes import (
    CHANGE_DUST_LIMIT,
    CHANGE_WEIGHT,
    INPUT_WEIGHT,
    OVERHEAD_WEIGHT,
    WITNESS_SCALE,
    fee_at,
    output_weight,
    transaction_fee,
    transaction_weight,
)

_ROUNDING_WEIGHT = WITNESS_SCALE - 1  # a transaction's weight is rounded up to whole virtual bytes


@dataclass(frozen=True, slots=True)
class Target:
    """What is paid: satoshi, and the lengths of the scripts of all outputs besides change."""

    amount: int
    script_bytes: tuple[int, ...]


def target_of(destination: bytes, amount: int, memo: str = "") -> Target:
    """The target of a transfer to a scriptPubKey."""
    return Target(amount, (len(destination), *([len(memo_script(memo))] if memo else [])))


@dataclass(frozen=True, slots=True)
class Selection:
    """Coins that pay a target: their sum is amount, fee and change; ``change`` is 0 or more than dust."""

    coins: tuple[Coin, ...]  # in BIP69's order
    fee: int
    change: int
    waste: int
    algorithm: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A target at a fee rate. All amounts are satoshi, all rates satoshi per 1,000 virtual bytes."""

    target: Target
    fee_rate: int
    long_term_fee_rate: int
    required: tuple[Coin, ...]

    @property
    def free_inputs(self) -> int:
        """How many coins may be chosen besides the required ones."""
        return INPUTS_MAX - len(self.required)

    @property
    def goal(self) -> int:
        """The effective value with which chosen coins surely pay, without change; at most 3 weight units and one satoshi
        per coin more than they owe, since fees are of whole virtual bytes and whole satoshi.
        """
        fixed = OVERHEAD_WEIGHT + _ROUNDING_WEIGHT + sum(map(output_weight, self.target.script_bytes))
        return self.target.amount + fee_at(self.fee_rate, fixed) - sum(map(self.effective, self.required))

    @property
    def change_fee(self) -> int:
        """What an output back to the source costs now."""
        return fee_at(self.fee_rate, CHANGE_WEIGHT)

    @property
    def change_cost(self) -> int:
        """What change costs now and when it is spent at the long-term rate."""
        return self.change_fee + fee_at(self.long_term_fee_rate, INPUT_WEIGHT)

    @property
    def change_min(self) -> int:
        """The least change that is made: no dust, and worth more than spending it will cost."""
        return max(CHANGE_DUST_LIMIT, fee_at(self.long_term_fee_rate, INPUT_WEIGHT) + 1)

    @property
    def input_waste(self) -> int:
        """What one input costs more now than at the long-term rate; negative while fees are low."""
        return fee_at(self.fee_rate, INPUT_WEIGHT) - fee_at(self.long_term_fee_rate, INPUT_WEIGHT)

    def effective(self, coin: Coin) -> int:
        """A coin's amount less the fee of spending it; not positive for one that is not worth it."""
        return coin.amount - fee_at(self.fee_rate, INPUT_WEIGHT)

    def selection(self, chosen: Iterable[Coin], algorithm: str) -> Selection | None:
        """The choice with the required coins, its change and its waste; None if it does not pay for itself."""
        coins = tuple(sorted((*self.required, *chosen)))
        scripts = self.target.script_bytes
        left = sum(coin.amount for coin in coins) - self.target.amount
        bare_fee = transaction_fee(self.fee_rate, transaction_weight(len(coins), scripts))
        if not coins or len(coins) > INPUTS_MAX or left < bare_fee:
            return None
        fee = transaction_fee(self.fee_rate, transaction_weight(len(coins), scripts) + CHANGE_WEIGHT)
        change = left - fee
        spent = len(coins) * self.input_waste
        if change >= self.change_min:
            return Selection(coins, fee, change, spent + self.change_cost, algorithm)
        return Selection(coins, left, 0, spent + left - bare_fee, algorithm)


def by_value(coins: Iterable[Coin], payment: Payment) -> Sequence[Coin]:
    """The coins that are worth spending, the most valuable first; in BIP69's order where they are worth the same."""
    return sorted((coin for coin in coins if payment.effective(coin) > 0), key=lambda coin: (-coin.amount, coin))
