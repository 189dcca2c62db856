"""Randomness bound to its circumstances, against a generator that repeats itself: in a cloned or restored machine."""

import hashlib
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from keyquorum_core_signer.primitives.transcript import associated_data

_TAG: Final = "keyquorum/hedged-randomness/v1"
_ENTROPY_LENGTH: Final = 32  # bytes drawn even for shorter outputs


def hedged(rng: Callable[[int], bytes], *circumstances: Any) -> Callable[[int], bytes]:
    """A generator as good as ``rng`` that gives other bytes under other ``circumstances``, and in every call.

    It adds no secret: what must survive a generator that an attacker *knows* is hashed with one where it is used.
    """
    calls = count()

    def draw(length: int) -> bytes:
        entropy = rng(max(length, _ENTROPY_LENGTH))
        return hashlib.shake_256(associated_data(_TAG, entropy, next(calls), length, *circumstances)).digest(length)

    return draw
