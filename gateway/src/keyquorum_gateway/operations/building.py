"""Has an adapter build what a transaction is for, and approves of the outcome or throws it away.

What a transaction is for decides which call of the adapter is made and which effects are allowed; in every case our own
codec says what the payload does. A payload in the place of another must be unable to be included beside it, beside what
that one replaced, and beside every other one that was built in their places: exclusion is not transitive.
"""

from contextlib import suppress

from keyquorum_gateway.adapter_calls import BUILD_S, DISCARD_S, adapter_call
from keyquorum_gateway.chains import ReadyChain
from keyquorum_gateway.effects import Approved, approve_cancellation, approve_transfer, require_exclusive
from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.state.transactions import Purpose, Transaction, Transactions
from keyquorum_gateway.state.wallets import Account, Wallets
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.chain import ChainAdapter
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import ChainError, Unsupported


class Builder:
    """Builds for all transactions of this gateway."""

    def __init__(self, wallets: Wallets, transactions: Transactions, metrics: Metrics) -> None:
        self._wallets = wallets
        self._transactions = transactions
        self._metrics = metrics

    async def build(self, transaction: Transaction, chain: ReadyChain, account: Account) -> Approved:
        """An approved payload whose means are reserved. Nothing is reserved where this raises."""
        source = _signer(account)
        wanted = self._wanted(transaction, source)
        try:
            unsigned = await self._obtain(transaction, chain, wanted, self._replaced(transaction))
        except Unsupported:
            if not transaction.shown:
                raise
            detail = "parties have seen the payload of an earlier try, and this chain cannot put another in its place"
            raise OperationFailed("outcome-unknown", detail) from None
        try:
            approved = self._approve(transaction, chain, wanted, unsigned)
            for rival in (*transaction.shown, *self._transactions.rivals(transaction)):
                require_exclusive(chain.codec.codec, approved, rival)
        except ChainError as error:
            self._metrics.refusals.labels(error.code).inc()
            await discard(chain.adapter, unsigned)
            raise
        return approved

    def _wanted(self, transaction: Transaction, source: SignerAccount) -> TransferIntent:
        transfer, payer = transaction.transfer, None
        if transfer.fee_account_id:
            account = self._wallets.account(transfer.fee_account_id, transaction.tenant_id)
            if account is None:
                raise OperationFailed("internal", "the account that was to pay the fee is gone")
            payer = _signer(account)
        return TransferIntent(
            transfer.chain, source, transfer.destination, transfer.asset, transfer.amount, transfer.memo, payer
        )

    def _replaced(self, transaction: Transaction) -> UnsignedTransaction | None:
        """The payload in whose place the new one is to be: that of an earlier try, if parties have seen one."""
        if transaction.shown:
            return transaction.shown[-1]
        if transaction.purpose is Purpose.TRANSFER:
            return None
        replaced = self._transactions.get(transaction.replaces, transaction.tenant_id)
        if replaced is None or replaced.unsigned is None:
            raise OperationFailed("internal", "the transaction that was to be replaced is gone")
        return replaced.unsigned

    async def _obtain(
        self, transaction: Transaction, chain: ReadyChain, wanted: TransferIntent, replaced: UnsignedTransaction | None
    ) -> UnsignedTransaction:
        adapter, options = chain.adapter, dict(transaction.transfer.options)
        if transaction.transfer.payload:
            async with adapter_call(chain.chain, "import_transfer", BUILD_S):
                return await adapter.import_transfer(wanted, transaction.transfer.payload)
        if transaction.shown:
            options = {}  # what was wished for the first payload need not do for one in its place
        if replaced is not None and transaction.purpose is Purpose.CANCELLATION:
            async with adapter_call(chain.chain, "build_cancellation", BUILD_S):
                return await adapter.build_cancellation(wanted.source, replaced, options)
        if replaced is not None:
            async with adapter_call(chain.chain, "build_replacement", BUILD_S):
                return await adapter.build_replacement(wanted, replaced, options)
        async with adapter_call(chain.chain, "build_transfer", BUILD_S):
            return await adapter.build_transfer(wanted, options)

    def _approve(
        self, transaction: Transaction, chain: ReadyChain, wanted: TransferIntent, unsigned: UnsignedTransaction
    ) -> Approved:
        codec, asset, ceiling = chain.codec.codec, chain.info.native_asset, int(chain.config.fee_ceiling)
        if transaction.purpose is Purpose.CANCELLATION:
            return approve_cancellation(
                codec, unsigned, chain.chain, wanted.source, fee_asset=asset, fee_ceiling=ceiling
            )
        options = transaction.transfer.options
        return approve_transfer(codec, unsigned, wanted, fee_asset=asset, fee_ceiling=ceiling, options=options)


async def discard(adapter: ChainAdapter, unsigned: UnsignedTransaction) -> None:
    """Release reservations; a failure leaves them to their own time limit."""
    with suppress(ChainError):
        async with adapter_call(unsigned.chain, "discard", DISCARD_S):
            await adapter.discard(unsigned)


def _signer(account: Account) -> SignerAccount:
    return SignerAccount(account.address, account.public_key, account.path)
