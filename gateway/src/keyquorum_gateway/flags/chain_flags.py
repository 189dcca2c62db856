"""The gate: may this tenant, with this wallet, use this chain now. Asked at build and again at broadcast.

Decisions are OpenFeature evaluations, each counted and put on the current span. It fails closed: only "the file does not
decide this chain" falls back to gateway.toml. A flags file that was configured and has not been readable since the start
closes every chain, because it may hold a kill; one that breaks later leaves the last good state in force.
"""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.provider.no_op_provider import NoOpProvider
from opentelemetry import trace

from keyquorum_gateway.config import ChainConfig, FlagsConfig
from keyquorum_gateway.flags.provider import NAME, FileProvider, Snapshot, flag_key
from keyquorum_gateway.flags.rollout import Asker, At, Decision, Reason, Rollout, configured
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.telemetry import Metrics

_SHOWN_MAX: Final = 4096
_MISSED_S: Final = 5.0
"""How long a change can be missed by whoever waits for one, should its event be lost on the way through OpenFeature."""

_REASONS: Final = frozenset(Reason)
_CLOSED: Final = Decision(allowed=False, reason=Reason.UNAVAILABLE)
_WHY: Final = {
    Reason.KILLED: "is switched off for everybody",
    Reason.UNAVAILABLE: "is held: the gateway cannot read its chain flags",
}


@dataclass(frozen=True, slots=True)
class FlagState:
    """What a caller is told about a chain. No names of tenants but, by ``listed``, whether its own is on the list."""

    enabled: bool
    reason: Reason
    stage: str
    percent: int | None
    sticky: str | None
    listed: bool
    source: str
    stale: bool


class ChainFlags:
    """The flags of the configured chains, with the file that they come from."""

    def __init__(self, config: FlagsConfig, chains: Mapping[str, ChainConfig], metrics: Metrics) -> None:
        self._chains = chains
        self._metrics = metrics
        self._provider = FileProvider(config.file) if config.file is not None else None
        self._domain = f"keyquorum-gateway-{uuid.uuid4().hex}"
        self._client: Final[OpenFeatureClient] = api.get_client(self._domain)
        self._shown: dict[tuple[str, str], FlagState] = {}
        self._shown_of: Snapshot | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._change = asyncio.Event()
        self._log: Any = structlog.get_logger("keyquorum_gateway.flags")

    async def open(self) -> None:
        """Begin to watch the file. One that cannot be used is said, and watched on."""
        if self._provider is None:
            return
        self._loop = asyncio.get_running_loop()
        for event in ProviderEvent:
            self._client.add_handler(event, self._heard(event))
        with suppress(OpenFeatureError):  # an event says so as well
            await asyncio.to_thread(api.set_provider_and_wait, self._provider, self._domain)

    async def close(self) -> None:
        """Stop watching."""
        if self._provider is None:
            return
        self._loop = None
        await asyncio.to_thread(self._provider.shutdown)
        api.set_provider(NoOpProvider(), self._domain)

    def require(self, chain: str, *, tenant_id: str, wallet_id: str = "", at: At = "build") -> None:
        """A 403 ``chain-not-enabled`` problem unless the chain is open; see :data:`~keyquorum_gateway.flags.rollout.At`."""
        decision = self.decide(chain, tenant_id=tenant_id, wallet_id=wallet_id, at=at)
        if not decision.allowed:
            why = _WHY.get(decision.reason, "is not enabled for the tenant")
            raise Problem("chain-not-enabled", f"{chain} {why}", extensions={"reason": decision.reason.value})

    def allows(self, chain: str, *, tenant_id: str, wallet_id: str = "", at: At = "build") -> bool:
        """The same as a predicate."""
        return self.decide(chain, tenant_id=tenant_id, wallet_id=wallet_id, at=at).allowed

    def decide(self, chain: str, *, tenant_id: str, wallet_id: str = "", at: At = "build") -> Decision:
        """The decision, counted and on the span."""
        decision = self._evaluate(chain, Asker(tenant_id, wallet_id), at)
        outcome = "allowed" if decision.allowed else "refused"
        if chain in self._chains:  # a series per configured chain, and none for what clients make up
            self._metrics.flag_decisions.labels(chain, outcome, decision.reason.value).inc()
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes(
                {
                    "feature_flag.key": flag_key(chain),
                    "feature_flag.provider.name": NAME if self._provider is not None else "configuration",
                    "feature_flag.result.value": decision.allowed,
                    "feature_flag.result.variant": decision.reason.value,
                }
            )
        return decision

    async def until_allowed(self, chain: str, *, tenant_id: str, wallet_id: str = "", at: At = "broadcast") -> None:
        """Return once the chain is open; at once where it is. Wakes with every change of the flags.

        Two decisions are counted, however long it takes: that it was closed, and that it was opened.
        """
        while not self.allows(chain, tenant_id=tenant_id, wallet_id=wallet_id, at=at):
            change = self._change
            while not self._evaluate(chain, Asker(tenant_id, wallet_id), at).allowed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MISSED_S):
                        await change.wait()
                change = self._change

    def state(self, chain: str, tenant_id: str) -> FlagState:
        """What to show the tenant. Not a decision: not counted, and kept for as long as the file says the same."""
        snapshot = self._provider.snapshot if self._provider is not None else None
        if snapshot is not self._shown_of or len(self._shown) >= _SHOWN_MAX:
            self._shown, self._shown_of = {}, snapshot
        shown = self._shown.get((chain, tenant_id))
        if shown is None:
            shown = self._shown[chain, tenant_id] = self._state(chain, tenant_id)
        return shown

    def _state(self, chain: str, tenant_id: str) -> FlagState:
        decision = self._evaluate(chain, Asker(tenant_id), "build")
        rollout = self.rollout(chain)
        canary = rollout is not None and rollout.stage == "canary"
        return FlagState(
            enabled=decision.allowed,
            reason=decision.reason,
            stage="held" if decision.reason is Reason.UNAVAILABLE else rollout.stage if rollout else "configuration",
            percent=rollout.percent if rollout is not None and canary else None,
            sticky=rollout.sticky if rollout is not None and canary else None,
            listed=rollout is not None and tenant_id in rollout.tenants,
            source="configuration" if rollout is None else "file",
            stale=bool(self.problem),
        )

    def rollout(self, chain: str) -> Rollout | None:
        """The chain's flag in the file, if it has one."""
        return (self._provider.snapshot.rollouts or {}).get(chain) if self._provider is not None else None

    @property
    def problem(self) -> str:
        """Why the file does not count as it is now; empty where it does, or where there is none."""
        return self._provider.snapshot.problem if self._provider is not None else ""

    @property
    def health(self) -> str:
        """For /readyz, without the file's path or content."""
        if self._provider is None:
            return "configuration"
        if not self.problem:
            return "ok"
        return "unreadable, every chain is held" if self._held else "stale, the last good state counts"

    @property
    def _held(self) -> bool:
        return self._provider is not None and self._provider.snapshot.rollouts is None

    def _evaluate(self, chain: str, asker: Asker, at: At) -> Decision:
        config = self._chains.get(chain)
        if config is None:
            return Decision(allowed=False, reason=Reason.CONFIGURATION)
        default = configured(enabled=config.enabled, tenants=config.tenants, asker=asker, at=at)
        if self._provider is None or not config.enabled:
            return default
        context = EvaluationContext(
            asker.tenant_id, {"tenant_id": asker.tenant_id, "wallet_id": asker.wallet_id, "at": at}
        )
        found = self._client.get_boolean_details(flag_key(chain), default_value=False, evaluation_context=context)
        if found.error_code is ErrorCode.FLAG_NOT_FOUND:
            return default
        if found.error_code is not None or found.variant not in _REASONS:
            return _CLOSED
        return Decision(found.value, Reason(found.variant))

    def _heard(self, event: ProviderEvent) -> Any:
        """A handler. OpenFeature calls it in a thread of its own."""

        def handler(details: EventDetails) -> None:
            loop = self._loop
            if loop is None or details.provider_name != NAME:
                return
            try:
                loop.call_soon_threadsafe(self._tell, event, details)
            except RuntimeError:  # the loop has ended
                return

        return handler

    def _tell(self, event: ProviderEvent, details: EventDetails) -> None:
        """Wake whoever waits; say what happened. The figures are those of now, in whatever order events arrive."""
        self._change.set()
        self._change = asyncio.Event()
        self._metrics.flags_stale.set(bool(self.problem))
        self._metrics.flag_events.labels(event.name.removeprefix("PROVIDER_").lower()).inc()
        if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            for key in details.flags_changed or ():
                chain = key.removeprefix(flag_key(""))
                rollout = self.rollout(chain)
                self._log.warning("flags.changed", chain=chain, stage=rollout.stage if rollout else "configuration")
            self._log_strangers()
        elif event is ProviderEvent.PROVIDER_READY:
            self._log.info("flags.read")
            self._log_strangers()
        else:
            effect = "every chain is held" if self._held else "the last good state counts"
            self._log.error("flags.unreadable", reason=details.message, effect=effect)

    def _log_strangers(self) -> None:
        """A flag of a chain that is not configured does nothing, which may be a slip of the pen."""
        rollouts = self._provider.snapshot.rollouts if self._provider is not None else None
        strangers = sorted(set(rollouts or ()) - set(self._chains))
        if strangers:
            self._log.warning("flags.unknown_chains", chains=strangers)
