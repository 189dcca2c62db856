"""Hashes over typed values, curve elements included: what every commitment, challenge and proof is bound by.

Whatever is hashed goes through the codec's injective encoding under a tag that says what the hash is for, so that no
two different lists of values, of whatever types, give the same input.
"""

import hashlib
from typing import Any, Final, NoReturn

from keyquorum_core_signer.groups.ciphersuite import Group, Point, Scalar
from keyquorum_core_signer.wire.codec import Codec, Limits


def _one_way(_: bytes) -> NoReturn:
    raise ValueError("a transcript is hashed, not read")


# What is hashed does not travel: a batch of 64 messages of 64 KiB and all commitments for them stay below.
_LIMITS: Final = Limits(message_bytes=8 << 20)
_elements: Final = Codec({Scalar: (Scalar.to_bytes, _one_way), Point: (Point.to_bytes, _one_way)}, _LIMITS)


def digest(tag: str, *values: Any) -> bytes:
    """32 bytes binding ``values`` to each other and to ``tag``."""
    return hashlib.sha256(_elements.encode((tag, *values))).digest()


def challenge(group: Group, tag: str, *values: Any) -> Scalar:
    """A scalar from 64 bytes of hash over ``values`` under ``tag``: uniform up to 2^-256."""
    return group.reduce_wide(hashlib.sha512(_elements.encode((tag, *values))).digest())


def associated_data(tag: str, *values: Any) -> bytes:
    """The encoding itself, for ciphers that take data to be bound."""
    return _elements.encode((tag, *values))
