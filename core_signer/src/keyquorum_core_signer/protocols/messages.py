"""The codec of a suite: how its protocols' messages travel and its key shares are stored."""

from functools import cache

from keyquorum_core_signer.groups.ciphersuite import Group, Point, Scalar
from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.wire.codec import Codec


def codec_for(suite: Suite) -> Codec:
    """Scalars below the order and points of the prime-order group, canonical and not the identity; nothing else."""
    return codec_of(suite.group)


@cache  # compiled schemas are worth keeping; there are as many codecs as curves
def codec_of(group: Group) -> Codec:
    """The codec of a group's elements."""
    return Codec({Scalar: (group.encode_scalar, group.decode_scalar), Point: (Point.to_bytes, group.decode_point)})
