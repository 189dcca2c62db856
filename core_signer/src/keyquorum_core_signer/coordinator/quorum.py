"""Which parties run a session: the best ones that can all talk to one another."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import combinations

Quorum = tuple[str, ...]


def choose_quorum(
    ranked: Sequence[str], size: int, connected: Callable[[str, str], bool], tried: Collection[frozenset[str]] = ()
) -> Quorum | None:
    """``size`` of the nodes in ``ranked``, all connected pairwise; those ranked first are preferred.

    A set that was not tried yet is preferred to one that was. None where no set is connected. With at most 16 nodes
    (12,870 sets in the worst case, and only where hardly anything is connected) the search may be a plain one.
    """
    fallback: Quorum | None = None
    for nodes in combinations(ranked, size):
        if not _pairwise(nodes, connected):
            continue
        if frozenset(nodes) not in tried:
            return nodes
        if fallback is None:
            fallback = nodes
    return fallback


def _pairwise(nodes: Iterable[str], connected: Callable[[str, str], bool]) -> bool:
    return all(connected(one, other) for one, other in combinations(nodes, 2))
