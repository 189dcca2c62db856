"""Endemic oblivious transfer: Masny and Rindal (CCS 2019), the two-message form over Diffie-Hellman.

Neither side can learn more than its own, but a dishonest one may choose its own outputs; for an extension that is
enough. Both messages are bound to a ``place``: the digest of session, pair and direction that the caller makes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Group, Point, Scalar
from keyquorum_core_signer.primitives.ot.hash_to_curve import hash_to_curve
from keyquorum_core_signer.primitives.transcript import digest

Rng: TypeAlias = Callable[[int], bytes]

KEY_LENGTH: Final = 32  # bytes of every transferred key
_WIDE: Final = 64  # bytes per random scalar: no measurable bias
_HASH: Final = "keyquorum/endemic-ot/v1/hash-to-curve"
_KEY: Final = "keyquorum/endemic-ot/v1/key"


class InvalidTransfer(ValueError):
    """Proves that a peer's message is of another count than agreed, or has a Diffie-Hellman key that is the identity."""


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """From the receiver: r_0 and r_1 of every transfer."""

    pairs: tuple[tuple[Point, Point], ...]


@dataclass(frozen=True, slots=True)
class TransferAnswer:
    """From the sender: its Diffie-Hellman key B of every transfer."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Receiver:
    """What the receiver keeps between its request and the answer."""

    place: bytes
    choices: tuple[int, ...] = field(repr=False)
    exponents: tuple[Scalar, ...] = field(repr=False)
    request: TransferRequest = field(repr=False)

    def keys(self, answer: TransferAnswer) -> tuple[bytes, ...]:
        """The key of every choice; :class:`InvalidTransfer` if the answer is not one per transfer."""
        if len(answer.points) != len(self.choices):
            raise InvalidTransfer("one answer per transfer")
        return tuple(
            _key(self.place, index, choice, pair=pair, B=B, shared=B.group.multiply_secret(B, t))
            for index, (choice, t, pair, B) in enumerate(
                zip(self.choices, self.exponents, self.request.pairs, answer.points, strict=True)
            )
        )


def receive(group: Group, place: bytes, choices: tuple[int, ...], rng: Rng) -> Receiver:
    """Choose one key of each transfer. Figure 1 with Diffie-Hellman: r_b = t * G - H_b(r_{1-b}), the other at random."""
    exponents, pairs = [], []
    for index, b in enumerate(choices):
        t = group.reduce_wide(rng(_WIDE))
        other = group.base_multiply(group.reduce_wide(rng(_WIDE)))
        chosen = group.base_multiply(t) - _masks(group, place, index, 1 - b, other)
        # The sender hashes both points, and so do we: how long that takes is then no matter of the choice.
        _masks(group, place, index, b, chosen)
        exponents.append(t)
        pairs.append((other, chosen) if b else (chosen, other))
    return Receiver(place, choices, tuple(exponents), TransferRequest(tuple(pairs)))


def send(
    group: Group, place: bytes, count: int, request: TransferRequest, rng: Rng
) -> tuple[tuple[tuple[bytes, bytes], ...], TransferAnswer]:
    """Both keys of every transfer, and the answer with which the receiver gets one of them.

    :class:`InvalidTransfer` unless there are ``count`` pairs whose keys M_j = r_j + H_j(r_{1-j}) are all points.
    """
    if len(request.pairs) != count:
        raise InvalidTransfer("one pair of points per transfer")
    keys, points = [], []
    for index, (r_0, r_1) in enumerate(request.pairs):
        M_0 = r_0 + _masks(group, place, index, 1, r_1)
        M_1 = r_1 + _masks(group, place, index, 0, r_0)
        if M_0.is_identity() or M_1.is_identity():
            raise InvalidTransfer("a Diffie-Hellman key is the identity")
        b = group.reduce_wide(rng(_WIDE))
        B = group.base_multiply(b)
        K_0, K_1 = (
            _key(place, index, j, pair=(r_0, r_1), B=B, shared=group.multiply_secret(M, b))
            for j, M in enumerate((M_0, M_1))
        )
        keys.append((K_0, K_1))
        points.append(B)
    return tuple(keys), TransferAnswer(tuple(points))


def _masks(group: Group, place: bytes, index: int, j: int, r_j: Point) -> Point:
    """H of r_j, which masks the other point; the two hashes of a transfer are of different domains."""
    return hash_to_curve(group, _HASH, place, index, j, r_j)


def _key(place: bytes, index: int, j: int, *, pair: tuple[Point, Point], B: Point, shared: Point) -> bytes:
    return digest(_KEY, place, index, j, pair, B, shared)
