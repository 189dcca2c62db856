"""How much to offer for inclusion."""

from collections.abc import Sequence

from keyquorum_plugin_api.errors import ChainUnavailable, FeeTooHigh
from keyquorum_sol.limits import COMPUTE_UNITS_MAX
from keyquorum_sol.transfers import priority_fee


def percentile(prices: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile; 0 where nothing was paid recently."""
    if not prices:
        return 0
    ordered = sorted(prices)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[rank - 1]


def require_units(used: int | None) -> int:
    """Compute units that a simulation used, if the node says so."""
    if used is None or used == 0:
        raise ChainUnavailable("the node does not say how many compute units the transfer needs")
    return used


def unit_limit(used: int, margin_percent: int) -> int:
    """Compute units to ask for: what the simulation used and a margin, as balances may change until inclusion."""
    return min(COMPUTE_UNITS_MAX, -(-used * (100 + margin_percent) // 100))


def require_affordable(limit: int, price: int, ceiling_lamports: int) -> None:
    """Refuse a priority fee above the configured ceiling rather than cut it: a lower offer might never be included."""
    fee = priority_fee(limit, price)
    if fee > ceiling_lamports:
        raise FeeTooHigh(f"the priority fee would be {fee} lamports; the ceiling is {ceiling_lamports}")
