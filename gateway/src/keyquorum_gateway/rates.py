"""Rate limits: fixed windows per API key and per tenant, one budget per class of route, over the ``limits`` library.

The strategy is the library's fixed window, spelt over its storage because the draft's headers want to know what is left
of every request's budget, and asking the strategy a second time costs more than the request. In memory, because there is
one gateway per database; the library's other storages have the same two methods.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage

from keyquorum_gateway.config import RateConfig, RateLimitsConfig
from keyquorum_gateway.routes.endpoint import RateClass
from keyquorum_gateway.state.api_keys import Principal


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and the draft-10 headers. ``policy`` is the exhausted one, or empty."""

    policy: str
    policy_header: str
    limit_header: str
    retry_after_s: int


class _Budget:
    """One policy: how much, in which window, and under which name."""

    def __init__(self, name: str, amount: int, window_s: int) -> None:
        self.name: Final = name
        self.amount: Final = amount
        self.window_s: Final = window_s
        self.policy: Final = f'"{name}";q={amount};w={window_s}'
        self._item: Final[RateLimitItem] = RateLimitItemPerSecond(amount, window_s, namespace=name)

    async def take(self, storage: Storage, owner: str) -> tuple[int, int]:
        """Take one request of ``owner``'s; how much is left (negative: there was none) and when the window ends."""
        key = self._item.key_for(owner)
        used = await storage.incr(key, self.window_s)
        ends = await storage.get_expiry(key)
        return self.amount - used, max(math.ceil(ends - time.time()), 0)


class RateLimits:
    """All budgets."""

    def __init__(self, config: RateLimitsConfig, storage: Storage | None = None) -> None:
        self._storage: Final = storage or MemoryStorage()
        self._budgets: Final = {name: _pair(name, getattr(config, name.value)) for name in RateClass}

    async def take(self, rate: RateClass, principal: Principal) -> Verdict:
        """Take one request from the key's budget and then the tenant's: what the one refuses costs the other nothing."""
        key, tenant, header = self._budgets[rate]
        budget, (left, reset_s) = key, await key.take(self._storage, principal.key_id)
        if left >= 0:
            tenant_left, tenant_reset_s = await tenant.take(self._storage, principal.tenant_id)
            if tenant_left < left:
                budget, left, reset_s = tenant, tenant_left, tenant_reset_s
        exhausted = budget.name if left < 0 else ""
        return Verdict(exhausted, header, f'"{budget.name}";r={max(left, 0)};t={reset_s}', max(reset_s, 1))


def _pair(name: RateClass, config: RateConfig) -> tuple[_Budget, _Budget, str]:
    key = _Budget(f"{name}-key", config.per_key, config.window_s)
    tenant = _Budget(f"{name}-tenant", config.per_tenant, config.window_s)
    return key, tenant, f"{key.policy}, {tenant.policy}"
