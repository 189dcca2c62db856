"""Learning online what a transfer needs: blockhash or nonce, compute units, price, and whether the accounts can do it."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from solders.hash import Hash
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidAddress, TransactionRejected, Unsupported
from keyquorum_sol.addresses import SYSTEM_PROGRAM, parse_address
from keyquorum_sol.codec import planned
from keyquorum_sol.config import SolanaConfig
from keyquorum_sol.fees import percentile, require_affordable, require_units, unit_limit
from keyquorum_sol.funds import require_arrival, require_destination, require_fee, require_payment
from keyquorum_sol.holdings import Holdings, read_holdings, require_token_owner, require_token_transfer
from keyquorum_sol.lifetimes import stored_nonce
from keyquorum_sol.limits import COMPUTE_UNITS_MAX, NONCE_ACCOUNT_BYTES
from keyquorum_sol.metadata import (
    BLOCKHASH,
    COMPUTE_UNIT_LIMIT,
    COMPUTE_UNIT_PRICE,
    LAST_VALID_BLOCK_HEIGHT,
    NONCE_ACCOUNT,
    NONCE_SEED,
    NONCE_SLOT,
    TOKEN_DECIMALS,
    TOKEN_PROGRAM,
)
from keyquorum_sol.movements import CreateNonceAccount, MoveLamports
from keyquorum_sol.network import parse_asset
from keyquorum_sol.node import Account, SolanaNode
from keyquorum_sol.options import Options
from keyquorum_sol.rejections import rejection
from keyquorum_sol.reserved import nonce_item
from keyquorum_sol.tokens import TOKEN_PROGRAMS
from keyquorum_sol.transfers import Transfer, priority_fee

PRICED_ACCOUNTS_MAX = 4_096  # sets of accounts whose recent prices are remembered
PLAIN_KEYS = 4  # of a transfer without memo, nonce and fee payer: two accounts and two programs
UNITS_MAX_AGE_S = 60.0  # for which a plain transfer is believed to take what one took in a simulation


@dataclass(frozen=True, slots=True)
class Draft:
    """What the codec needs to know about the chain."""

    anchor: Mapping[str, str]  # what makes it valid for a while: blockhash or nonce
    details: Mapping[str, str]  # of what is moved
    compute_unit_limit: int
    compute_unit_price: int

    @property
    def blockhash(self) -> str:
        """What the message names: a blockhash, or the value of the nonce account."""
        return self.anchor[BLOCKHASH]

    @property
    def nonce(self) -> str | None:
        """The item to reserve where a durable nonce is used."""
        account = self.anchor.get(NONCE_ACCOUNT)
        return None if account is None else nonce_item(account, self.blockhash)

    def metadata(self, extra_units: int = 0) -> Mapping[str, str]:
        """The codec's metadata, asking for a few compute units more."""
        return {
            **self.anchor,
            **self.details,
            COMPUTE_UNIT_LIMIT: str(min(COMPUTE_UNITS_MAX, self.compute_unit_limit + extra_units)),
            COMPUTE_UNIT_PRICE: str(self.compute_unit_price),
        }


class Drafter:
    """Asks the node as much as it can at once, then decides."""

    def __init__(self, node: SolanaNode, config: SolanaConfig, clock: Clock) -> None:
        self._node = node
        self._config = config
        self._clock = clock
        self._recent_prices: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()
        self._plain_units: tuple[float, int] | None = None

    async def draft(self, intent: TransferIntent, options: Options) -> Draft:
        """What to build the transfer with; a :class:`ChainError` that says why it cannot be made otherwise."""
        holdings, details = await self._details(intent, options)
        made, message = _trial(intent, options, details)  # refuses what no node is needed to refuse
        try:
            async with asyncio.TaskGroup() as together:
                anchor = together.create_task(self._anchor(intent, options))
                accounts = together.create_task(
                    self._node.wallets(str(made.payer), intent.source.address, intent.destination)
                )
                units = together.create_task(self._units(made, message))
                price = together.create_task(self._price(message, options.compute_unit_price))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        found = accounts.result()
        require_destination(found[2])
        if holdings is not None:
            require_token_transfer(intent, holdings)
            require_token_owner(found[2])
        used = units.result()
        if not isinstance(used, int):
            await self._require_funds(made, made.fee, holdings, found)
            raise used
        limit = unit_limit(used, self._config.compute_unit_margin_percent)
        require_affordable(limit, price.result(), self._config.priority_fee_ceiling_lamports)
        fee = made.fee + priority_fee(limit, price.result())  # the trial offers no price
        await self._require_funds(made, fee, holdings, found)
        return Draft(anchor.result(), details, limit, price.result())

    async def _details(self, intent: TransferIntent, options: Options) -> tuple[Holdings | None, Mapping[str, str]]:
        mint = parse_asset(intent.asset, intent.chain)
        if mint is None:
            return None, {} if options.create_nonce is None else {NONCE_SEED: options.create_nonce}
        if options.create_nonce is not None:
            raise Unsupported("a nonce account starts with SOL, not with a token")
        _trial(intent, options, {TOKEN_PROGRAM: str(TOKEN_PROGRAMS[0]), TOKEN_DECIMALS: "0"})
        source, destination = Pubkey.from_bytes(intent.source.public_key), parse_address(intent.destination)
        holdings = await read_holdings(self._node, mint, source, destination)
        return holdings, holdings.metadata()

    async def _anchor(self, intent: TransferIntent, options: Options) -> Mapping[str, str]:
        if options.durable_nonce is None:
            found = await self._node.latest_blockhash()
            return {BLOCKHASH: found.blockhash, LAST_VALID_BLOCK_HEIGHT: str(found.last_valid_block_height)}
        slot, stored = await stored_nonce(self._node, options.durable_nonce)
        if stored is None or str(stored.authority) != intent.source.address:
            raise InvalidAddress("durable_nonce is no nonce account that the source has authority over")
        return {
            BLOCKHASH: str(stored.value),
            NONCE_ACCOUNT: str(options.durable_nonce),
            NONCE_SLOT: str(slot),
        }

    async def _units(self, made: Transfer, message: MessageV0) -> int | ChainError:
        """Compute units that the transfer takes, or why the runtime refuses it.

        A plain transfer of lamports takes the same units every time, so that one simulation speaks for all of a minute;
        what could make the runtime refuse one is seen from its accounts.
        """
        now = self._clock.monotonic()
        plain = isinstance(made.movement, MoveLamports) and not made.memo and len(message.account_keys) == PLAIN_KEYS
        if plain and self._plain_units is not None and now - self._plain_units[0] <= UNITS_MAX_AGE_S:
            return self._plain_units[1]
        trial = VersionedTransaction.populate(message, [Signature.default() for _ in made.signers])
        simulation = await self._node.simulate(bytes(trial))
        if simulation.err is not None:
            return rejection(simulation.err, trial)
        used = require_units(simulation.units_consumed)
        if plain:
            self._plain_units = (now, used)
        return used

    async def _price(self, message: MessageV0, wanted: int | None) -> int:
        """Micro-lamports per compute unit to offer; what others pay is asked as rarely as for a blockhash."""
        if wanted is not None:
            return wanted
        keys = message.account_keys
        writable = tuple(str(key) for index, key in enumerate(keys) if message.is_maybe_writable(index))
        now = self._clock.monotonic()
        known = self._recent_prices.get(writable)
        if known is not None and now - known[0] <= self._config.blockhash_max_age_s:
            return known[1]
        price = percentile(await self._node.recent_prices(*writable), self._config.priority_fee_percentile)
        self._recent_prices[writable] = (now, price)
        self._recent_prices.move_to_end(writable)
        if len(self._recent_prices) > PRICED_ACCOUNTS_MAX:
            self._recent_prices.popitem(last=False)
        return price

    async def _require_funds(
        self, made: Transfer, fee: int, holdings: Holdings | None, accounts: Sequence[Account | None]
    ) -> None:
        payer, source, destination = accounts
        movement, node = made.movement, self._node
        payer_rent = await node.rent_exemption(payer.size if payer else 0)
        if holdings is not None:
            rent = await node.rent_exemption(holdings.new_account_bytes)
            if rent > movement.rent_max:
                raise FeeTooHigh(
                    f"a token account costs {rent} lamports, more than the {movement.rent_max} that are signed"
                )
            require_fee(payer, fee if holdings.accounts[1] else fee + rent, rent=payer_rent)
            return
        if source is not None and (source.program != SYSTEM_PROGRAM or source.size):
            raise TransactionRejected("the source belongs to a program, which alone can move its lamports")
        if made.fee_payer is None:
            require_payment(source, movement.amount, fee, rent=payer_rent)
        else:
            require_payment(source, movement.amount, 0, rent=await node.rent_exemption(0))
            require_fee(payer, fee, rent=payer_rent)
        if isinstance(movement, CreateNonceAccount):
            if destination is not None:
                raise InvalidAddress("there is an account of this seed already: choose another seed")
            require_arrival(None, movement.amount, rent=await node.rent_exemption(NONCE_ACCOUNT_BYTES))
            return
        rent = await node.rent_exemption(destination.size if destination else 0)
        require_arrival(destination, movement.amount, rent=rent)


def _trial(intent: TransferIntent, options: Options, details: Mapping[str, str]) -> tuple[Transfer, MessageV0]:
    """The transfer as it is simulated: under no blockhash and with every compute unit there is."""
    anchor = {BLOCKHASH: str(Hash(b"\x01" * 32))}
    if options.durable_nonce is None:
        anchor |= {LAST_VALID_BLOCK_HEIGHT: "0"}
    else:
        anchor |= {NONCE_ACCOUNT: str(options.durable_nonce), NONCE_SLOT: "0"}
    made = planned(intent, Draft(anchor, details, COMPUTE_UNITS_MAX, 0).metadata())
    return made, made.message()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
