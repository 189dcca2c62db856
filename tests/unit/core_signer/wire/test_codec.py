"""The codec is injective, strict, bounded and silent about what it refuses."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.wire.codec import Bytes32, Codec, DecodeError, Length, Limits, hash_typed, plain

Index = NewType("Index", int)


@dataclass(frozen=True, slots=True)
class Leaf:
    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Twin:
    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    index: Index
    digest: Bytes32
    leaves: tuple[Leaf, ...]
    pair: tuple[str, bool]
    note: str | None


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class Even:
    number: int

    def __post_init__(self):
        if self.number % 2:
            raise ValueError("odd")


class Colour:
    """A foreign type, encoded through an adapter."""

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return self.name == other.name

    __hash__ = None


def decode_colour(data):
    if data not in (b"red", b"blue"):
        raise ValueError(data)
    return Colour(data.decode())


TREE = Tree(Index(7), bytes(32), (Leaf(0, b""), Leaf(2**64, b"\x00x")), ("é", True), None)
coloured = Codec({Colour: (lambda colour: colour.name.encode(), decode_colour)})

values = st.recursive(
    st.one_of(st.integers(0, 2**300), st.binary(max_size=9), st.text(max_size=9), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=8,
)


def shape(value):
    """The value with its types, for ``True == 1`` in Python."""
    return tuple(map(shape, value)) if isinstance(value, tuple) else (type(value), value)


def test_round_trip():
    """What is encoded decodes to the same value, absent and present options alike."""
    for tree in (TREE, Tree(Index(0), b"\xff" * 32, (), ("", False), "note")):
        assert plain.decode(Tree, plain.encode(tree)) == tree
    assert plain.decode(Empty, plain.encode(Empty())) == Empty()


def test_bytes_are_pinned():
    """The format on the wire and on disk does not drift."""
    assert plain.encode(Leaf(258, b"\x00")).hex() == "7b00000012044c656166" + "69000000020102" + "620000000100"
    assert (
        hash_typed("tag", 1)
        == hashlib.sha256(bytes.fromhex("280000000e" + "7300000003746167" + "690000000101")).digest()
    )


@given(values, values)
def test_injective(one, other):
    """Two different values never share bytes."""
    assert (plain.encode((one,)) == plain.encode((other,))) == (shape(one) == shape(other))


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_hashes_keep_boundaries_apart(one, other):
    """Parts moved across a boundary hash differently: the ambiguity behind TSSHOCK's alpha-shuffle."""
    assert (hash_typed("t", *one) == hash_typed("t", *other)) == (one == other)


def test_hashes_separate_tags_and_types():
    """The tag, the class and the kind of a value all enter its hash."""
    hashes = [
        hash_typed("a", b"b"),
        hash_typed("b", b"b"),
        hash_typed("a", "b"),
        hash_typed("ab"),
        hash_typed("a", 98),
        hash_typed("a", (b"b",)),
        hash_typed("a", Leaf(1, b"")),
        hash_typed("a", Twin(1, b"")),
        hash_typed("a", None),
        hash_typed("a"),
        hash_typed("a", False),
        hash_typed("a", 0),
    ]
    assert len(set(hashes)) == len(hashes)


def test_every_truncation_is_refused():
    """A message cut anywhere does not decode."""
    data = plain.encode(TREE)
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            plain.decode(Tree, data[:length])


def test_no_second_encoding():
    """Every single-byte change that still decodes is another value: there is one encoding per value."""
    data = plain.encode(TREE)
    for at in range(len(data)):
        for change in (1, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            try:
                value = plain.decode(Tree, changed)
            except DecodeError:
                continue
            assert plain.encode(value) == changed


@given(st.binary(max_size=120))
def test_arbitrary_bytes_never_crash(data):
    """Any bytes decode or raise DecodeError, nothing else."""
    for candidate in (data, b"{" + len(data).to_bytes(4, "big") + data):
        try:
            value = plain.decode(Tree, candidate)
        except DecodeError:
            continue
        assert plain.encode(value) == candidate


@pytest.mark.parametrize(
    ("cls", "data", "rule"),
    [
        (int, b"i\x00\x00\x00\x02\x00\x01", "leading zero"),
        (int, b"i\x00\x00\x00\x01\x00", "leading zero"),
        (bool, b"?\x00\x00\x00\x01\x02", "neither"),
        (bool, b"?\x00\x00\x00\x00", "neither"),
        (str, b"s\x00\x00\x00\x01\xff", "UTF-8"),
        (bytes, b"b\x00\x00\x00\x00\x00", "trailing"),
        (bytes, b"b\xff\xff\xff\xff", "truncated"),
        (bytes, b"s\x00\x00\x00\x00", "another kind"),
        (bytes, b"", "truncated"),
        (Bytes32, b"b\x00\x00\x00\x01\x00", "expected 32"),
        (int | None, b"-\x00\x00\x00\x01\x00", "no body"),
        (tuple[int, int], b"(\x00\x00\x00\x05i\x00\x00\x00\x00", "truncated"),
        (tuple[int], b"(\x00\x00\x00\x0a" + b"i\x00\x00\x00\x00" * 2, "trailing"),
    ],
)
def test_non_canonical_is_refused(cls, data, rule):
    """Each rule of the format is enforced."""
    with pytest.raises(DecodeError, match=rule):
        plain.decode(cls, data)


def test_another_class_of_the_same_shape_is_refused():
    """A message of one type never passes for another."""
    with pytest.raises(DecodeError, match="another type"):
        plain.decode(Leaf, plain.encode(Twin(1, b"")))


def test_fields_may_be_neither_missing_nor_added():
    """A record has exactly its fields."""
    body = plain.encode(Leaf(1, b""))[5:]
    for changed in (body[:-5], body + plain.encode(0)):
        with pytest.raises(DecodeError):
            plain.decode(Leaf, b"{" + len(changed).to_bytes(4, "big") + changed)


def test_a_type_may_refuse_values():
    """A ValueError of a dataclass's own check is a DecodeError of its sender."""
    forged = plain.encode(Even(2)).replace(b"\x02", b"\x03")
    with pytest.raises(DecodeError, match="refused by its type"):
        plain.decode(Even, forged)


def test_adapters():
    """Foreign types go through their adapter, whose refusal is a DecodeError."""
    data = coloured.encode((Colour("red"),))
    assert coloured.decode(tuple[Colour, ...], data) == (Colour("red"),)
    with pytest.raises(DecodeError, match="canonical Colour"):
        coloured.decode(tuple[Colour, ...], coloured.encode((Colour("green"),)))
    with pytest.raises(DecodeError, match="another type"):
        coloured.decode(Colour, coloured.encode(Colour("red")).replace(b"Colour", b"Odourr"))


def test_limits():
    """Size, integers, element count and depth are bounded in both directions."""
    small = Codec({}, Limits(message_bytes=64, int_bytes=2, items=3, depth=3))
    for value in (b"x" * 60, 2**16, (0,) * 4, ((((),),),), Leaf(2**16, b"")):
        with pytest.raises((TypeError, ValueError)):
            small.encode(value)
    for cls, value in ((bytes, b"x" * 60), (int, 2**16), (tuple[int, ...], (0,) * 4)):
        with pytest.raises(DecodeError):
            small.decode(cls, plain.encode(value))
    with pytest.raises(TypeError, match="deeply"):
        small.decode(tuple[tuple[tuple[tuple[int, ...], ...], ...], ...], b"")
    with pytest.raises(ValueError):
        plain.encode(-1)


def test_a_deep_message_cannot_exhaust_the_stack():
    """Nesting beyond the type is refused at the first frame that does not belong."""
    data = b""
    for _ in range(10_000):
        data = b"(" + len(data).to_bytes(4, "big") + data
    with pytest.raises(DecodeError):
        plain.decode(tuple[tuple[int, ...], ...], data)


@dataclass
class Thawed:
    number: int


@dataclass(frozen=True)
class Loose:
    data: Annotated[int, Length(3)]


@pytest.mark.parametrize("value", [1.5, [1], {}, Thawed(1), Loose(1), object(), Leaf(True, b""), Leaf(1, "text")])
def test_what_has_no_encoding_is_refused(value):
    """Only the types of the format are encoded, exactly as their fields declare them."""
    with pytest.raises(TypeError):
        plain.encode(value)


def test_refusals_do_not_quote_the_value():
    """Errors name the rule and the place, never the bytes."""
    with pytest.raises(DecodeError) as caught:
        plain.decode(Tree, plain.encode(TREE).replace("é".encode(), b"\xfe\xff"))
    assert str(caught.value) == "Tree: pair: not UTF-8"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
