"""Additive shares of zero without a message, from a seed that each pair of parties holds (DKLs23, functionality F_Zero).

The seed comes out of two contributions, committed to before either is opened. Every pair's pseudorandom value enters
one party's share with a plus and the other's with a minus, so all shares add up to zero; to anybody who lacks one pair's
seed they are random otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Group, Scalar
from keyquorum_core_signer.primitives.transcript import challenge, digest
from keyquorum_core_signer.wire.codec import Bytes32

_TAG: Final = "keyquorum/zero-shares/v1"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One party's part of a pair's seed."""

    value: Bytes32 = field(repr=False)


def commitment(place: bytes, party: int, contribution: Contribution) -> bytes:
    """The hash by which a party commits to its 32 uniform bytes."""
    return digest(f"{_TAG}/commitment", place, party, contribution)


def pair_seed(place: bytes, lower: Contribution, higher: Contribution) -> bytes:
    """32 bytes from the contributions of the parties with the lower and the higher index."""
    return digest(f"{_TAG}/seed", place, lower, higher)


def zero_share(group: Group, place: bytes, me: int, seeds: Mapping[int, bytes]) -> Scalar:
    """Our share of zero among ourselves and the parties of ``seeds``, for this place alone.

    ``place`` is the digest of a session with its set of parties; it never repeats.
    """
    share = group.zero()
    for other, seed in seeds.items():
        value = challenge(group, f"{_TAG}/share", seed, place, min(me, other), max(me, other))
        share = share + value if me < other else share - value
    return share
