"""Feldman's verifiable secret sharing: a polynomial committed to in the exponent, coefficient by coefficient."""

from collections.abc import Iterable, Sequence

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar


def commit(coefficients: Sequence[Scalar]) -> tuple[Point, ...]:
    """A_k = a_k * G."""
    return tuple(scalar.group.base_multiply(scalar) for scalar in coefficients)


def public_share(commitment: Sequence[Point], index: int) -> Point:
    """The share of ``index`` in the exponent, sum of index^k * A_k, by Horner's rule."""
    group = commitment[0].group
    x = group.scalar(index)
    value = commitment[-1]
    for element in reversed(commitment[:-1]):
        value = group.multiply(value, x) + element
    return value


def verify_share(share: Scalar, index: int, commitment: Sequence[Point]) -> bool:
    """Whether ``share`` is what the committed polynomial gives at ``index``."""
    return share.group.base_multiply(share) == public_share(commitment, index)


def add_commitments(commitments: Iterable[Sequence[Point]]) -> tuple[Point, ...]:
    """The commitment to the sum of polynomials of one degree; ``ValueError`` if the degrees differ."""
    return tuple(column[0].group.sum(column) for column in zip(*commitments, strict=True))
