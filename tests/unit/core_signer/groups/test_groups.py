"""Both groups agree with plain integer arithmetic, and let nothing in that is not theirs."""

import random

import pytest

from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from support.curves import Edwards, Weierstrass

GROUPS = [pytest.param(ED25519, Edwards, id="ed25519"), pytest.param(SECP256K1, Weierstrass, id="secp256k1")]
each_group = pytest.mark.parametrize(("group", "reference"), GROUPS)


def scalars(group, count=4):
    """Edges of the range and some values inside."""
    source = random.Random(1)
    return [group.scalar(v) for v in (1, 2, 3, 15, 16, -1, -2)] + [
        group.scalar(source.randrange(group.order)) for _ in range(count)
    ]


@each_group
def test_multiplications_agree_with_the_reference(group, reference):
    """All three multiplications give the same point as double-and-add on integers."""
    base = reference.decode(group.generator.to_bytes())
    point = group.base_multiply(group.scalar(12345))
    for scalar in scalars(group):
        assert group.base_multiply(scalar).to_bytes() == (scalar.value * base).encode()
        expected = (scalar.value * 12345 % group.order * base).encode()
        assert group.multiply(point, scalar).to_bytes() == expected
        assert group.multiply_secret(point, scalar).to_bytes() == expected


@each_group
def test_identity(group, reference):
    """Zero, inverse elements and the empty sum give the identity, which never decodes."""
    point = group.base_multiply(group.scalar(5))
    identities = [
        group.base_multiply(group.zero()),
        group.multiply(point, group.zero()),
        group.multiply_secret(point, group.zero()),
        group.multiply(group.identity, group.scalar(3)),
        group.multiply(group.identity, group.scalar(2**200)),
        group.multiply_secret(group.identity, group.scalar(3)),
        group.sum(()),
        point - point,
        -group.identity,
        group.identity + group.identity,
    ]
    assert all(result.is_identity() for result in identities)
    assert not point.is_identity()
    assert point + group.identity == point
    with pytest.raises(InvalidEncoding):
        group.decode_point(group.identity.to_bytes())


@each_group
def test_group_law(group, reference):
    """Sums, differences and negation follow the scalars."""
    a, b, c = (group.scalar(v) for v in (7, 2**250, -9))
    A, B, C = map(group.base_multiply, (a, b, c))
    assert group.sum((A, B, C)) == group.base_multiply(a + b + c)
    assert group.base_multiply(a - b) == A - B
    assert group.base_multiply(-c) == -C
    assert group.base_multiply(a + a) == A + A
    assert group.decode_point(A.to_bytes()) == A


@each_group
def test_scalars_are_canonical(group, reference):
    """A scalar has one encoding, of one length, below the order."""
    last = group.scalar(-1)
    assert group.decode_scalar(last.to_bytes()) == last
    assert group.decode_scalar(bytes(32)) == group.zero()
    order = "little" if group is ED25519 else "big"
    beyond = [group.order.to_bytes(32, order), (group.order + 1).to_bytes(32, order), b"\xff" * 32]
    for data in [*beyond, b"", bytes(31), bytes(33), last.to_bytes() + b"\x00"]:
        with pytest.raises(InvalidEncoding):
            group.decode_scalar(data)


@each_group
def test_scalar_arithmetic(group, reference):
    """Scalars are a field; zero has no inverse."""
    a, b = group.scalar(2**255), group.scalar(3)
    assert (a * b.inverse() * b, a + b - b, -a + a) == (a, a, group.zero())
    with pytest.raises(ZeroDivisionError):
        group.zero().inverse()


@each_group
def test_wide_reduction(group, reference):
    """Bytes are reduced as one integer in the suite's order; too few are refused, as they would be biased."""
    order = "little" if group is ED25519 else "big"
    data = bytes(range(200, 248))
    assert group.reduce_wide(data).value == int.from_bytes(data, order) % group.order
    with pytest.raises(ValueError):
        group.reduce_wide(bytes(47))


def test_groups_do_not_mix():
    """An operation over elements of two groups is refused."""
    for group, other in ((ED25519, SECP256K1), (SECP256K1, ED25519)):
        point, scalar = other.generator, other.scalar(1)
        for attempt in (
            lambda: group.generator + point,  # noqa: B023
            lambda: group.scalar(1) + scalar,  # noqa: B023
            lambda: group.base_multiply(scalar),  # noqa: B023
            lambda: group.multiply(point, group.scalar(1)),  # noqa: B023
            lambda: group.multiply(point, group.scalar(2**200)),  # noqa: B023
            lambda: group.multiply_secret(group.generator, scalar),  # noqa: B023
            lambda: group.negate(point),  # noqa: B023
        ):
            with pytest.raises(TypeError):
                attempt()


@each_group
def test_scalars_do_not_show(group, reference):
    """A scalar may be secret, so its repr holds no digit of it."""
    scalar = group.scalar(2**251 - 19)
    for text in (repr(scalar), str(scalar), f"{scalar}", repr({1: (scalar,)})):
        assert str(scalar.value)[:8] not in text
        assert scalar.to_bytes().hex()[:8] not in text
