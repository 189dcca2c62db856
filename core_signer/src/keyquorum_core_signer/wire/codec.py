"""Typed values to canonical bytes and back: what travels, and what every hash of ours is taken over.

A value is one *frame*: a kind byte, the length of the body (4 bytes, big-endian), the body.

====== ================ =====================================================================
kind   value            body
====== ================ =====================================================================
``i``  int              big-endian, no leading zero byte; empty for 0
``b``  bytes            as they are
``s``  str              UTF-8
``?``  bool             one byte, 0 or 1
``-``  None             empty
``(``  tuple            the frames of its elements
``{``  dataclass        length of the class name (1 byte), the name, the frames of its fields in order
``x``  adapted type     length of the type name (1 byte), the name, the adapter's bytes
====== ================ =====================================================================

Every frame delimits itself and names its kind, so the encoding is injective: two different values never share bytes,
whatever is put next to what. Decoding is directed by a type and strict: one byte string per value, nothing left over,
and no deeper or longer than the type and :class:`Limits` allow.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")

Adapter: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
"""How a foreign type becomes bytes and comes back; the second raises ``ValueError`` for all but canonical bytes."""

_INT, _BYTES, _STR, _BOOL, _NONE, _TUPLE, _RECORD, _ADAPTED = b"ibs?-({x"
_HEADER: Final = 5


class DecodeError(ValueError):
    """Proves that bytes are not the canonical encoding of any value of the expected type.

    The text names the place and the rule, never the bytes: they may be secret.
    """


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is encoded and decoded; the same on both sides, so that what we send can be received."""

    message_bytes: int = 1 << 20  # the largest protocol message, an OT extension, is under 100 KB
    int_bytes: int = 1 << 10  # a squared 3072-bit Paillier modulus takes 768
    items: int = 1 << 12  # elements of one tuple
    depth: int = 8  # nested frames; our deepest message has 4


@dataclass(frozen=True, slots=True)
class Length:
    """Annotation of ``bytes``: exactly ``size`` of them, as in ``Annotated[bytes, Length(32)]``."""

    size: int


Bytes32: TypeAlias = Annotated[bytes, Length(32)]


@dataclass(frozen=True, slots=True)
class _Schema:
    """Both directions for one type. ``read`` takes the body of a frame whose kind is one of ``kinds``."""

    kinds: bytes
    write: Callable[[Any], bytes]
    read: Callable[[int, bytes], Any]


class Codec:
    """Encodes and decodes frozen dataclasses, ints ≥ 0, bytes, str, bool, None, tuples and the adapted types.

    Schemas are compiled once per class and kept, so that a codec is cheap to use and should be shared.
    """

    def __init__(self, adapters: Mapping[type, Adapter], limits: Limits | None = None) -> None:
        self._adapters = dict(adapters)
        self._limits = limits or Limits()
        self._schemas: dict[Any, _Schema] = {}

    def encode(self, value: Any) -> bytes:
        """The canonical bytes of ``value``; ``TypeError`` or ``ValueError`` for what cannot be encoded."""
        data = self._write(value, 0)
        if len(data) > self._limits.message_bytes:
            raise ValueError("the value is longer than a message may be")
        return data

    def decode(self, cls: type[T], data: bytes) -> T:
        """The one value of type ``cls`` whose encoding is ``data``; :class:`DecodeError` if there is none."""
        schema = self._schema(cls, 0)
        if len(data) > self._limits.message_bytes:
            raise DecodeError(f"{_name(cls)}: longer than a message may be")
        try:
            (value,) = _read_all((schema,), bytes(data))
        except DecodeError as error:
            raise DecodeError(f"{_name(cls)}: {error}") from None
        return cast("T", value)

    def _write(self, value: Any, depth: int) -> bytes:
        """Encode by the value's own type; a tuple's elements may be of any types."""
        if type(value) is tuple:
            self._check_depth(depth)
            if len(value) > self._limits.items:
                raise ValueError("a tuple has too many elements")
            return _frame(_TUPLE, b"".join(self._write(item, depth + 1) for item in value))
        return self._schema(type(value), depth).write(value)

    def _check_depth(self, depth: int) -> None:
        if depth >= self._limits.depth:
            raise TypeError("nested too deeply")

    def _schema(self, hint: Any, depth: int) -> _Schema:
        """The schema of a type hint. Depth is bounded here, so the recursion of a decoder is bounded by its type."""
        self._check_depth(depth)
        found = self._schemas.get((hint, depth))
        if found is None:
            found = self._schemas[(hint, depth)] = self._compile(hint, depth)
        return found

    def _compile(self, hint: Any, depth: int) -> _Schema:  # noqa: PLR0911 - one line per kind of type
        hint = getattr(hint, "__supertype__", hint)  # NewType
        if hint in self._adapters:
            return _adapted_schema(hint, self._adapters[hint])
        if hint is int:
            return _int_schema(self._limits.int_bytes)
        if hint in _PLAIN:
            return _PLAIN[hint]
        if is_dataclass(hint) and isinstance(hint, type):
            return self._record_schema(hint, depth)
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return _annotated_schema(self._schema(arguments[0], depth), arguments)
        if origin is tuple and arguments:
            return self._tuple_schema(arguments, depth)
        if origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
            return _optional_schema(self._schema(next(a for a in arguments if a is not NoneType), depth))
        raise TypeError(f"no canonical encoding for {_name(hint)}")

    def _record_schema(self, cls: type, depth: int) -> _Schema:
        if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise TypeError(f"{_name(cls)} is not frozen")
        hints = get_type_hints(cls, include_extras=True)
        members = [(f.name, self._schema(hints[f.name], depth + 1)) for f in fields(cls)]
        prefix = _name_prefix(cls)

        def write(value: Any) -> bytes:
            if type(value) is not cls:
                raise TypeError(f"expected {cls.__name__}, not {_name(type(value))}")
            return _frame(_RECORD, prefix + b"".join(schema.write(getattr(value, name)) for name, schema in members))

        def read(_: int, body: bytes) -> Any:
            if not body.startswith(prefix):
                raise DecodeError("another type")
            at, values = len(prefix), {}
            for name, schema in members:
                try:
                    values[name], at = _read(schema, body, at, len(body))
                except DecodeError as error:
                    raise DecodeError(f"{name}: {error}") from None
            if at != len(body):
                raise DecodeError("trailing bytes")
            try:
                return cls(**values)
            except ValueError:
                raise DecodeError("refused by its type") from None

        return _Schema(bytes([_RECORD]), write, read)

    def _tuple_schema(self, arguments: tuple[Any, ...], depth: int) -> _Schema:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return self._sequence_schema(self._schema(arguments[0], depth + 1))
        members = [self._schema(argument, depth + 1) for argument in arguments]

        def write(value: Any) -> bytes:
            if type(value) is not tuple or len(value) != len(members):
                raise TypeError(f"expected a tuple of {len(members)}")
            return _frame(_TUPLE, b"".join(schema.write(item) for schema, item in zip(members, value, strict=True)))

        def read(_: int, body: bytes) -> tuple[Any, ...]:
            return tuple(_read_all(members, body))

        return _Schema(bytes([_TUPLE]), write, read)

    def _sequence_schema(self, member: _Schema) -> _Schema:
        most = self._limits.items

        def write(value: Any) -> bytes:
            if type(value) is not tuple:
                raise TypeError(f"expected a tuple, not {_name(type(value))}")
            if len(value) > most:
                raise ValueError("a tuple has too many elements")
            return _frame(_TUPLE, b"".join(map(member.write, value)))

        def read(_: int, body: bytes) -> tuple[Any, ...]:
            at = 0
            items: list[Any] = []
            while at < len(body):
                if len(items) == most:
                    raise DecodeError("too many elements")
                item, at = _read(member, body, at, len(body))
                items.append(item)
            return tuple(items)

        return _Schema(bytes([_TUPLE]), write, read)


def _frame(kind: int, body: bytes) -> bytes:
    return b"%c%b%b" % (kind, len(body).to_bytes(4, "big"), body)


def _read(schema: _Schema, data: bytes, at: int, end: int) -> tuple[Any, int]:
    """The value whose frame starts at ``at``, and where the next one starts."""
    start = at + _HEADER
    if start > end:
        raise DecodeError("truncated")
    stop = start + int.from_bytes(data[at + 1 : start], "big")
    if stop > end:
        raise DecodeError("truncated")
    kind = data[at]
    if kind not in schema.kinds:
        raise DecodeError("another kind of value")
    return schema.read(kind, data[start:stop]), stop


def _read_all(schemas: Iterable[_Schema], data: bytes) -> list[Any]:
    """The values of frames that fill ``data`` exactly."""
    at = 0
    values: list[Any] = []
    for schema in schemas:
        value, at = _read(schema, data, at, len(data))
        values.append(value)
    if at != len(data):
        raise DecodeError("trailing bytes")
    return values


def _name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))


def _name_prefix(cls: type) -> bytes:
    name = cls.__name__.encode()
    return bytes([len(name)]) + name


def _refuse_type(expected: str, value: Any) -> NoReturn:
    raise TypeError(f"expected {expected}, not {_name(type(value))}")


def _int_schema(most: int) -> _Schema:
    def write(value: Any) -> bytes:
        if type(value) is not int:
            _refuse_type("int", value)
        if value < 0 or value.bit_length() > 8 * most:
            raise ValueError("an integer is negative or too large")
        return _frame(_INT, value.to_bytes((value.bit_length() + 7) // 8, "big"))

    def read(_: int, body: bytes) -> int:
        if len(body) > most:
            raise DecodeError("an integer is too large")
        if body[:1] == b"\x00":
            raise DecodeError("an integer has a leading zero")
        return int.from_bytes(body, "big")

    return _Schema(bytes([_INT]), write, read)


def _write_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        _refuse_type("bytes", value)
    return _frame(_BYTES, value)


def _read_bytes(_: int, body: bytes) -> bytes:
    return body


def _write_str(value: Any) -> bytes:
    if type(value) is not str:
        _refuse_type("str", value)
    return _frame(_STR, value.encode())


def _read_str(_: int, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:  # it quotes the bytes
        raise DecodeError("not UTF-8") from None


def _write_bool(value: Any) -> bytes:
    if type(value) is not bool:
        _refuse_type("bool", value)
    return _frame(_BOOL, b"\x01" if value else b"\x00")


def _read_bool(_: int, body: bytes) -> bool:
    if body not in (b"\x00", b"\x01"):
        raise DecodeError("neither true nor false")
    return body == b"\x01"


def _write_none(value: Any) -> bytes:
    if value is not None:
        _refuse_type("None", value)
    return _frame(_NONE, b"")


def _read_none(_: int, body: bytes) -> None:
    if body:
        raise DecodeError("None has no body")


def _adapted_schema(cls: type, adapter: Adapter) -> _Schema:
    to_bytes, from_bytes = adapter
    prefix = _name_prefix(cls)

    def write(value: Any) -> bytes:
        if type(value) is not cls:
            _refuse_type(cls.__name__, value)
        return _frame(_ADAPTED, prefix + to_bytes(value))

    def read(_: int, body: bytes) -> Any:
        if not body.startswith(prefix):
            raise DecodeError("another type")
        try:
            return from_bytes(body[len(prefix) :])
        except ValueError:
            raise DecodeError(f"not a canonical {cls.__name__}") from None

    return _Schema(bytes([_ADAPTED]), write, read)


def _annotated_schema(schema: _Schema, arguments: tuple[Any, ...]) -> _Schema:
    """``Annotated[bytes, Length(n)]``; any other annotation would be a rule that is silently not enforced."""
    if arguments[0] is not bytes or len(arguments) != 2 or not isinstance(arguments[1], Length):
        raise TypeError("the only annotation known is a Length of bytes")
    size = arguments[1].size

    def write(value: Any) -> bytes:
        data = schema.write(value)
        if len(value) != size:
            raise ValueError(f"expected {size} bytes")
        return data

    def read(_: int, body: bytes) -> bytes:
        if len(body) != size:
            raise DecodeError(f"expected {size} bytes")
        return body

    return _Schema(schema.kinds, write, read)


def _optional_schema(schema: _Schema) -> _Schema:
    def write(value: Any) -> bytes:
        return _frame(_NONE, b"") if value is None else schema.write(value)

    def read(kind: int, body: bytes) -> Any:
        return _read_none(kind, body) if kind == _NONE else schema.read(kind, body)

    return _Schema(schema.kinds + bytes([_NONE]), write, read)


_PLAIN: Final[Mapping[Any, _Schema]] = {
    bytes: _Schema(bytes([_BYTES]), _write_bytes, _read_bytes),
    str: _Schema(bytes([_STR]), _write_str, _read_str),
    bool: _Schema(bytes([_BOOL]), _write_bool, _read_bool),
    NoneType: _Schema(bytes([_NONE]), _write_none, _read_none),
}

plain: Final = Codec({})
"""The codec of values that hold no curve elements."""


def hash_typed(tag: str, *values: Any) -> bytes:
    """SHA-256 over the injective encoding of ``(tag, *values)``; ``tag`` names what the hash is for."""
    return hashlib.sha256(plain.encode((tag, *values))).digest()
