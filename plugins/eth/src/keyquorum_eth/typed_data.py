"""Reading structured documents (EIP-712) as JSON, strictly, and writing them in one way.

A document has exactly ``types``, ``primaryType``, ``domain`` and ``message``; every field that a type names and no other;
no type that nothing refers to; no key twice. Integers may be JSON numbers or decimal or 0x strings, as wallets take them; the
one spelling that is written has decimal strings, EIP-55 addresses and lower-case hexadecimal, without spaces, keys sorted.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from keyquorum_eth.addresses import checksummed, parse_address
from keyquorum_eth.eip712 import ARRAY, DOMAIN, Fields, StructuredDocument, base_type, dependencies
from keyquorum_eth.limits import DOCUMENT_BYTES_MAX
from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload

_TYPES_MAX, _FIELDS_MAX, _ITEMS_MAX, _DEPTH_MAX = 16, 32, 64, 8
_PARTS = frozenset({"types", "primaryType", "domain", "message"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_INTEGER_TYPE = re.compile(r"(u?)int([1-9][0-9]{0,2})")
_BYTES_TYPE = re.compile(r"bytes([1-9][0-9]?)")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,77})|0x[0-9a-fA-F]{1,64}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON's escapes can spell one by itself; UTF-8 cannot
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_DOMAIN_FIELDS: Fields = (  # in the order that the EIP gives them; each may be missing
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
)


def parse_document(text: str) -> StructuredDocument:
    """The document; :class:`InvalidPayload` for anything that is not one, to the letter."""
    parts = _object(_load(text), "the document")
    if parts.keys() != _PARTS:
        raise InvalidPayload(f"a structured document has {', '.join(sorted(_PARTS))} and nothing else")
    types = _types(_object(parts["types"], "types"))
    primary = parts["primaryType"]
    if not isinstance(primary, str) or primary not in types or primary == DOMAIN:
        raise InvalidPayload("primaryType is none of the types")
    if dependencies(types, primary) | {DOMAIN} != types.keys():
        raise InvalidPayload("a type is defined that the message does not use")
    domain, message = (
        _struct(types, name, parts[part], 0) for name, part in ((DOMAIN, "domain"), (primary, "message"))
    )
    return StructuredDocument(types, primary, domain, message)


def write_document(document: StructuredDocument) -> bytes:
    """The one spelling of a document."""
    types = document.types
    parts = {
        "types": {
            name: [{"name": field, "type": field_type} for field, field_type in fields]
            for name, fields in types.items()
        },
        "primaryType": document.primary_type,
        "domain": _plain(types, DOMAIN, document.domain),
        "message": _plain(types, document.primary_type, document.message),
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _load(text: str) -> Any:
    if not isinstance(text, str) or len(text) > DOCUMENT_BYTES_MAX:
        raise InvalidPayload(f"a structured document is a text of at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        if len(text.encode("utf-8")) > DOCUMENT_BYTES_MAX:
            raise InvalidPayload(f"a structured document has at most {DOCUMENT_BYTES_MAX} bytes")
        return json.loads(text, object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse, parse_int=_number)
    except (ValueError, RecursionError):
        raise InvalidPayload("a structured document is JSON, without floats") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidPayload("a key is there twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _number(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidPayload(f"{what} is no object")
    return value


def _types(found: Mapping[str, Any]) -> dict[str, Fields]:
    if not 2 <= len(found) <= _TYPES_MAX or DOMAIN not in found:
        raise InvalidPayload(f"types are {DOMAIN} and 1 to {_TYPES_MAX - 1} others")
    types = {_name(name): _fields(fields) for name, fields in found.items()}
    for name, fields in types.items():
        if _is_atomic(name):
            raise InvalidPayload("a struct has the name of an elementary type")
        for _, field_type in fields:
            inner = base_type(field_type)
            if inner not in types and not _is_atomic(inner):
                raise InvalidPayload("a field is of a type that nobody knows")
    if any(DOMAIN in dependencies(types, name) for name in types if name != DOMAIN):
        raise InvalidPayload("a message does not contain the domain")
    if not types[DOMAIN] or tuple(field for field in _DOMAIN_FIELDS if field in types[DOMAIN]) != types[DOMAIN]:
        raise InvalidPayload("the domain has other fields than the standard, or in another order")
    return types


def _fields(found: Any) -> Fields:
    if not isinstance(found, list) or len(found) > _FIELDS_MAX:
        raise InvalidPayload("a type is a list of fields")
    fields = []
    for field in found:
        if not isinstance(field, dict) or field.keys() != {"name", "type"} or not isinstance(field["type"], str):
            raise InvalidPayload("a field has a name and a type")
        fields.append((_name(field["name"]), field["type"]))
    if len({name for name, _ in fields}) != len(fields):
        raise InvalidPayload("a field is there twice")
    return tuple(fields)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidPayload("a name of a type or field is no identifier")
    return value


def _is_atomic(name: str) -> bool:
    if name in ("address", "bool", "string", "bytes"):
        return True
    if (sized := _INTEGER_TYPE.fullmatch(name)) is not None:
        return int(sized[2]) <= 256 and int(sized[2]) % 8 == 0
    return (sized := _BYTES_TYPE.fullmatch(name)) is not None and int(sized[1]) <= 32


def _struct(types: Mapping[str, Fields], name: str, value: Any, depth: int) -> dict[str, Any]:
    fields = types[name]
    if depth > _DEPTH_MAX or _object(value, name).keys() != {field for field, _ in fields}:
        raise InvalidPayload(f"{name} does not have exactly the fields of its type")
    return {field: _value(types, field_type, value[field], depth + 1) for field, field_type in fields}


def _value(types: Mapping[str, Fields], field_type: str, value: Any, depth: int) -> Any:
    array = ARRAY.fullmatch(field_type)
    if array is not None:
        sizes = range(_ITEMS_MAX + 1) if array[2] is None else (int(array[2]),)
        if not isinstance(value, list) or len(value) not in sizes or depth > _DEPTH_MAX:
            raise InvalidPayload("an array does not have the form of its type")
        return [_value(types, array[1], item, depth + 1) for item in value]
    if field_type in types:
        return _struct(types, field_type, value, depth)
    return _atom(field_type, value)


def _atom(field_type: str, value: Any) -> Any:
    if field_type == "bool" and isinstance(value, bool):
        return value
    if field_type == "string" and isinstance(value, str) and not _SURROGATE.search(value):
        return value
    if field_type == "address":
        try:
            return parse_address(value)
        except InvalidAddress as error:
            raise InvalidPayload(error.detail) from None
    if (integer := _INTEGER_TYPE.fullmatch(field_type)) is not None:
        return _integer(value, signed=not integer[1], bits=int(integer[2]))
    if field_type.startswith("bytes") and isinstance(value, str) and _HEX.fullmatch(value):
        found = bytes.fromhex(value[2:])
        sized = _BYTES_TYPE.fullmatch(field_type)
        if sized is None or len(found) == int(sized[1]):
            return found
    raise InvalidPayload(f"a value is no {field_type}")


def _integer(value: Any, *, signed: bool, bits: int) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value, 16 if value.startswith("0x") else 10)
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if type(value) is not int or not least <= value <= most:
        raise InvalidPayload(f"a value is no integer of {bits} bits")
    return value


def _plain(types: Mapping[str, Fields], field_type: str, value: Any) -> Any:
    array = ARRAY.fullmatch(field_type)
    if array is not None:
        return [_plain(types, array[1], item) for item in value]
    if field_type in types:
        return {field: _plain(types, inner, value[field]) for field, inner in types[field_type]}
    if field_type == "address":
        return checksummed(value)
    if isinstance(value, bool | str):
        return value
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
