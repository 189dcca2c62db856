"""Shamir secret sharing over the scalars of a group; share ``i`` is the polynomial at ``i``."""

from collections.abc import Iterable, Sequence

from keyquorum_core_signer.groups.ciphersuite import Group, Scalar


class InvalidIndices(ValueError):
    """Proves that a list of indices contains zero, whose share is the secret, or two that are one modulo the order."""


def validate_indices(group: Group, indices: Sequence[int]) -> None:
    """:class:`InvalidIndices` unless all are non-zero and distinct *modulo the order*, where q is 0 and q + 1 is 1."""
    residues = {index % group.order for index in indices}
    if 0 in residues or len(residues) != len(indices):
        raise InvalidIndices("indices are not distinct and non-zero modulo the group order")


def evaluate(coefficients: Sequence[Scalar], index: int) -> Scalar:
    """The polynomial with ``coefficients``, the constant first, at ``index``."""
    x = coefficients[0].group.scalar(index)
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def lagrange(group: Group, index: int, indices: Iterable[int]) -> Scalar:
    """The weight of share ``index`` when the polynomial through ``indices`` is evaluated at zero."""
    numerator = denominator = 1
    for other in indices:
        if other != index:
            numerator = numerator * other % group.order
            denominator = denominator * (other - index) % group.order
    return group.scalar(numerator) * group.scalar(denominator).inverse()
