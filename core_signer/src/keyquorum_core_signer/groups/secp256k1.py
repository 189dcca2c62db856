"""secp256k1 through libsecp256k1 (coincurve): SEC 1 compressed points, big-endian scalars."""

from collections.abc import Iterable
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import Context

from keyquorum_core_signer.groups.ciphersuite import Group, InvalidEncoding, Point, Scalar

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_GENERATOR: Final = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
_COMPRESSED: Final = 258  # SECP256K1_EC_COMPRESSED
_HASH_FUNCTION: Final = "int(unsigned char *, const unsigned char *, const unsigned char *, void *)"
_EVEN: Final = 2  # SEC 1 prefix for an even y; 3 is for an odd one


class Secp256k1(Group):
    """The group of secp256k1, of prime order: a point on the curve is in the group."""

    name = "secp256k1"
    order = ORDER
    scalar_length = 32
    element_length = 33

    def __init__(self) -> None:
        context: Any = Context
        self._owner = context()  # a context of our own, blinded afresh against timing and power analysis
        self._context = self._owner.ctx
        self._raw_point: Any = None
        # No compressed point starts with 0; all zeros stand for infinity in memory, and never decode.
        self.identity = Point(bytes(self.element_length), self)
        self.generator = Point(bytes.fromhex(_GENERATOR), self)

    def encode_scalar(self, scalar: Scalar) -> bytes:
        """32 bytes, big-endian."""
        return scalar.value.to_bytes(32, "big")

    def decode_scalar(self, data: bytes) -> Scalar:
        """32 bytes, big-endian, below the order."""
        value = int.from_bytes(data, "big")
        if len(data) != self.scalar_length or value >= ORDER:
            raise InvalidEncoding("not a canonical scalar of secp256k1")
        return Scalar(value, self)

    def reduce_wide(self, data: bytes) -> Scalar:
        """Big-endian; the bias is below 2^-128 from 48 bytes on."""
        if len(data) < 48:
            raise ValueError("too few bytes for a near-uniform scalar")
        return Scalar(int.from_bytes(data, "big") % ORDER, self)

    def decode_point(self, data: bytes) -> Point:
        """33 bytes, the compressed form: 02 or 03 and an x below the field's prime with a point on the curve."""
        if len(data) != self.element_length:
            raise InvalidEncoding("not a compressed point of secp256k1")
        self._parse(data)
        return Point(bytes(data), self)

    def base_multiply(self, scalar: Scalar) -> Point:
        """Constant time, with blinding: ``secp256k1_ec_pubkey_create``."""
        if self._of(scalar).is_zero():
            return self.identity
        point = ffi.new("secp256k1_pubkey *")
        if not lib.secp256k1_ec_pubkey_create(self._context, point, scalar.to_bytes()):
            raise AssertionError("a reduced scalar was refused")
        return self._point(point)

    def multiply(self, point: Point, scalar: Scalar) -> Point:
        """Variable time: ``secp256k1_ec_pubkey_tweak_mul``."""
        if self._of(scalar).is_zero() or self._is_identity(point):
            return self.identity
        product = self._parse(point.encoded)
        if not lib.secp256k1_ec_pubkey_tweak_mul(self._context, product, scalar.to_bytes()):
            raise AssertionError("a reduced scalar was refused")
        return self._point(product)

    def multiply_secret(self, point: Point, scalar: Scalar) -> Point:
        """Constant time: ``secp256k1_ecdh``, whose "hash" here hands out both coordinates of the product."""
        if self._of(scalar).is_zero() or self._is_identity(point):
            return self.identity
        if self._raw_point is None:  # a callback may need executable memory, which a hardened system refuses
            self._raw_point = ffi.callback(_HASH_FUNCTION, _copy_coordinates)
        out = ffi.new("unsigned char[64]")
        public = self._parse(point.encoded)
        if not lib.secp256k1_ecdh(self._context, out, public, scalar.to_bytes(), self._raw_point, ffi.NULL):
            raise AssertionError("a reduced scalar was refused")
        x_y = bytes(ffi.buffer(out))
        return Point(bytes([_EVEN + (x_y[63] & 1)]) + x_y[:32], self)

    def sum(self, points: Iterable[Point]) -> Point:
        """``secp256k1_ec_pubkey_combine``, which refuses only an empty sum and one that is infinity."""
        terms = [self._parse(point.encoded) for point in points if not self._is_identity(point)]
        total = ffi.new("secp256k1_pubkey *")
        if not terms or not lib.secp256k1_ec_pubkey_combine(self._context, total, terms, len(terms)):
            return self.identity
        return self._point(total)

    def negate(self, point: Point) -> Point:
        """The other parity of y."""
        if self._is_identity(point):
            return point
        return Point(bytes([point.encoded[0] ^ 1]) + point.encoded[1:], self)

    def _of(self, scalar: Scalar) -> Scalar:
        if scalar.group is not self:
            raise TypeError("a scalar of another group")
        return scalar

    def _is_identity(self, point: Point) -> bool:
        if point.group is not self:
            raise TypeError("a point of another group")
        return point.encoded == self.identity.encoded

    def _parse(self, encoded: bytes) -> Any:
        point = ffi.new("secp256k1_pubkey *")
        if not lib.secp256k1_ec_pubkey_parse(self._context, point, encoded, len(encoded)):
            raise InvalidEncoding("not a point of secp256k1")
        return point

    def _point(self, parsed: Any) -> Point:
        out = ffi.new("unsigned char[33]")
        length = ffi.new("size_t *", self.element_length)
        lib.secp256k1_ec_pubkey_serialize(self._context, out, length, parsed, _COMPRESSED)
        return Point(bytes(ffi.buffer(out)), self)


def _copy_coordinates(output: Any, x32: Any, y32: Any, _data: Any) -> int:
    """``secp256k1_ecdh_hash_function`` that does not hash."""
    ffi.memmove(output, x32, 32)
    ffi.memmove(output + 32, y32, 32)
    return 1


SECP256K1: Final = Secp256k1()
