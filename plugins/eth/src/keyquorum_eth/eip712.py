"""Hashing structured documents (EIP-712).

    digest            = keccak(0x19 0x01 ‖ hashStruct(domain) ‖ hashStruct(message))
    hashStruct(value) = keccak(keccak(encodeType) ‖ encodeData(value))

Values have been read already (:mod:`.typed_data`): integers, booleans, text, bytes, lists and dictionaries, each of the
form that its type asks for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

Fields = tuple[tuple[str, str], ...]
"""Name and type of each field of a struct, in order."""

DOMAIN = "EIP712Domain"
ARRAY = re.compile(r"(.+)\[([1-9][0-9]{0,2})?\]")


@dataclass(frozen=True, slots=True)
class StructuredDocument:
    """Types by name, the type of the message, domain and message."""

    types: Mapping[str, Fields]
    primary_type: str
    domain: Mapping[str, Any]
    message: Mapping[str, Any]

    def digest(self) -> bytes:
        """What is signed."""
        domain = hash_struct(self.types, DOMAIN, self.domain)
        return keccak(b"\x19\x01" + domain + hash_struct(self.types, self.primary_type, self.message))


def base_type(field_type: str) -> str:
    """What an array, however deep, is made of."""
    while (array := ARRAY.fullmatch(field_type)) is not None:
        field_type = array[1]
    return field_type


def dependencies(types: Mapping[str, Fields], name: str) -> frozenset[str]:
    """The structs that a struct consists of, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        struct = waiting.pop()
        if struct in types and struct not in found:
            found.add(struct)
            waiting += [base_type(field_type) for _, field_type in types[struct]]
    return frozenset(found)


def encode_type(types: Mapping[str, Fields], name: str) -> str:
    """``Name(type field,…)``, followed by the structs it refers to in the order of their names."""
    others = sorted(dependencies(types, name) - {name})
    return "".join(
        f"{struct}({','.join(f'{field_type} {field}' for field, field_type in types[struct])})"
        for struct in (name, *others)
    )


def hash_struct(types: Mapping[str, Fields], name: str, value: Mapping[str, Any]) -> bytes:
    """The hash of one struct."""
    words = [_word(types, field_type, value[field]) for field, field_type in types[name]]
    return keccak(keccak(encode_type(types, name).encode("ascii")) + b"".join(words))


def _word(types: Mapping[str, Fields], field_type: str, value: Any) -> bytes:
    """32 bytes for a field: the value itself, or a hash of what is longer."""
    array = ARRAY.fullmatch(field_type)
    if array is not None:
        return keccak(b"".join(_word(types, array[1], item) for item in value))
    if field_type in types:
        return hash_struct(types, field_type, value)
    if field_type in ("string", "bytes"):
        return keccak(value.encode("utf-8") if isinstance(value, str) else value)
    if isinstance(value, bytes):
        return value.rjust(32, b"\x00") if field_type == "address" else value.ljust(32, b"\x00")
    return (int(value) % 2**256).to_bytes(32, "big")
