"""Learning online what a payload needs, and taking its nonce: transfers, replacements, cancellations."""

from collections.abc import Callable, Mapping

from keyquorum_eth.codec import (
    GAS_LIMIT,
    MAX_FEE_PER_GAS,
    MAX_PRIORITY_FEE_PER_GAS,
    NONCE,
    EthereumCodec,
    call_of,
    transaction_of,
)
from keyquorum_eth.fees import FeeOracle, Fees, Wishes, bumped
from keyquorum_eth.gas import GasEstimator
from keyquorum_eth.heads import Heads
from keyquorum_eth.ledger import Cost, Ledger
from keyquorum_eth.limits import GAS_LIMIT_MIN
from keyquorum_eth.nonces import NonceAllocator
from keyquorum_eth.tokens import Tokens
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import InsufficientFunds, NonceConflict

_CODEC = EthereumCodec()
_ATTEMPTS = 64  # nonces that other gateways may take first


class Builder:
    """Builds for the accounts of one chain. What is asked is shared: fees and gas per block, accounts for a moment."""

    def __init__(
        self, heads: Heads, fees: FeeOracle, gas: GasEstimator, tokens: Tokens, nonces: NonceAllocator
    ) -> None:
        self._heads = heads
        self._fees = fees
        self._gas = gas
        self._tokens = tokens
        self._nonces = nonces

    async def transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """A transfer with a nonce of its own. Nothing is reserved where this fails."""
        wishes = Wishes.parse(options)
        call, address = call_of(intent), intent.source.address
        amount = Cost(call.value, call.to if call.data else None, intent.amount if call.data else 0)
        for _ in range(_ATTEMPTS):
            async with self._nonces.turn(address):
                await self._funded(address, amount)  # before gas is asked for: a node says less clearly what is missing
                head = await self._heads.current()
                fees = await self._fees.fees(head, wishes)
                gas = wishes.gas_limit or await self._gas.limit(address, call, head)
                cost = Cost(amount.wei + gas * fees.max_fee, amount.token, amount.amount)
                # From the last look at the funds to the hold nothing waits: nobody spends them in between.
                ledger = await self._funded(address, cost)
                nonce = ledger.next_nonce()
                unsigned = _CODEC.build(intent, _metadata(nonce, gas, fees))
                hold = self._nonces.hold(ledger, nonce, unsigned.payload, cost)
            if await self._nonces.kept(ledger, hold):
                return unsigned
        raise NonceConflict("other builders take this account's nonces faster than this one")

    async def replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same transfer with the same nonce, for more."""
        require_transfer(intent, _CODEC.decode(replaced.payload, replaced.chain, [intent.source]).effects)
        wishes = Wishes.parse(options)
        return await self._instead(
            replaced, wishes, intent.source, lambda metadata: _CODEC.build(intent, metadata), gas_limit=None
        )

    async def cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """Nothing, with the same nonce, for more."""
        _CODEC.decode(replaced.payload, replaced.chain, [source])
        wishes = Wishes.parse(options)
        return await self._instead(
            replaced,
            wishes,
            source,
            lambda metadata: _CODEC.build_cancellation(source, replaced.chain, metadata),
            gas_limit=GAS_LIMIT_MIN,
        )

    async def _instead(
        self,
        replaced: UnsignedTransaction,
        wishes: Wishes,
        source: SignerAccount,
        build: Callable[[Mapping[str, str]], UnsignedTransaction],
        *,
        gas_limit: int | None,
    ) -> UnsignedTransaction:
        old, _ = transaction_of(replaced)
        ledger = await self._nonces.ledger(source.address, anew=True)
        if old.nonce < ledger.seen.count:
            raise NonceConflict("a transaction with this nonce is included already")
        least = Fees(bumped(old.max_fee_per_gas), bumped(old.max_priority_fee_per_gas))
        head = await self._heads.current()
        fees = await self._fees.fees(head, wishes, least)
        unsigned = build(_metadata(old.nonce, wishes.gas_limit or gas_limit or old.gas_limit, fees))
        new, _ = transaction_of(unsigned)
        cost = Cost.of(new)
        if ledger.spendable(None, without=old.nonce) < cost.wei:
            raise InsufficientFunds("the account cannot pay the higher fee")
        await self._nonces.replace(source.address, old.nonce, replaced.payload, unsigned.payload, cost)
        return unsigned

    async def _funded(self, address: str, cost: Cost) -> Ledger:
        """The account, which affords ``cost``; what is not enough is looked at again before it is refused."""
        for anew in (False, True):
            ledger = await self._nonces.ledger(address, anew=anew)
            if await self._affords(ledger, cost):
                return ledger
        wei, amount = ledger.spendable(None), cost.token and ledger.spendable(cost.token)
        if wei < cost.wei:
            raise InsufficientFunds(
                f"{max(wei, 0)} wei are free, besides what waits to be included; {cost.wei} are needed"
            )
        raise InsufficientFunds(f"{amount} minor units of the token are free; {cost.amount} are needed")

    async def _affords(self, ledger: Ledger, cost: Cost) -> bool:
        if cost.token is not None and cost.token not in ledger.tokens:
            seen = ledger.seen
            await self._tokens.token(cost.token)
            balance = await self._tokens.balance(ledger.address, cost.token, ledger.block)
            if ledger.seen is not seen:  # looked at again meanwhile: the balance is of another block
                return await self._affords(ledger, cost)
            ledger.tokens[cost.token] = balance
        affords = ledger.spendable(None) >= cost.wei
        return affords and (cost.token is None or ledger.spendable(cost.token) >= cost.amount)


def _metadata(nonce: int, gas: int, fees: Fees) -> dict[str, str]:
    return {
        NONCE: str(nonce),
        GAS_LIMIT: str(gas),
        MAX_FEE_PER_GAS: str(fees.max_fee),
        MAX_PRIORITY_FEE_PER_GAS: str(fees.priority_fee),
    }
