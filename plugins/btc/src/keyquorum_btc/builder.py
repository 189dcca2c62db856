"""From an intent to a payload: coins, fee, reservation, codec, and a second reader before anybody signs."""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from typing import Final

from keyquorum_btc.codec import COINS, FEE, BitcoinCodec
from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.crosscheck import Crosscheck
from keyquorum_btc.fees import FeeRates
from keyquorum_btc.funds import Funds, FundsReader
from keyquorum_btc.limits import AMOUNT_MAX
from keyquorum_btc.network import require_native
from keyquorum_btc.options import Options
from keyquorum_btc.plans import LeastFee, Plan, Pool, at_rate, give_back, pay
from keyquorum_btc.psbt import adopt, read
from keyquorum_btc.replacement import MempoolFamilies
from keyquorum_btc.reserved import CoinReservations, new_owner
from keyquorum_btc.scripts import parse_destination
from keyquorum_btc.selection import target_of
from keyquorum_btc.sizes import dust_limit
from keyquorum_btc.spending import Spend
from keyquorum_btc.taproot import internal_key_of
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.effects import require_cancellation, require_transfer
from keyquorum_plugin_api.errors import (
    FeeTooLow,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    NonceConflict,
    Unsupported,
)

RACES_MAX: Final = 32  # lost to other builds before this one gives up

_NO_COINS: Final[tuple[Coin, ...]] = ()

Choose = Callable[[Funds, AbstractSet[str]], Plan]
"""A plan, given what the account has and which coins other payloads hold."""


class Builder:
    """Builds for one network."""

    def __init__(
        self,
        chain: str,
        *,
        funds: FundsReader,
        rates: FeeRates,
        families: MempoolFamilies,
        reservations: CoinReservations,
        crosscheck: Crosscheck,
    ) -> None:
        self._chain = chain
        self._funds = funds
        self._rates = rates
        self._families = families
        self._reservations = reservations
        self._crosscheck = crosscheck
        self._codec = BitcoinCodec()
        self._choosing: set[str] = set()  # coins that builds of this process are about to reserve

    async def transfer(self, intent: TransferIntent, options: Options) -> UnsignedTransaction:
        """A payment, from coins that no other payload holds."""
        target = target_of(self._require_possible(intent), intent.amount, intent.memo)
        rate = await self._rates.rate(options.fee_rate)
        least, lifted = at_rate(rate), _NO_COINS
        if options.lifts:
            least, lifted = await self._lift(intent.source, options.lifts, rate)

        def choose(funds: Funds, taken: AbstractSet[str]) -> Plan:
            if lifted:
                pool = _pool_beside(lifted, funds, taken, intent.amount, options.coins)
            else:
                pool = _pool(funds, taken, intent.amount, options.coins)
            return pay(target, pool, rate, least)

        return await self._build(intent.source, intent, choose, new_owner())

    async def child(self, source: SignerAccount, txid: str, options: Options) -> UnsignedTransaction:
        """What a stuck transaction pays to ``source``, back to ``source``, for a fee that lifts both."""
        rate = await self._rates.rate(options.fee_rate)
        least, lifted = await self._lift(source, txid, rate)

        def choose(funds: Funds, taken: AbstractSet[str]) -> Plan:
            return give_back(_pool_beside(lifted, funds, taken), least)

        return await self._build(source, None, choose, new_owner())

    async def replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Options
    ) -> UnsignedTransaction:
        """The same payment from the same coins for a higher fee, with more coins if that takes them."""
        target = target_of(self._require_possible(intent), intent.amount, intent.memo)
        old = self._spent_by(intent.source, replaced)
        require_transfer(intent, self._codec.decode(replaced.payload, self._chain, [intent.source]).effects)
        rate, least = await self._bar(old, options)

        def choose(funds: Funds, taken: AbstractSet[str]) -> Plan:
            return pay(target, _pool_beside(old.coins, funds, taken, intent.amount), rate, least)

        return await self._in_place(intent.source, intent, choose, replaced)

    async def cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Options
    ) -> UnsignedTransaction:
        """The same coins back to their account for a higher fee."""
        old = self._spent_by(source, replaced)
        _, least = await self._bar(old, options)

        def choose(funds: Funds, taken: AbstractSet[str]) -> Plan:
            return give_back(_pool_beside(old.coins, funds, taken), least)

        return await self._in_place(source, None, choose, replaced)

    async def adopted(self, intent: TransferIntent, payload: bytes) -> UnsignedTransaction:
        """A payload that was built elsewhere, if it makes this transfer with coins that are there and free."""
        self._require_possible(intent)
        canonical = adopt(payload, internal_key_of(intent.source.public_key))
        decoded = self._codec.decode(canonical, self._chain, [intent.source])
        require_transfer(intent, decoded.effects)
        unsigned = UnsignedTransaction(self._chain, canonical, decoded.requests, decoded.effects)
        spend = read(canonical)
        if spend.fee * 1_000 < (await self._rates.floor()).relay * spend.vsize:
            raise FeeTooLow("the payload pays less than the network asks for")
        self._rates.require_affordable_fee(spend.fee, spend.vsize)
        funds = await self._funds.read(intent.source.address)
        if not set(spend.coins) <= {*funds.confirmed, *funds.change}:
            raise NonceConflict("a coin of the payload is spent, not there, or of another amount")
        owner = new_owner()
        coins = [coin.outpoint for coin in spend.coins]
        if not await self._reservations.hold(intent.source.address, coins, owner):
            raise NonceConflict("another transaction holds a coin of the payload")
        return await self._checked(
            unsigned, source=intent.source, coins=spend.coins, intent=intent, owner=owner, held=coins
        )

    async def _build(
        self,
        source: SignerAccount,
        intent: TransferIntent | None,
        choose: Choose,
        owner: str,
        ours: Collection[str] = (),
    ) -> UnsignedTransaction:
        """Choose, reserve, build and check; nothing stays reserved where a step fails. ``ours`` is held already."""
        plan, held = await self._chosen(source.address, choose, owner, ours)
        try:
            metadata = {COINS: format_coins(plan.coins), FEE: str(plan.fee)}
            if intent is None:
                unsigned = self._codec.build_cancellation(source, self._chain, metadata)
            else:
                unsigned = self._codec.build(intent, metadata)
        except BaseException:
            await self._reservations.give_back(source.address, held, owner)
            raise
        return await self._checked(unsigned, source=source, coins=plan.coins, intent=intent, owner=owner, held=held)

    async def _chosen(self, address: str, choose: Choose, owner: str, ours: Collection[str]) -> tuple[Plan, list[str]]:
        funds = await self._funds.recent(address)
        fresh = False
        for _ in range(RACES_MAX):
            taken = await self._reservations.taken(address)
            try:
                plan = choose(funds, taken | self._choosing)
            except InsufficientFunds:
                if fresh:
                    raise
                funds, fresh = await self._funds.read(address), True
                continue
            # Nothing is awaited between the choice and its mark: builds of this process never choose the same coin.
            wanted = [coin.outpoint for coin in plan.coins if coin.outpoint not in ours]
            self._choosing.update(wanted)
            try:
                if await self._reservations.hold(address, wanted, owner):
                    return plan, wanted
            finally:
                self._choosing.difference_update(wanted)
        raise NonceConflict("too many transactions are built from this account at a time")

    async def _checked(
        self,
        unsigned: UnsignedTransaction,
        *,
        source: SignerAccount,
        coins: tuple[Coin, ...],
        intent: TransferIntent | None,
        owner: str,
        held: Collection[str],
    ) -> UnsignedTransaction:
        """``unsigned``, recorded as the holder of its coins, once the second reader agrees."""
        try:
            if intent is None:
                fee = require_cancellation(source, unsigned.effects)
            else:
                fee = require_transfer(intent, unsigned.effects)
            await self._crosscheck.require(unsigned.payload, source=source.address, coins=coins, fee=fee, intent=intent)
            await self._reservations.record(unsigned, owner)
        except BaseException:
            await self._reservations.give_back(source.address, held, owner)
            raise
        return unsigned

    async def _in_place(
        self, source: SignerAccount, intent: TransferIntent | None, choose: Choose, replaced: UnsignedTransaction
    ) -> UnsignedTransaction:
        """Build in the place of ``replaced``, whose coins stay with their holder; what nobody holds is reserved."""
        holder = await self._reservations.owner_of(replaced)
        coins = {coin.outpoint for coin in read(replaced.payload).coins}
        ours = coins if holder is not None else ()
        return await self._build(source, intent, choose, new_owner(holder or ""), ours)

    def _spent_by(self, source: SignerAccount, replaced: UnsignedTransaction) -> Spend:
        if replaced.chain != self._chain:
            raise Unsupported("this adapter serves another network")
        self._codec.decode(replaced.payload, self._chain, [source])
        return read(replaced.payload)

    async def _bar(self, old: Spend, options: Options) -> tuple[int, LeastFee]:
        """The rate to aim at, and the least that replaces ``old``: BIP125, and more per virtual byte than before."""
        rate = await self._rates.rate(options.fee_rate)
        increment = (await self._rates.floor()).increment
        bar = await self._families.bar(old, increment)

        def least(size: int) -> int:
            needed = max(bar.least_fee(size), old.fee * size // old.vsize + 1)
            if options.fee_rate is not None and needed > at_rate(rate)(size):
                raise FeeTooLow(f"a replacement of {size} vB pays {needed} satoshi at least")
            self._rates.require_affordable_fee(needed, size)
            return max(needed, at_rate(rate)(size))

        return rate, least

    async def _lift(self, source: SignerAccount, txid: str, rate: int) -> tuple[LeastFee, tuple[Coin, ...]]:
        """What a child pays at least, and the coin of the stuck transaction that it spends."""
        script = parse_destination(source.address, self._chain)
        taken = await self._reservations.taken(source.address)
        stuck = await self._families.stuck(txid, script, taken | self._choosing)
        return (lambda size: stuck.least_fee(rate, size)), (max(stuck.coins, key=lambda coin: coin.amount),)

    def _require_possible(self, intent: TransferIntent) -> bytes:
        """The destination's scriptPubKey; refuses what no node is needed to refuse."""
        if intent.chain != self._chain:
            raise Unsupported("this adapter serves another network")
        require_native(intent.asset, self._chain)
        if intent.fee_payer is not None:
            raise Unsupported("on Bitcoin, the coins that are spent pay the fee")
        script = parse_destination(intent.destination, self._chain)
        if script == parse_destination(intent.source.address, self._chain):
            raise InvalidAddress("source and destination are the same address")
        least = dust_limit(script)
        if type(intent.amount) is not int or not least <= intent.amount <= AMOUNT_MAX:
            raise InvalidAmount(f"the network takes amounts from {least} to {AMOUNT_MAX} satoshi for this address")
        return script


def _pool(
    funds: Funds,
    taken: AbstractSet[str],
    amount: int,
    only: Collection[str] | None = None,
) -> Pool:
    """What a payment may spend; where a client names the coins, all of them and no other."""
    if only is None:
        return Pool((), funds.confirmed.offer(taken, amount), funds.change.offer(taken, amount))
    named = (*funds.confirmed.named(only), *funds.change.named(only))
    if len(named) != len(only) or not taken.isdisjoint(only):
        raise NonceConflict("a named coin is spent, held by another transaction, or not there")
    return Pool(named, (), ())


def _pool_beside(
    required: tuple[Coin, ...],
    funds: Funds,
    taken: AbstractSet[str],
    amount: int = 0,
    only: Collection[str] | None = None,
) -> Pool:
    """What may be spent beside ``required``: confirmed coins. A replacement must add no other (BIP125 rule 2; the change of
    what it replaces would go with it), and a child would have more parents to pay for."""
    used = {coin.outpoint for coin in required}
    pool = _pool(funds, taken | used, amount, None if only is None else set(only) - used)
    return Pool((*required, *pool.required), pool.confirmed, ())
