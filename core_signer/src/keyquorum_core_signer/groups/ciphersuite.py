"""The seam between curves and protocols: protocols know only what is declared here."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn


class InvalidEncoding(ValueError):
    """Proves that bytes are not the one canonical encoding of a permitted scalar or point."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """An integer modulo the group order, reduced. Its value never shows in a repr.

    Operators work between scalars of the same group; mixing groups raises ``TypeError``.
    """

    value: int = field(repr=False)
    group: "Group" = field(repr=False)

    def __add__(self, other: "Scalar") -> "Scalar":
        self._same(other)
        return Scalar((self.value + other.value) % self.group.order, self.group)

    def __sub__(self, other: "Scalar") -> "Scalar":
        self._same(other)
        return Scalar((self.value - other.value) % self.group.order, self.group)

    def __mul__(self, other: "Scalar") -> "Scalar":
        self._same(other)
        return Scalar(self.value * other.value % self.group.order, self.group)

    def __neg__(self) -> "Scalar":
        return Scalar(-self.value % self.group.order, self.group)

    def inverse(self) -> "Scalar":
        """The multiplicative inverse; ``ZeroDivisionError`` for zero."""
        if self.value == 0:
            raise ZeroDivisionError("zero has no inverse")
        return Scalar(pow(self.value, -1, self.group.order), self.group)

    def is_zero(self) -> bool:
        """Whether this is the additive identity."""
        return self.value == 0

    def to_bytes(self) -> bytes:
        """The canonical encoding, ``group.scalar_length`` bytes in the suite's byte order."""
        return self.group.encode_scalar(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a scalar may be secret and is not pickled")

    def _same(self, other: "Scalar") -> None:
        if self.group is not other.group:
            raise TypeError("scalars of different groups")


@dataclass(frozen=True, slots=True)
class Point:
    """An element of the prime-order group, held as its canonical encoding.

    The identity exists as an intermediate value (``is_identity``), but never decodes from bytes.
    """

    encoded: bytes
    group: "Group" = field(repr=False)

    def __add__(self, other: "Point") -> "Point":
        return self.group.sum((self, other))

    def __sub__(self, other: "Point") -> "Point":
        return self.group.sum((self, -other))

    def __neg__(self) -> "Point":
        return self.group.negate(self)

    def is_identity(self) -> bool:
        """Whether this is the neutral element."""
        return self == self.group.identity

    def to_bytes(self) -> bytes:
        """The canonical encoding, ``group.element_length`` bytes."""
        return self.encoded


class Group(ABC):
    """A group of prime order. One instance per curve; compare with ``is``."""

    name: str
    order: int
    scalar_length: int  # bytes
    element_length: int  # bytes
    identity: Point
    generator: Point

    def scalar(self, value: int) -> Scalar:
        """``value`` reduced modulo the order."""
        return Scalar(value % self.order, self)

    def zero(self) -> Scalar:
        """The scalar 0."""
        return Scalar(0, self)

    @abstractmethod
    def encode_scalar(self, scalar: Scalar) -> bytes:
        """Canonical bytes in the suite's byte order."""

    @abstractmethod
    def decode_scalar(self, data: bytes) -> Scalar:
        """Inverse of :meth:`encode_scalar`; :class:`InvalidEncoding` unless canonical and below the order."""

    @abstractmethod
    def reduce_wide(self, data: bytes) -> Scalar:
        """A near-uniform scalar from at least 48 uniform bytes, in the suite's byte order."""

    @abstractmethod
    def decode_point(self, data: bytes) -> Point:
        """A point from its canonical encoding; :class:`InvalidEncoding` for the identity, points off the curve, points
        outside the prime-order subgroup and every non-canonical encoding."""

    @abstractmethod
    def base_multiply(self, scalar: Scalar) -> Point:
        """``scalar * G`` in constant time: for secrets."""

    @abstractmethod
    def multiply(self, point: Point, scalar: Scalar) -> Point:
        """``scalar * point`` in variable time: for public values only."""

    @abstractmethod
    def multiply_secret(self, point: Point, scalar: Scalar) -> Point:
        """``scalar * point`` in constant time, for a secret scalar and a public point."""

    @abstractmethod
    def sum(self, points: Iterable[Point]) -> Point:
        """The sum, the identity for none."""

    @abstractmethod
    def negate(self, point: Point) -> Point:
        """The inverse element."""
