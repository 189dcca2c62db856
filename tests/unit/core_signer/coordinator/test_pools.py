"""What the coordinator knows of the parties' stocks, and how it hands them out."""

import pytest

from keyquorum_core_signer.coordinator.pools import NAMES_MAX, POOLS_MAX, Pools
from keyquorum_core_signer.coordinator.quorum import LOOKS_MAX, Tried, choose_quorum
from keyquorum_protos.party.v1 import party_pb2

QUORUM = ("party-1", "party-2")
PATH = (0, 7)


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def report(pools: Pools, node_id: str, *numbers: int, path: tuple[int, ...] = PATH, key_id: str = "key") -> None:
    """A party tells one pool's stock."""
    names = [name(number) for number in numbers]
    pool = party_pb2.PresignaturePool(key_id=key_id, epoch=1, path=path, node_ids=QUORUM, presignature_ids=names)
    pools.report(node_id, pool)


@pytest.fixture
def pools() -> Pools:
    made = Pools()
    report(made, "party-1", 3, 1, 2)
    report(made, "party-2", 2, 3, 4)
    return made


def test_what_both_have_is_handed_out_once_and_oldest_first(pools: Pools) -> None:
    """A report that was under way when a name was handed out does not bring it back."""
    assert pools.take("key", 1, [PATH], QUORUM) == (name(3),)
    report(pools, "party-1", 3, 1, 2)
    report(pools, "party-2", 2, 3, 4)
    assert pools.take("key", 1, [PATH], QUORUM) == (name(2),)
    assert not pools.stocked("key", 1, [PATH], QUORUM)
    assert pools.take("key", 1, [PATH], QUORUM) == ()


def test_all_messages_or_none(pools: Pools) -> None:
    """Two of one pool are two names; one more than there are takes none."""
    assert pools.take("key", 1, [PATH] * 3, QUORUM) == ()
    assert pools.take("key", 1, [PATH] * 2, QUORUM) == (name(3), name(2))


@pytest.mark.parametrize("other", [("key_2", 1, [PATH], QUORUM), ("key", 2, [PATH], QUORUM), ("key", 1, [()], QUORUM),
                                   ("key", 1, [PATH], ("party-1", "party-3")), ("key", 1, [PATH], ())])  # fmt: skip
def test_other_pools_are_other_pools(
    pools: Pools, other: tuple[str, int, list[tuple[int, ...]], tuple[str, ...]]
) -> None:
    """Key, epoch, path and quorum all count."""
    assert pools.take(*other) == ()


def test_a_party_that_is_gone_has_nothing(pools: Pools) -> None:
    """Its link is down; nor does it after it said that its pool is empty."""
    pools.forget("party-2")
    assert not pools.stocked("key", 1, [PATH], QUORUM)
    report(pools, "party-2", 3)
    assert pools.stocked("key", 1, [PATH], QUORUM)
    report(pools, "party-2")
    assert not pools.stocked("key", 1, [PATH], QUORUM)


def test_what_a_party_can_make_us_keep_is_bounded(pools: Pools) -> None:
    """Names of a wrong length are none; too many pools cost the party its own oldest."""
    report(pools, "party-1", *range(2 * NAMES_MAX))
    for number in range(POOLS_MAX):
        report(pools, "party-1", 1, key_id=f"key_{number}")
    assert len(pools._reports["party-1"]) == POOLS_MAX
    assert not pools.stocked("key", 1, [PATH], QUORUM)
    pools.report("party-1", party_pb2.PresignaturePool(key_id="k", node_ids=QUORUM, presignature_ids=[b"short"]))
    assert all(names for names in pools._reports["party-1"].values())


def test_a_stocked_quorum_is_preferred_among_those_that_have_not_failed() -> None:
    """And no more than so many are looked into: a signature does not wait for a search."""
    nodes = [f"node-{number}" for number in range(16)]

    def everybody(_one: str, _other: str) -> bool:
        return True

    last = tuple(nodes[-2:])
    assert choose_quorum(nodes[-3:], 2, everybody, Tried(), lambda quorum: quorum == last) == last
    failed = Tried(failed={frozenset(last)})
    assert choose_quorum(nodes[-3:], 2, everybody, failed, lambda quorum: quorum == last) == tuple(nodes[-3:-1])
    looked: list[tuple[str, ...]] = []
    assert choose_quorum(nodes, 8, everybody, Tried(), lambda quorum: bool(looked.append(quorum))) == tuple(nodes[:8])
    assert len(looked) == LOOKS_MAX
