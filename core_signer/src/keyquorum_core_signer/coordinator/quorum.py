"""Which parties run a session: the best ones that can all talk to one another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

Quorum = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """The quorums that an operation has had: ``failed`` ones may be had again, ``barred`` ones would only fail again."""

    failed: set[frozenset[str]] = field(default_factory=set)
    barred: set[frozenset[str]] = field(default_factory=set)


def choose_quorum(
    ranked: Sequence[str], size: int, connected: Callable[[str, str], bool], tried: Tried
) -> Quorum | None:
    """``size`` of the nodes in ``ranked``, all connected pairwise; those ranked first are preferred.

    A set that has not failed yet is preferred to one that has. None where no set is left. With at most 16 nodes
    (12,870 sets in the worst case, and only where hardly anything is connected) the search may be a plain one.
    """
    fallback: Quorum | None = None
    for nodes in combinations(ranked, size):
        members = frozenset(nodes)
        if members in tried.barred or not _pairwise(nodes, connected):
            continue
        if members not in tried.failed:
            return nodes
        if fallback is None:
            fallback = nodes
    return fallback


def _pairwise(nodes: Iterable[str], connected: Callable[[str, str], bool]) -> bool:
    return all(connected(one, other) for one, other in combinations(nodes, 2))
