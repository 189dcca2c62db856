"""Both curves in a few lines of affine integer arithmetic: slow, and sharing no code with what it checks."""

from dataclasses import dataclass

P_SECP = 2**256 - 2**32 - 977
P_ED = 2**255 - 19
D_ED = -121665 * pow(121666, -1, P_ED) % P_ED
SQRT_M1 = pow(2, (P_ED - 1) // 4, P_ED)
L_ED = 2**252 + 27742317777372353535851937790883648493


@dataclass(frozen=True)
class Weierstrass:
    """A point of y^2 = x^3 + 7; ``None`` coordinates are infinity."""

    x: int | None
    y: int | None

    @classmethod
    def decode(cls, data: bytes) -> "Weierstrass":
        x = int.from_bytes(data[1:], "big")
        y = pow(x**3 + 7, (P_SECP + 1) // 4, P_SECP)
        assert (y * y - x**3 - 7) % P_SECP == 0
        return cls(x, y if y % 2 == data[0] % 2 else P_SECP - y)

    def encode(self) -> bytes:
        return bytes([2 + self.y % 2]) + self.x.to_bytes(32, "big")

    def __add__(self, other: "Weierstrass") -> "Weierstrass":
        if self.x is None or other.x is None:
            return self if other.x is None else other
        if self.x == other.x and (self.y + other.y) % P_SECP == 0:
            return Weierstrass(None, None)
        if self == other:
            slope = 3 * self.x**2 * pow(2 * self.y, -1, P_SECP)
        else:
            slope = (other.y - self.y) * pow(other.x - self.x, -1, P_SECP)
        x = (slope**2 - self.x - other.x) % P_SECP
        return Weierstrass(x, (slope * (self.x - x) - self.y) % P_SECP)

    def __rmul__(self, factor: int) -> "Weierstrass":
        return _multiply(factor, self, Weierstrass(None, None))


@dataclass(frozen=True)
class Edwards:
    """A point of -x^2 + y^2 = 1 + d x^2 y^2, of any order."""

    x: int
    y: int

    @classmethod
    def decode(cls, data: bytes) -> "Edwards":
        y = int.from_bytes(data, "little") & (2**255 - 1)
        square = (y * y - 1) * pow(D_ED * y * y + 1, -1, P_ED) % P_ED
        x = pow(square, (P_ED + 3) // 8, P_ED)
        if (x * x - square) % P_ED:
            x = x * SQRT_M1 % P_ED
        assert (x * x - square) % P_ED == 0
        return cls(x if x % 2 == data[31] >> 7 else -x % P_ED, y % P_ED)

    def encode(self) -> bytes:
        return (self.y | (self.x % 2) << 255).to_bytes(32, "little")

    def __add__(self, other: "Edwards") -> "Edwards":
        product = D_ED * self.x * other.x * self.y * other.y
        x = (self.x * other.y + self.y * other.x) * pow(1 + product, -1, P_ED)
        y = (self.y * other.y + self.x * other.x) * pow(1 - product, -1, P_ED)
        return Edwards(x % P_ED, y % P_ED)

    def __rmul__(self, factor: int) -> "Edwards":
        return _multiply(factor, self, Edwards(0, 1))


def _multiply(factor, point, total):
    while factor:
        if factor & 1:
            total = total + point
        point, factor = point + point, factor >> 1
    return total


def torsion() -> list[Edwards]:
    """The eight points whose order divides the cofactor, the identity first."""
    y = 2
    while True:
        try:
            candidate = L_ED * Edwards.decode(y.to_bytes(32, "little"))
        except AssertionError:
            y += 1
            continue
        if 4 * candidate != Edwards(0, 1):
            return [k * candidate for k in range(8)]
        y += 1
