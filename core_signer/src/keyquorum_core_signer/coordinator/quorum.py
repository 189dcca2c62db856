"""Which parties run a session: the best ones that can all talk to one another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

LOOKS_MAX: Final = 64  # sets whose stock is looked into before a signature is made without one

Quorum = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """The quorums that an operation has had: ``failed`` ones may be had again, ``barred`` ones would only fail again."""

    failed: set[frozenset[str]] = field(default_factory=set)
    barred: set[frozenset[str]] = field(default_factory=set)


def choose_quorum(
    ranked: Sequence[str],
    size: int,
    connected: Callable[[str, str], bool],
    tried: Tried,
    stocked: Callable[[Quorum], bool] | None = None,
) -> Quorum | None:
    """``size`` of the nodes in ``ranked``, all connected pairwise; those ranked first are preferred.

    A set that has not failed yet is preferred to one that has, and of these a ``stocked`` one, where that is of interest.
    None where no set is left. With at most 16 nodes (12,870 sets in the worst case, and only where hardly anything is
    connected) the search may be a plain one; stocks are looked into for the first sets alone.
    """
    looks = 0
    fresh: Quorum | None = None
    fallback: Quorum | None = None
    for nodes in combinations(ranked, size):
        members = frozenset(nodes)
        if members in tried.barred or not _pairwise(nodes, connected):
            continue
        if members not in tried.failed:
            if stocked is None or stocked(nodes):
                return nodes
            fresh, looks = fresh or nodes, looks + 1
            if looks == LOOKS_MAX:
                return fresh
        elif fallback is None:
            fallback = nodes
    return fresh or fallback


def _pairwise(nodes: Iterable[str], connected: Callable[[str, str], bool]) -> bool:
    return all(connected(one, other) for one, other in combinations(nodes, 2))
