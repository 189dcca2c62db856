"""Signs messages: a chain's own message format through its codec, or raw bytes where the key's policy allows them."""

from typing import TypeAlias

from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.intents import PayloadOrder, RawOrder
from keyquorum_gateway.operations.ceremony_runner import CeremonyRunner
from keyquorum_gateway.operations.engine import LiveOperation, OperationEngine, Outcome, Write
from keyquorum_gateway.operations.issuing import IntentIssuer
from keyquorum_gateway.operations.record import Ceremony, SignaturePlan, SignatureResult
from keyquorum_gateway.plugins import NoPlugin, Plugins
from keyquorum_gateway.problems import Failure, OperationFailed
from keyquorum_gateway.signatures import verifies
from keyquorum_gateway.state.wallets import Account, WalletKey, Wallets
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.codec import Decoded, EffectKind
from keyquorum_plugin_api.errors import ChainError

SignOrder: TypeAlias = PayloadOrder | RawOrder


class MessageSigning:
    """The program of operations of kind ``signature``."""

    def __init__(
        self,
        *,
        engine: OperationEngine,
        ceremonies: CeremonyRunner,
        issuer: IntentIssuer,
        wallets: Wallets,
        plugins: Plugins,
        flags: ChainFlags,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._ceremonies = ceremonies
        self._issuer = issuer
        self._wallets = wallets
        self._plugins = plugins
        self._flags = flags
        self._metrics = metrics

    async def run(self, live: LiveOperation) -> Outcome:
        """One ceremony, and the check of its signature by a library that had no part in it."""
        operation, plan = live.operation, _plan(live)
        account = live.account or self._wallets.account(plan.account_id, operation.tenant_id)
        key = self._wallets.key(account.key_id) if account else None
        if account is None or key is None:
            raise OperationFailed("internal", "the account is gone")
        ceremony = operation.ceremonies[-1] if operation.ceremonies else self._begin(live, account, key, plan)
        if ceremony.authorization is None:
            return Outcome.AWAITING_INITIATOR
        self._flags.require(account.chain, tenant_id=operation.tenant_id, wallet_id=account.wallet_id, at="broadcast")
        harmless = plan.unsigned is not None and all(
            effect.kind is EffectKind.MESSAGE for effect in plan.unsigned.effects
        )  # raw bytes may be anything, and a permit is as good as money
        run = self._ceremonies.run_harmless if harmless else self._ceremonies.run
        terminal = await run(live, ceremony)
        if len(terminal.signatures) != 1 or not verifies(
            key.scheme, account.public_key, plan.message, terminal.signatures[0]
        ):
            self._metrics.refusals.labels("signature").inc()
            raise OperationFailed("protocol-abort", "the signature that came back does not verify")
        operation.result = SignatureResult(
            account.id,
            key.scheme,
            account.public_key,
            plan.message,
            terminal.signatures[0],
            operation.signing_ms,
            self._encoded(plan, terminal.signatures[0]),
        )
        return Outcome.DONE

    def _encoded(self, plan: SignaturePlan, signature: bytes) -> bytes:
        """The signature as wallets of the chain exchange it (BIP322, EIP-191); the codec verifies it, too."""
        if plan.unsigned is None or plan.codec is None:
            return b""
        try:
            return self._plugins.codec(plan.codec.name).codec.combine(plan.unsigned, [signature]).raw
        except (ChainError, NoPlugin) as error:
            self._metrics.refusals.labels("signature").inc()
            raise OperationFailed("protocol-abort", f"the codec cannot use the signature: {error}") from None

    def belongings(self, _live: LiveOperation) -> tuple[Write, ...]:
        """The operation holds everything."""
        return ()

    async def abandon(self, _live: LiveOperation, _failure: Failure) -> Write | None:
        """Nothing was reserved."""
        return None

    def _begin(self, live: LiveOperation, account: Account, key: WalletKey, plan: SignaturePlan) -> Ceremony:
        wallet = live.wallet or self._wallets.wallet(account.wallet_id, account.tenant_id)
        if wallet is None:
            raise OperationFailed("internal", "the wallet is gone")
        ceremony = self._issuer.issue(live.operation, wallet, _order(account, key, plan))
        self._engine.publish(live, "built")
        return ceremony


def _order(account: Account, key: WalletKey, plan: SignaturePlan) -> SignOrder:
    unsigned, codec = plan.unsigned, plan.codec
    if unsigned is None or codec is None:
        return RawOrder(key.id, key.scheme, plan.message, account.path)
    decoded = Decoded(unsigned.requests, unsigned.effects)
    return PayloadOrder(key.id, key.scheme, unsigned.chain, codec, unsigned.payload, decoded)


def _plan(live: LiveOperation) -> SignaturePlan:
    plan = live.operation.plan
    if not isinstance(plan, SignaturePlan):
        raise TypeError("a signature operation has a signature plan")
    return plan
