"""The prime-order subgroup of edwards25519 through libsodium (PyNaCl): RFC 8032 points, little-endian scalars."""

from collections.abc import Iterable
from typing import Final

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from keyquorum_core_signer.groups.ciphersuite import Group, InvalidEncoding, Point, Scalar

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_FIELD: Final = 2**255 - 19
_GENERATOR: Final = "5866666666666666666666666666666666666666666666666666666666666666"
# Below it, adding on the curve is faster than libsodium's multiplication, which tests for the subgroup every time.
_FEW_BITS: Final = 4


class UnsafeLibrary(RuntimeError):
    """Proves that the libsodium in use accepts points outside the prime-order subgroup (CVE-2025-69277)."""


class Ed25519(Group):
    """The subgroup of prime order; the cofactor never appears, because nothing outside of the subgroup decodes."""

    name = "ed25519"
    order = ORDER
    scalar_length = 32
    element_length = 32

    def __init__(self) -> None:
        self.identity = Point((1).to_bytes(32, "little"), self)
        self.generator = Point(bytes.fromhex(_GENERATOR), self)
        self._refuse_unsafe_library()

    def encode_scalar(self, scalar: Scalar) -> bytes:
        """32 bytes, little-endian."""
        return scalar.value.to_bytes(32, "little")

    def decode_scalar(self, data: bytes) -> Scalar:
        """32 bytes, little-endian, below the order."""
        value = int.from_bytes(data, "little")
        if len(data) != self.scalar_length or value >= ORDER:
            raise InvalidEncoding("not a canonical scalar of edwards25519")
        return Scalar(value, self)

    def reduce_wide(self, data: bytes) -> Scalar:
        """Little-endian; the bias is below 2^-128 from 48 bytes on."""
        if len(data) < 48:
            raise ValueError("too few bytes for a near-uniform scalar")
        return Scalar(int.from_bytes(data, "little") % ORDER, self)

    def decode_point(self, data: bytes) -> Point:
        """32 canonical bytes of a point of prime order: no identity, small-order or mixed-order point."""
        if len(data) != self.element_length or not crypto_core_ed25519_is_valid_point(data):
            raise InvalidEncoding("not a canonical point of prime order on edwards25519")
        return Point(bytes(data), self)

    def base_multiply(self, scalar: Scalar) -> Point:
        """Constant time."""
        if self._of(scalar).is_zero():
            return self.identity
        return Point(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes()), self)

    def multiply(self, point: Point, scalar: Scalar) -> Point:
        """Variable time for the small scalars that are party indices; otherwise as :meth:`multiply_secret`."""
        if 0 < self._of(scalar).value < 1 << _FEW_BITS:
            self._own(point)
            product = point.encoded
            for bit in f"{scalar.value:b}"[1:]:
                product = crypto_core_ed25519_add(product, product)
                if bit == "1":
                    product = crypto_core_ed25519_add(product, point.encoded)
            return Point(product, self)
        return self.multiply_secret(point, scalar)

    def multiply_secret(self, point: Point, scalar: Scalar) -> Point:
        """Constant time, without the clamping that belongs to X25519 and to RFC 8032 seeds."""
        if self._of(scalar).is_zero() or self._own(point) == self.identity.encoded:
            return self.identity
        return Point(crypto_scalarmult_ed25519_noclamp(scalar.to_bytes(), point.encoded), self)

    def sum(self, points: Iterable[Point]) -> Point:
        """One addition after another; libsodium has no combined one."""
        total: bytes | None = None
        for point in points:
            encoded = self._own(point)
            total = encoded if total is None else crypto_core_ed25519_add(total, encoded)
        return self.identity if total is None else Point(total, self)

    def negate(self, point: Point) -> Point:
        """The other sign of x; the identity is the only point of the subgroup with x = 0."""
        if self._own(point) == self.identity.encoded:
            return point
        return Point(point.encoded[:31] + bytes([point.encoded[31] ^ 0x80]), self)

    def _of(self, scalar: Scalar) -> Scalar:
        if scalar.group is not self:
            raise TypeError("a scalar of another group")
        return scalar

    def _own(self, point: Point) -> bytes:
        if point.group is not self:
            raise TypeError("a point of another group")
        return point.encoded

    def _refuse_unsafe_library(self) -> None:
        """Before December 2025 libsodium looked at x alone after multiplying by the order, so that a sum of a good
        point and (0, -1) passed for one of prime order. A distribution may link PyNaCl to such a libsodium."""
        order_two = (_FIELD - 1).to_bytes(32, "little")
        if crypto_core_ed25519_is_valid_point(crypto_core_ed25519_add(self.generator.encoded, order_two)):
            raise UnsafeLibrary("libsodium takes points of mixed order for valid: install PyNaCl 1.6.2 or later")


ED25519: Final = Ed25519()
