"""Makes a wallet: one ceremony per key, each certificate verified against what was asked, then the first accounts."""

import time
from functools import partial

from keyquorum_gateway.accounts import AccountBook
from keyquorum_gateway.certificates import Refused, verify_certificate, verify_order
from keyquorum_gateway.chains import Chains
from keyquorum_gateway.intents import KeyOrder, intent_hash
from keyquorum_gateway.operations.ceremony_runner import CeremonyRunner
from keyquorum_gateway.operations.engine import LiveOperation, OperationEngine, Outcome, Write
from keyquorum_gateway.operations.issuing import IntentIssuer
from keyquorum_gateway.operations.record import Ceremony, WalletPlan
from keyquorum_gateway.problems import Failure, OperationFailed
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.state.wallets import (
    Wallet,
    WalletKey,
    Wallets,
    WalletState,
    insert_key,
    insert_wallet,
    set_wallet_state,
)
from keyquorum_gateway.telemetry import Metrics


class WalletCreation:
    """The program of operations of kind ``wallet``."""

    def __init__(
        self,
        *,
        engine: OperationEngine,
        ceremonies: CeremonyRunner,
        issuer: IntentIssuer,
        roster: Roster,
        wallets: Wallets,
        accounts: AccountBook,
        chains: Chains,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._ceremonies = ceremonies
        self._issuer = issuer
        self._roster = roster
        self._wallets = wallets
        self._accounts = accounts
        self._chains = chains
        self._metrics = metrics

    async def run(self, live: LiveOperation) -> Outcome:
        """Make the next key until all are there; stop where the client has to sign the next intent."""
        operation, plan = live.operation, _plan(live)
        wallet = live.wallet = live.wallet or self._wallets.wallet(operation.wallet_id, operation.tenant_id)
        if wallet is None:
            raise OperationFailed("interrupted", "the gateway was restarted before the wallet was ordered")
        made = {key.id for key in self._wallets.keys(wallet.id)}
        for order in plan.keys:
            if order.key_id in made:
                continue
            ceremony = self._ceremony(live, wallet, order)
            if ceremony.authorization is None:
                return Outcome.AWAITING_INITIATOR
            await self._make_key(live, wallet, order, ceremony)
        await self._open_accounts(live, wallet, plan)
        return Outcome.DONE

    def belongings(self, live: LiveOperation) -> tuple[Write, ...]:
        """The wallet: it exists from the operation's first moment on, so that the one can be followed to the other."""
        return (partial(insert_wallet, wallet=live.wallet),) if live.wallet else ()

    async def abandon(self, live: LiveOperation, _failure: Failure) -> Write | None:
        """A wallet without all its keys has failed; one whose first account could not be made is still a wallet."""
        made = {key.id for key in self._wallets.keys(live.operation.wallet_id)}
        if made.issuperset(order.key_id for order in _plan(live).keys):
            return None
        return partial(set_wallet_state, wallet_id=live.operation.wallet_id, state=WalletState.FAILED)

    def _ceremony(self, live: LiveOperation, wallet: Wallet, order: KeyOrder) -> Ceremony:
        """The ceremony of a key: the one that was begun, or a new intent."""
        for begun in live.operation.ceremonies:
            if begun.key_id == order.key_id:
                return begun
        return self._issuer.issue(live.operation, wallet, order)

    async def _make_key(self, live: LiveOperation, wallet: Wallet, order: KeyOrder, ceremony: Ceremony) -> None:
        terminal = await self._ceremonies.run(live, ceremony, partial(insert_wallet, wallet=wallet))
        try:
            certified = verify_certificate(terminal.certificate, self._roster)
            verify_order(certified, order, wallet.tenant_id, intent_hash(ceremony.intent))
        except Refused as refusal:
            self._metrics.refusals.labels(refusal.code).inc()
            raise
        key = WalletKey(order.key_id, wallet.id, order.scheme, terminal.certificate, time.time_ns() // 1_000_000)
        self._engine.publish(live, "certified", detail=f"{order.scheme} key {order.key_id}")
        writes: list[Write] = [partial(insert_key, key=key)]
        if order == _plan(live).keys[-1]:
            writes.append(partial(set_wallet_state, wallet_id=wallet.id, state=WalletState.ACTIVE))
        await self._engine.persist(live, *writes)

    async def _open_accounts(self, live: LiveOperation, wallet: Wallet, plan: WalletPlan) -> None:
        for name in plan.chains:
            chain = self._chains.find(name, wallet.tenant_id, wallet_id=wallet.id, at="broadcast").described()
            account = await self._accounts.open(wallet, chain, 0)
            self._engine.publish(live, "account_attested", detail=f"{chain.chain} account {account.id}")


def _plan(live: LiveOperation) -> WalletPlan:
    plan = live.operation.plan
    if not isinstance(plan, WalletPlan):
        raise TypeError("a wallet operation has a wallet plan")
    return plan
