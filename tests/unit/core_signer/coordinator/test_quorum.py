"""Quorums are cliques, the best-ranked first, never a barred one, and a failed one only when nothing else is left."""

import itertools

import pytest

from keyquorum_core_signer.coordinator.quorum import Tried, choose_quorum

NODES = ("a", "b", "c", "d", "e")


def everybody(_one, _other):
    return True


def pairs(*edges):
    connected = {frozenset(edge) for edge in edges}
    return lambda one, other: frozenset((one, other)) in connected


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_best_ranked_come_first(size):
    """Where everybody is connected the ranking decides."""
    assert choose_quorum(NODES, size, everybody, Tried()) == NODES[:size]


def test_too_few_are_no_quorum():
    """Nor is a quorum made of fewer than asked for."""
    assert choose_quorum(("a",), 2, everybody, Tried()) is None
    assert choose_quorum((), 2, everybody, Tried()) is None


def test_all_pairs_must_be_connected():
    """A chain is not a clique; the worse-ranked clique is taken before no quorum."""
    assert choose_quorum(("a", "b", "c"), 3, pairs("ab", "bc"), Tried()) is None
    assert choose_quorum(NODES, 3, pairs("ab", "bc", "cd", "ce", "de"), Tried()) == ("c", "d", "e")


@pytest.mark.parametrize(
    "edges", list(itertools.combinations([a + b for a, b in itertools.combinations("abcd", 2)], 4))
)
def test_whatever_is_chosen_is_a_clique_and_none_is_overlooked(edges):
    """Against a search that looks at every set."""
    connected = pairs(*edges)
    cliques = [
        nodes
        for nodes in itertools.combinations("abcd", 3)
        if all(connected(one, other) for one, other in itertools.combinations(nodes, 2))
    ]
    assert choose_quorum("abcd", 3, connected, Tried()) == (cliques[0] if cliques else None)


def test_failed_quorums_come_last_and_barred_ones_never():
    """Another set is preferred to one that failed; a barred one is not offered again."""
    tried = Tried()
    seen = []
    for _ in range(3):
        quorum = choose_quorum(("a", "b", "c"), 2, everybody, tried)
        seen.append(quorum)
        tried.failed.add(frozenset(quorum))
    assert sorted(seen) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert choose_quorum(("a", "b", "c"), 2, everybody, tried) == ("a", "b")
    tried.barred.update(frozenset(quorum) for quorum in seen)
    assert choose_quorum(("a", "b", "c"), 2, everybody, tried) is None
