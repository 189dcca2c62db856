"""Matrices of bits as one big integer: transposition, and products with a random matrix, over the field of two elements.

Bit ``p`` of row ``i`` of a matrix with rows of ``w`` bits is bit ``i * w + p`` of the integer, and so little-endian bytes
are the rows one after another. Operations on whole matrices take microseconds where a loop over bits takes milliseconds.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import gmpy2

SIDE: Final = 128  # rows of a matrix that is transposed; also of the random matrix
STRIDE: Final = SIDE + 8  # bits of a row of a product: a row of the other factor, one more bit, and whole bytes


def integer(data: bytes) -> Any:
    """The matrix of rows that are whole bytes."""
    return gmpy2.mpz.from_bytes(data, "little")


def to_bytes(matrix: Any, length: int) -> bytes:
    """Inverse of :func:`integer`."""
    return bytes(matrix.to_bytes(length, "little"))


def split(data: bytes, bits: int) -> list[Any]:
    """Rows of ``bits`` bits each, as integers."""
    rows: list[Any] = gmpy2.unpack(integer(data), bits)
    return rows + [gmpy2.mpz(0)] * (len(data) * 8 // bits - len(rows))


def join(rows: Sequence[Any], bits: int) -> Any:
    """The matrix of rows that are integers below 2^``bits``."""
    return gmpy2.pack(list(rows), bits)


def transpose(data: bytes) -> bytes:
    """A matrix of 128 rows becomes one of 128 columns; the number of columns given is a multiple of 128.

    Eklundh's method on all blocks of 128 x 128 at once: seven exchanges of half blocks, quarter blocks, ..., bits.
    """
    row_bytes = len(data) // SIDE
    x = integer(data)
    for step, mask in _exchanges(row_bytes):
        t = (x ^ (x >> step)) & mask
        x ^= t ^ (t << step)
    blocks = to_bytes(x, len(data))
    # Row j of block c now holds column 128 * c + j.
    return b"".join(
        blocks[at : at + SIDE // 8] for c in range(0, row_bytes, SIDE // 8) for at in range(c, len(blocks), row_bytes)
    )


@cache
def _exchanges(row_bytes: int) -> tuple[tuple[int, Any], ...]:
    """Per half size s: the distance between bit (i, j + s) and bit (i + s, j), and the mask of all such (i, j + s)."""
    width, found = 8 * row_bytes, []
    for s in (64, 32, 16, 8, 4, 2, 1):
        columns = sum(1 << j for j in range(width) if not j & s)
        mask = sum(columns << i * width for i in range(SIDE) if not i & s)
        # (i, j + s) sits s above (i, j); (i + s, j) sits s * width above it.
        found.append((s * width - s, gmpy2.mpz(mask) << s))
    return tuple(found)


class RandomMatrix:
    """A uniformly random matrix R of 128 rows, drawn from a seed; it multiplies matrices of up to 129 columns.

    Column j of R is kept with its bits ``STRIDE`` apart, so that its product with a row of the other factor is that
    row at each place where R has a one: an integer product without carries.
    """

    def __init__(self, seed: bytes, columns: int) -> None:
        blocks = -(-columns // STRIDE)
        size = SIDE * STRIDE // 8
        stream = hashlib.shake_128(seed).digest(blocks * size)
        self._columns = columns
        self._blocks = [integer(stream[at : at + size]) for at in range(0, len(stream), size)]

    def times(self, rows: Sequence[Any]) -> Any:
        """R * M for the rows of M as integers: 128 rows of 129 bits, ``STRIDE`` bits apart."""
        if len(rows) != self._columns:
            raise ValueError("as many rows as R has columns")
        total = gmpy2.mpz(0)
        for at, block in zip(range(0, self._columns, STRIDE), self._blocks, strict=True):
            column = block
            for row in rows[at : at + STRIDE]:
                total ^= (column & _FIRST) * row
                column >>= 1
        return total


_FIRST: Final = gmpy2.mpz(sum(1 << i * STRIDE for i in range(SIDE)))  # the first bit of every row
