"""Learning online what a transfer needs: blockhash, compute units, price, and whether the accounts can do it."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from solders.hash import Hash
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import Unsupported
from keyquorum_sol.codec import (
    BLOCKHASH,
    COMPUTE_UNIT_LIMIT,
    COMPUTE_UNIT_PRICE,
    LAST_VALID_BLOCK_HEIGHT,
    SolanaCodec,
)
from keyquorum_sol.config import SolanaConfig
from keyquorum_sol.fees import percentile, require_affordable, unit_limit
from keyquorum_sol.funds import require_destination, require_funds
from keyquorum_sol.limits import COMPUTE_UNITS_MAX, LAMPORTS_PER_SIGNATURE, U64_MAX
from keyquorum_sol.node import Account, SolanaNode
from keyquorum_sol.rejections import rejection
from keyquorum_sol.transfers import Transfer, priority_fee

PRICE_OPTION = "compute_unit_price"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class Draft:
    """What the codec needs to know about the chain."""

    blockhash: str
    last_valid_block_height: int
    compute_unit_limit: int
    compute_unit_price: int

    def metadata(self, extra_units: int = 0) -> Mapping[str, str]:
        """The codec's metadata, asking for a few compute units more."""
        return {
            BLOCKHASH: self.blockhash,
            LAST_VALID_BLOCK_HEIGHT: str(self.last_valid_block_height),
            COMPUTE_UNIT_LIMIT: str(min(COMPUTE_UNITS_MAX, self.compute_unit_limit + extra_units)),
            COMPUTE_UNIT_PRICE: str(self.compute_unit_price),
        }


class Drafter:
    """Asks the node everything at once, then decides."""

    def __init__(self, node: SolanaNode, config: SolanaConfig) -> None:
        self._node = node
        self._config = config

    async def draft(self, intent: TransferIntent, options: Mapping[str, str]) -> Draft:
        """What to build the transfer with; a :class:`ChainError` that says why it cannot be made otherwise."""
        wanted_price = _price_option(options)
        trial = _trial(intent)  # refuses what no node is needed to refuse
        source, destination = intent.source.address, intent.destination
        try:
            async with asyncio.TaskGroup() as together:
                blockhash = together.create_task(self._node.latest_blockhash())
                accounts = together.create_task(self._node.accounts(source, destination))
                simulated = together.create_task(self._node.simulate(bytes(trial)))
                prices = together.create_task(self._prices(source, destination, wanted_price))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        payer, payee = accounts.result()
        require_destination(payee)
        simulation = simulated.result()
        if simulation.err is not None:
            await self._require_funds(intent.amount, LAMPORTS_PER_SIGNATURE, payer, payee)
            raise rejection(simulation.err, trial)
        limit = unit_limit(simulation.units_consumed, self._config.compute_unit_margin_percent)
        price = prices.result()
        require_affordable(limit, price, self._config.priority_fee_ceiling_lamports)
        await self._require_funds(intent.amount, LAMPORTS_PER_SIGNATURE + priority_fee(limit, price), payer, payee)
        found = blockhash.result()
        return Draft(found.blockhash, found.last_valid_block_height, limit, price)

    async def _prices(self, source: str, destination: str, wanted: int | None) -> int:
        if wanted is not None:
            return wanted
        recent = await self._node.recent_prices(source, destination)
        return percentile(recent, self._config.priority_fee_percentile)

    async def _require_funds(self, amount: int, fee: int, payer: Account | None, payee: Account | None) -> None:
        require_funds(
            amount,
            fee,
            payer,
            payee,
            source_rent=await self._node.rent_exemption(payer.size if payer else 0),
            destination_rent=await self._node.rent_exemption(payee.size if payee else 0),
        )


def _trial(intent: TransferIntent) -> VersionedTransaction:
    """The transfer as it is simulated: under no blockhash, with every compute unit there is, without signatures."""
    metadata = Draft(str(Hash(b"\x01" * 32)), 0, COMPUTE_UNITS_MAX, 0).metadata()
    payload = SolanaCodec().build(intent, metadata).payload
    return VersionedTransaction.populate(Transfer.decode(payload).message(), [Signature.default()])


def _price_option(options: Mapping[str, str]) -> int | None:
    unknown = sorted(options.keys() - {PRICE_OPTION})
    if unknown:
        raise Unsupported(f"unknown option {unknown[0]!r}; there is {PRICE_OPTION}")
    text = options.get(PRICE_OPTION)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text) or int(text) > U64_MAX:
        raise Unsupported(f"{PRICE_OPTION} is a decimal number of micro-lamports per compute unit")
    return int(text)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
