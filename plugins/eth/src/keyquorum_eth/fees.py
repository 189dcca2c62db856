"""What to offer for gas: from the fees of recent blocks, within ceilings that no node can move.

    priority fee = the median, over the recent blocks that had transactions, of the priority fee at a percentile of each
    max fee      = twice the next block's base fee, and the priority fee: it holds for six full blocks in a row

Without transactions there is nothing to learn from: then the node's own suggestion is taken. A priority fee is a bid and is
cut to its ceiling; a max fee that would not cover the next block is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

from keyquorum_eth.codec import GAS_LIMIT, MAX_FEE_PER_GAS, MAX_PRIORITY_FEE_PER_GAS
from keyquorum_eth.config import EthereumConfig
from keyquorum_eth.limits import GAS_LIMIT_MAX, GAS_LIMIT_MIN
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.shapes import Block
from keyquorum_plugin_api.errors import FeeTooHigh, FeeTooLow, Unsupported

HISTORY_BLOCKS = 10
BASE_FEE_FACTOR = 2  # the base fee grows by an eighth per full block
_OPTIONS = (GAS_LIMIT, MAX_FEE_PER_GAS, MAX_PRIORITY_FEE_PER_GAS)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,29}")


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller asked for instead of what would be offered."""

    gas_limit: int | None = None
    max_fee: int | None = None
    priority_fee: int | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> "Wishes":
        """Options of a transfer; :class:`Unsupported` for unknown ones and for what is no number."""
        unknown = sorted(options.keys() - set(_OPTIONS))
        if unknown:
            raise Unsupported(f"unknown option {unknown[0]!r}; there are {', '.join(_OPTIONS)}")
        for option, text in options.items():
            if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
                raise Unsupported(f"{option} is a decimal number")
        wishes = cls(*(int(options[option]) if option in options else None for option in _OPTIONS))
        if wishes.gas_limit is not None and not GAS_LIMIT_MIN <= wishes.gas_limit <= GAS_LIMIT_MAX:
            raise Unsupported(f"{GAS_LIMIT} is between {GAS_LIMIT_MIN} and {GAS_LIMIT_MAX}")
        return wishes


class FeeOracle:
    """Fees, learnt once per block."""

    def __init__(self, node: EthereumNode, config: EthereumConfig) -> None:
        self._node = node
        self._config = config
        self._known: tuple[str, int, int] | None = None  # block, its successor's base fee, the going priority fee

    async def fees(self, head: Block, wishes: Wishes, least: Fees | None = None) -> Fees:
        """What to offer on top of ``head``, at least ``least``; :class:`FeeTooHigh` or :class:`FeeTooLow`."""
        base_fee, going = await self._learnt(head)
        floor = least or Fees(0, 0)
        if wishes.priority_fee is not None:
            priority = wishes.priority_fee
        elif wishes.max_fee is not None and least is None:
            priority = min(going, wishes.max_fee)
        else:
            priority = max(going, floor.priority_fee)
        max_fee = wishes.max_fee
        if max_fee is None:
            enough = max(base_fee + priority, floor.max_fee)
            max_fee = max(enough, min(BASE_FEE_FACTOR * base_fee + priority, self._config.max_fee_max))
        self._require(Fees(max_fee, priority), floor, base_fee)
        return Fees(max_fee, priority)

    def _require(self, fees: Fees, floor: Fees, base_fee: int) -> None:
        if fees.priority_fee > self._config.priority_fee_max or fees.max_fee > self._config.max_fee_max:
            raise FeeTooHigh(
                f"{fees.max_fee} wei per gas, {fees.priority_fee} of it for priority, are above the ceilings of "
                f"{self._config.max_fee_max} and {self._config.priority_fee_max}"
            )
        if fees.priority_fee < floor.priority_fee or fees.max_fee < floor.max_fee:
            raise FeeTooLow(
                f"a replacement has to offer {floor.max_fee} wei per gas, {floor.priority_fee} of it for priority"
            )
        if fees.max_fee < max(base_fee, fees.priority_fee):
            raise FeeTooLow(f"the next block takes {base_fee} wei per gas, besides a priority fee")

    async def _learnt(self, head: Block) -> tuple[int, int]:
        if self._known is not None and self._known[0] == head.hash:
            return self._known[1:]
        history = await self._node.fee_history(HISTORY_BLOCKS, self._config.fee_percentile)
        paid = [reward[0] for used, reward in zip(history.used, history.rewards, strict=False) if used > 0]
        going = median_low(paid) if paid else await self._node.priority_fee()
        going = max(1, min(going, self._config.priority_fee_max))
        self._known = (head.hash, history.base_fees[-1], going)
        return self._known[1:]


def bumped(fee: int) -> int:
    """The least that replaces ``fee``: an eighth more (nodes ask for a tenth), and more than nothing."""
    return max(fee + 1, -(-fee * 9 // 8))
