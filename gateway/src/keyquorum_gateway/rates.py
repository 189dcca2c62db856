"""Rate limits: sliding windows per API key and per tenant, one budget per class of route (the ``limits`` library).

In memory, because there is one gateway per database; the same strategies run over Redis where there are several.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

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
    def __init__(self, name: RateClass, config: RateConfig) -> None:
        self.key: Final[RateLimitItem] = RateLimitItemPerSecond(config.per_key, config.window_s, namespace=f"k/{name}")
        self.tenant: Final[RateLimitItem] = RateLimitItemPerSecond(
            config.per_tenant, config.window_s, namespace=f"t/{name}"
        )
        self.header: Final = (
            f'"{name}-key";q={config.per_key};w={config.window_s}, '
            f'"{name}-tenant";q={config.per_tenant};w={config.window_s}'
        )
        self.key_name: Final = f"{name}-key"
        self.tenant_name: Final = f"{name}-tenant"


class RateLimits:
    """All budgets."""

    def __init__(self, config: RateLimitsConfig) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._budgets: Final = {name: _Budget(name, getattr(config, name.value)) for name in RateClass}

    async def take(self, rate: RateClass, principal: Principal) -> Verdict:
        """Take one request from the key's and the tenant's budget. A refused request costs the tenant nothing."""
        budget, limiter = self._budgets[rate], self._limiter
        exhausted = ""
        if not await limiter.hit(budget.key, principal.key_id):
            exhausted = budget.key_name
        elif not await limiter.hit(budget.tenant, principal.tenant_id):
            exhausted = budget.tenant_name
        if exhausted == budget.tenant_name:
            name, item, owner = exhausted, budget.tenant, principal.tenant_id
        else:
            name, item, owner = budget.key_name, budget.key, principal.key_id
        stats = await limiter.get_window_stats(item, owner)
        reset_s = max(math.ceil(stats.reset_time - time.time()), 1 if exhausted else 0)
        remaining = 0 if exhausted else stats.remaining
        return Verdict(exhausted, budget.header, f'"{name}";r={remaining};t={reset_s}', reset_s)
