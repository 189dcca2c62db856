"""Hashing to secp256k1 by rejection: for public values only, since the number of attempts shows."""

import hashlib
from typing import Any, Final

from keyquorum_core_signer.groups.ciphersuite import Group, InvalidEncoding, Point
from keyquorum_core_signer.primitives.transcript import digest

_ATTEMPTS_MAX: Final = 256  # half of all x are on the curve: a chance of 2^-256 to need more
_COMPRESSED_LENGTH: Final = 33


def hash_to_curve(group: Group, tag: str, *values: Any) -> Point:
    """A point of unknown logarithm, uniform if the hash is a random oracle; for a group with SEC 1 encodings.

    SHA-512 over the digest of ``values`` and a counter gives the parity of y (first byte) and x (last 32 bytes), until
    x is below the field's prime and on the curve. Every point but the identity is hit by exactly one (parity, x), which
    makes this as good as a random oracle into the group; RFC 9380 has methods of constant time instead.
    """
    if group.element_length != _COMPRESSED_LENGTH:
        raise ValueError("not a group with SEC 1 compressed encodings")
    seed = digest(tag, group.name, *values)
    for counter in range(_ATTEMPTS_MAX):
        candidate = hashlib.sha512(seed + counter.to_bytes(2, "big")).digest()
        try:
            return group.decode_point(bytes([2 + (candidate[0] & 1)]) + candidate[32:])
        except InvalidEncoding:
            continue
    raise AssertionError("no attempt of 256 hit the curve")
