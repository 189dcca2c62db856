"""Moves money: build, approve, have it signed, store the signed bytes, broadcast those and no others.

Every step starts from what is stored, so that a turn after a restart, or after a client's authorization, goes on where
the last one ended. Once a party may have seen a payload, another one is built only in its place (:mod:`.building`).
"""

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from keyquorum_gateway.adapter_calls import BUILD_S, adapter_call
from keyquorum_gateway.chain_signer import SigningTicket, signing
from keyquorum_gateway.chains import Chains, ReadyChain
from keyquorum_gateway.effects import AdapterRefused
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.flags.rollout import At
from keyquorum_gateway.intents import PayloadOrder
from keyquorum_gateway.operations.building import Builder, discard
from keyquorum_gateway.operations.ceremony_runner import RECOVERY_GRACE_S, CeremonyRunner
from keyquorum_gateway.operations.engine import LiveOperation, OperationEngine, Outcome, Write
from keyquorum_gateway.operations.issuing import IntentIssuer
from keyquorum_gateway.operations.record import OperationState
from keyquorum_gateway.operations.tracking import TransactionTracker
from keyquorum_gateway.problems import Failure, OperationFailed, Problem
from keyquorum_gateway.state.database import StateUnavailable
from keyquorum_gateway.state.transactions import Transaction, Transactions, TransactionState, save_transaction
from keyquorum_gateway.state.wallets import Account, Wallet, Wallets
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.codec import SignedTransaction
from keyquorum_plugin_api.errors import ChainError, Expired, SignatureInvalid
from keyquorum_plugin_api.signer import SigningError

_NEVER_SIGNED: Final = frozenset(
    {
        "policy-denied",
        "intent-invalid",
        "key-not-found",
        "scheme-unavailable",
        "authorization-expired",
        "adapter-refused",
        "fee-too-high",
        "external-id-taken",
        "interrupted",
    }
)
"""Failures after which no party has signed or will sign: what was reserved for the payload is free again."""


RECOVERY_S: Final = 60.0
"""How long an operation that a restart found unfinished waits for its chain's node."""

REBUILDS_MAX: Final = 2
"""How often a payload that became too old before anybody was asked to sign it is built anew."""


class _Stale(Exception):
    """The payload became too old before any party was shown it."""

    def __init__(self, expired: Expired) -> None:
        self.expired = expired
        super().__init__(expired.detail)


class Transfers:
    """The program of operations of kind ``transaction``."""

    def __init__(
        self,
        *,
        engine: OperationEngine,
        ceremonies: CeremonyRunner,
        issuer: IntentIssuer,
        wallets: Wallets,
        transactions: Transactions,
        tracker: TransactionTracker,
        chains: Chains,
        flags: ChainFlags,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._ceremonies = ceremonies
        self._issuer = issuer
        self._wallets = wallets
        self._transactions = transactions
        self._tracker = tracker
        self._chains = chains
        self._flags = flags
        self._metrics = metrics
        self._builder = Builder(wallets, transactions, metrics)

    async def run(self, live: LiveOperation) -> Outcome:
        """From wherever the transaction stands to its broadcast, or to where the client has to sign the intent."""
        transaction = self._transaction(live)
        account = live.account or self._wallets.account(transaction.account_id, transaction.tenant_id)
        wallet = live.wallet or (self._wallets.wallet(account.wallet_id, transaction.tenant_id) if account else None)
        if account is None or wallet is None:
            raise OperationFailed("internal", "the transaction's account is gone")
        if not transaction.raw:  # signed bytes are valid, whatever a flag or a node says: they wait instead of failing
            chain = await self._usable(live, wallet)
            if not live.operation.ceremonies:
                if live.recovered:
                    raise OperationFailed(
                        "interrupted", "the gateway was restarted while the transaction was being built"
                    )
                await self._build(live, chain, account, wallet)
            if not await self._have_signed(live, chain, account, wallet):
                return Outcome.AWAITING_INITIATOR
        if transaction.transfer.submit:
            await self._hold_while_killed(live, transaction.transfer.chain, wallet)
            self._engine.publish(live, "broadcasting")
            live.transaction = await self._tracker.broadcast(self._transaction(live))
            self._engine.publish(live, "submitted", detail=live.transaction.txid)
        return Outcome.DONE

    async def _usable(self, live: LiveOperation, wallet: Wallet) -> ReadyChain:
        """The transaction's chain. After a restart it must not look as if nothing had happened where parties may have signed."""
        transaction = self._transaction(live)
        found = self._chains.configured(transaction.transfer.chain)
        at: At = "broadcast" if live.operation.ceremonies or transaction.replaces else "build"
        try:
            self._flags.require(found.chain, tenant_id=wallet.tenant_id, wallet_id=wallet.id, at=at)
            return await found.until_ready(RECOVERY_S if live.recovered else 0)
        except Problem as problem:
            if live.recovered and any(ceremony.sent for ceremony in live.operation.ceremonies):
                detail = f"the parties may have signed before the restart, and {problem.detail}"
                raise OperationFailed("outcome-unknown", detail) from None
            raise

    async def _hold_while_killed(self, live: LiveOperation, chain: str, wallet: Wallet) -> None:
        """Signed bytes of a chain that was switched off stay here until it is switched on again: they are valid, so
        nobody is told that the transfer will not happen."""
        if not self._flags.allows(chain, tenant_id=wallet.tenant_id, wallet_id=wallet.id, at="broadcast"):
            self._engine.publish(live, "held", detail=f"{chain} is switched off; the signed bytes wait")
            with suppress(StateUnavailable):  # what waits is stored; that it waits is known again after a restart
                await self._engine.persist(live)
            await self._flags.until_allowed(chain, tenant_id=wallet.tenant_id, wallet_id=wallet.id)

    def belongings(self, live: LiveOperation) -> tuple[Write, ...]:
        """The transaction, which waits where its operation waits."""
        waits = live.operation.state is OperationState.AWAITING_INITIATOR
        state = TransactionState.AWAITING_INITIATOR if waits else self._transaction(live).state
        return (self._store(live, state=state),)

    async def abandon(self, live: LiveOperation, failure: Failure) -> Write | None:
        """Give back what was reserved, if it is certain that nothing was signed; the transaction has failed."""
        transaction = self._transaction(live)
        if failure.code in _NEVER_SIGNED and transaction.unsigned is not None:
            with suppress(Problem):
                chain = self._chains.configured(transaction.transfer.chain).ready()
                await discard(chain.adapter, transaction.unsigned)
        if transaction.state in (TransactionState.EXPIRED, TransactionState.FAILED):
            return None
        stored = self._transactions.get(transaction.id)
        if stored is not None and stored.raw:
            return None
        return self._store(live, state=TransactionState.FAILED, error=failure)

    async def _build(self, live: LiveOperation, chain: ReadyChain, account: Account, wallet: Wallet) -> None:
        """Build, approve, and make the intent."""
        transaction = self._transaction(live)
        self._engine.publish(live, "building")
        approved = await self._builder.build(transaction, chain, account)
        codec = chain.codec
        order = PayloadOrder(
            account.key_id, codec.codec.scheme, chain.chain, codec.ref, approved.unsigned.payload, approved.decoded
        )
        live.transaction = replace(
            transaction, unsigned=approved.unsigned, fee=approved.fee, fee_asset=chain.info.native_asset
        )
        self._issuer.issue(live.operation, wallet, order)
        self._engine.publish(live, "built", detail=f"fee {approved.fee}")

    async def _rebuild(self, live: LiveOperation, chain: ReadyChain, account: Account, wallet: Wallet) -> None:
        """Build anew what became too old while it waited. Its intent was shown to no party, so nobody can have signed it;
        whoever initiates has to approve of the new one."""
        stale = self._transaction(live)
        if stale.unsigned is not None:
            await discard(chain.adapter, stale.unsigned)
        live.operation.ceremonies.pop()
        live.transaction = replace(stale, unsigned=None, state=TransactionState.BUILDING)
        await self._build(live, chain, account, wallet)

    async def _have_signed(self, live: LiveOperation, chain: ReadyChain, account: Account, wallet: Wallet) -> bool:
        """Have the payload signed, building a stale one again; false where a client has to authorize it first."""
        for rebuilds_left in reversed(range(REBUILDS_MAX + 1)):
            if live.operation.ceremonies[-1].authorization is None:
                return False
            if self._transaction(live).raw:
                return True
            try:
                await self._sign(live, chain)
            except _Stale as stale:
                if not rebuilds_left:
                    raise stale.expired from None
                self._engine.publish(live, "stale", detail=stale.expired.detail)
                await self._rebuild(live, chain, account, wallet)
        return True

    async def _sign(self, live: LiveOperation, chain: ReadyChain) -> None:
        """Let the adapter have the approved payload signed, and keep exactly what our own codec makes of the signatures."""
        transaction, ceremony = self._transaction(live), live.operation.ceremonies[-1]
        unsigned = transaction.unsigned
        if unsigned is None:
            raise AssertionError("an intent exists only for a built payload")

        async def obtain() -> tuple[bytes, ...]:
            store = self._store(live, state=TransactionState.SIGNING, operation_id=live.operation.id)
            return (await self._ceremonies.run(live, ceremony, store)).signatures

        ticket = SigningTicket(unsigned, obtain, shown=ceremony.sent)
        left_s = max(ceremony.valid_until_ms / 1000 - time.time(), 0)
        signed = await self._through_adapter(chain, ticket, left_s + RECOVERY_GRACE_S + BUILD_S)
        try:
            expected = chain.codec.codec.combine(unsigned, ticket.signatures)
        except SignatureInvalid:
            self._metrics.refusals.labels("signature").inc()
            raise OperationFailed("protocol-abort", "the signatures that came back do not verify") from None
        if signed != expected:
            self._metrics.refusals.labels("adapter-refused").inc()
            raise AdapterRefused("the adapter made other bytes of the signatures than the codec")
        store = self._store(live, state=TransactionState.SIGNED, raw=expected.raw, txid=expected.txid)
        self._engine.publish(live, "signed", detail=expected.txid)
        try:
            await self._engine.persist(live, store)
        except StateUnavailable as error:
            raise OperationFailed("outcome-unknown", f"signed, but not stored: {error.detail}") from None

    async def _through_adapter(
        self, chain: ReadyChain, ticket: SigningTicket, deadline_s: float
    ) -> SignedTransaction | None:
        """What the adapter returns. Errors of the signing side count as such, whatever the adapter made of them."""
        try:
            async with adapter_call(chain.chain, "sign", deadline_s):
                with signing(ticket):
                    signed: SignedTransaction | None = await chain.adapter.sign(ticket.approved)
        except (ChainError, SigningError) as error:
            if ticket.error is not None:
                raise ticket.error from None
            if isinstance(error, Expired) and not ticket.shown:
                raise _Stale(error) from None
            if not ticket.signatures:
                raise
            return None
        if not ticket.signatures:
            raise ticket.error or AdapterRefused("the adapter did not have the payload signed")
        return signed

    def _transaction(self, live: LiveOperation) -> Transaction:
        if live.transaction is None:
            live.transaction = self._transactions.get(live.operation.transaction_id)
        if live.transaction is None:
            raise OperationFailed("interrupted", "the gateway was restarted before the transaction was stored")
        return live.transaction

    def _store(self, live: LiveOperation, **changes: object) -> Write:
        """Change the transaction and return the command that stores it."""
        now_ms = time.time_ns() // 1_000_000
        live.transaction = replace(self._transaction(live), updated_ms=now_ms, **changes)  # type: ignore[arg-type]
        return partial(save_transaction, transaction=live.transaction)
