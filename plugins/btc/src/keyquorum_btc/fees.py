"""What a transaction should pay: estimated by a node, asked for by the client, bounded by the configuration.

Rates are whole satoshi per 1,000 virtual bytes; clients say satoshi per virtual byte, as people do.
"""

import re
from decimal import Decimal

from keyquorum_btc.config import BitcoinConfig
from keyquorum_btc.node import RelayFloor
from keyquorum_btc.nodes import Nodes
from keyquorum_plugin_api.chain import Clock, Logger
from keyquorum_plugin_api.errors import ChainUnavailable, FeeTooHigh, FeeTooLow, Unsupported

FEE_RATE_OPTION = "fee_rate"
LONG_TERM_RATE = 10_000  # at which coins are expected to be spent some day, as Bitcoin Core has it
_RATE = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?", re.ASCII)


class FeeRates:
    """Rates for builds, which share an estimate for a while."""

    def __init__(self, nodes: Nodes, config: BitcoinConfig, clock: Clock, log: Logger) -> None:
        self._nodes = nodes
        self._target_blocks = config.fee_target_blocks
        self._fallback = per_kvb(config.fee_rate_fallback)
        self._ceiling = per_kvb(config.fee_rate_max)
        self._max_age_s = config.fee_max_age_s
        self._clock = clock
        self._log = log
        self._estimate: tuple[float, int] | None = None
        self._floor: tuple[float, RelayFloor] | None = None

    async def rate(self, wanted: int | None) -> int:
        """``wanted``, or what the node estimates, or else what is configured for when there is no estimate.

        :class:`FeeTooHigh` above the ceiling, :class:`FeeTooLow` where the node would not relay it.
        """
        floor = (await self.floor()).relay
        if wanted is not None and wanted < floor:
            raise FeeTooLow(f"the network asks for {_shown(floor)} sat/vB at least")
        rate = wanted if wanted is not None else max(floor, await self._estimated())
        self.require_affordable(rate)
        return rate

    def require_affordable(self, rate: int) -> None:
        """:class:`FeeTooHigh` above the ceiling."""
        if rate > self._ceiling:
            raise FeeTooHigh(f"the fee rate of {_shown(rate)} sat/vB is above the ceiling of {_shown(self._ceiling)}")

    def require_affordable_fee(self, fee: int, vsize: int) -> None:
        """:class:`FeeTooHigh` where a fee is more per virtual byte than the ceiling allows."""
        if fee * 1_000 > self._ceiling * vsize:
            self.require_affordable(-(-fee * 1_000 // vsize))

    async def floor(self) -> RelayFloor:
        """What the node relays at least; a node that says more than the ceiling prices itself out."""
        now = self._clock.monotonic()
        if self._floor is None or now - self._floor[0] > self._max_age_s:
            self._floor = (now, await self._nodes.ask(lambda node: node.relay_floor()))
        return self._floor[1]

    async def _estimated(self) -> int:
        now = self._clock.monotonic()
        if self._estimate is None or now - self._estimate[0] > self._max_age_s:
            self._estimate = (now, await self._ask())
        return self._estimate[1]

    async def _ask(self) -> int:
        try:
            estimate = await self._nodes.ask(lambda node: node.fee_rate(self._target_blocks))
        except ChainUnavailable as error:
            self._log.warning("bitcoin.no_fee_estimate", reason=error.detail)
            estimate = None
        return self._fallback if estimate is None else estimate


def per_kvb(sat_per_vb: Decimal) -> int:
    """Satoshi per 1,000 virtual bytes."""
    return int(sat_per_vb * 1_000)


def rate_option(text: str | None) -> int | None:
    """The option ``fee_rate``: satoshi per virtual byte, at most three decimals; None where it is absent."""
    if text is None:
        return None
    if not _RATE.fullmatch(text):
        raise Unsupported(f"{FEE_RATE_OPTION} is a decimal number of satoshi per virtual byte")
    return per_kvb(Decimal(text))


def _shown(rate: int) -> str:
    return f"{Decimal(rate) / 1_000:f}"
