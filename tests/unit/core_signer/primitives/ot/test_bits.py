"""Bit matrices as big integers compute what loops over bits compute."""

import pytest

from keyquorum_core_signer.primitives.ot import bits
from support.simulator import seeded_rng


def bit(data, at):
    return data[at // 8] >> at % 8 & 1


@pytest.mark.parametrize("columns", [128, 256, 640])
def test_transpose(columns):
    """Bit (i, p) goes to (p, i), for square and for wide matrices."""
    data = seeded_rng(columns)(128 * columns // 8)
    turned = bits.transpose(data)
    assert len(turned) == len(data)
    assert all(bit(data, i * columns + p) == bit(turned, p * 128 + i) for i in range(128) for p in range(columns))


def test_product():
    """R * M over two elements, row by row, also of a 129th column."""
    columns = 300
    R = bits.RandomMatrix(b"seed", columns)
    rng = seeded_rng("rows")
    rows = [int.from_bytes(rng(16) + bytes([k & 1]), "little") for k in range(columns)]
    product = R.times(rows)
    unit = [R.times([int(k == j) for k in range(columns)]) for j in range(columns)]  # the columns of R
    for r in (0, 1, 64, 127):
        expected = 0
        for j, row in enumerate(rows):
            if unit[j] >> r * bits.STRIDE & 1:
                expected ^= row
        found = int(product >> r * bits.STRIDE) & (1 << 136) - 1
        assert found == expected
    with pytest.raises(ValueError):
        R.times(rows[:-1])


def test_the_matrix_is_random():
    """About half of its bits are set in every column, no two columns are alike, another seed gives another matrix."""
    columns = [int(bits.RandomMatrix(b"seed", 512).times([int(k == j) for k in range(512)])) for j in range(0, 512, 7)]
    assert all(30 < column.bit_count() < 98 for column in columns)
    assert len(set(columns)) == len(columns)
    ones = [1] * 512
    assert bits.RandomMatrix(b"seed", 512).times(ones) != bits.RandomMatrix(b"other", 512).times(ones)


def test_integers_and_bytes():
    """Both directions, leading zeros included."""
    for data in (bytes(40), b"\x00" * 39 + b"\x01", bytes(range(40))):
        assert bits.to_bytes(bits.integer(data), 40) == data


def test_rows():
    """A matrix comes apart into its rows and together again, rows of zeros at its end included."""
    data = seeded_rng("split")(48) + bytes(32)
    rows = bits.split(data, 128)
    assert [int(row) for row in rows] == [int.from_bytes(data[at : at + 16], "little") for at in range(0, 80, 16)]
    assert bits.to_bytes(bits.join(rows, 128), 80) == data
    assert bits.split(bytes(32), 128) == [0, 0]
