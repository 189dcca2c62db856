"""Strict readings of single fields, shared by every statement that parties sign or check.

Each function returns its argument, narrowed, or raises :class:`IntentError` naming the field.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from keyquorum_core_signer.intents.errors import INTENT_INVALID, SCHEME_UNAVAILABLE, IntentError
from keyquorum_core_signer.intents.limits import (
    ADDRESS_CHARS_MAX,
    AMOUNT_BOUND,
    PATH_ELEMENT_BOUND,
    PATH_ELEMENTS_MAX,
)

M = TypeVar("M", bound=Message)

FORMAT_VERSION = 1
HASH_BYTES = 32
KEY_BYTES = 32
PUBLIC_KEY_BYTES = {"eddsa_ed25519": 32, "schnorr_bip340": 33, "ecdsa_secp256k1": 33}
DIGEST_SCHEMES = frozenset({"schnorr_bip340", "ecdsa_secp256k1"})
PROTOCOLS: Final = {  # the first one of each is the scheme's own
    "eddsa_ed25519": ("frost",),
    "schnorr_bip340": ("frost",),
    "ecdsa_secp256k1": ("dkls23", "gg20", "gg18"),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_USER = re.compile(r"[\x21-\x7e]{1,128}")
_ADDRESS = re.compile(rf"[\x21-\x7e]{{1,{ADDRESS_CHARS_MAX}}}")
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}")
_CAIP2 = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
_CAIP19 = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}/[-a-z0-9]{3,8}:[-.%a-zA-Z0-9]{1,128}(/[-.%a-zA-Z0-9]{1,78})?")


def invalid(detail: str) -> IntentError:
    """Make the error for a statement that is not well formed."""
    return IntentError(INTENT_INVALID, detail)


def parse_canonical(kind: type[M], data: bytes, size_max: int) -> M:
    """Parse bytes that must be the one encoding of their message: no unknown field, no second spelling.

    Unknown fields are dropped before re-serializing, so that they too make the bytes differ.
    """
    name = kind.DESCRIPTOR.name
    if not data or len(data) > size_max:
        raise invalid(f"{name}: {len(data)} bytes, where 1 to {size_max} are allowed")
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise invalid(f"{name}: the bytes do not parse") from None
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != data:
        raise invalid(f"{name}: the bytes are not its canonical encoding")
    return message


def version(value: int, what: str) -> None:
    """Only version 1 exists."""
    if value != FORMAT_VERSION:
        raise invalid(f"{what}: version {value} is unknown")


def name(value: str, what: str) -> str:
    """A cell, tenant, node, coordinator, gateway or codec name."""
    return _matching(_NAME, value, what)


def opaque(value: str, prefix: str, what: str) -> str:
    """An id such as ``key_…``."""
    if not value.startswith(prefix) or not _OPAQUE.fullmatch(value[len(prefix) :]):
        raise invalid(f"{what}: not an id of the form {prefix}…")
    return value


def user(value: str, what: str) -> str:
    """An id that a client gave its user: printable ASCII without spaces."""
    return _matching(_USER, value, what)


def address(value: str, what: str) -> str:
    """An address as some chain writes it; only the chain's codec knows more."""
    return _matching(_ADDRESS, value, what)


def distribution_version(value: str, what: str) -> str:
    """A version of a Python distribution."""
    return _matching(_VERSION, value, what)


def caip2(value: str, what: str) -> str:
    """A chain id (CAIP-2)."""
    return _matching(_CAIP2, value, what)


def caip19(value: str, what: str) -> str:
    """An asset type or asset id (CAIP-19)."""
    return _matching(_CAIP19, value, what)


def amount(value: str, what: str) -> int:
    """A decimal string without sign, leading zero or exponent, below 2^256."""
    if not _AMOUNT.fullmatch(value) or (number := int(value)) >= AMOUNT_BOUND:
        raise invalid(f"{what}: not a canonical decimal number below 2^256")
    return number


def scheme(value: str, what: str) -> str:
    """A signature scheme that this format knows; whether a party can sign with it is for the party to say."""
    if value not in PUBLIC_KEY_BYTES:
        raise IntentError(SCHEME_UNAVAILABLE, f"{what}: unknown scheme")
    return value


def protocol(value: str, scheme: str, what: str) -> str:
    """What signs with a key of a scheme; empty for the scheme's own. Whether a party offers it is for the party to say."""
    if value and value not in PROTOCOLS[scheme]:
        raise IntentError(SCHEME_UNAVAILABLE, f"{what}: nothing of that name signs {scheme}")
    return value


def protocol_of(scheme: str, value: str) -> str:
    """The protocol that a permitted value stands for."""
    return value or PROTOCOLS[scheme][0]


def exactly(value: bytes, length: int, what: str) -> bytes:
    """Bytes of one length."""
    if len(value) != length:
        raise invalid(f"{what}: {len(value)} bytes instead of {length}")
    return bytes(value)


def path(value: Sequence[int], what: str) -> tuple[int, ...]:
    """A non-hardened derivation path."""
    if len(value) > PATH_ELEMENTS_MAX:
        raise invalid(f"{what}: a path has at most {PATH_ELEMENTS_MAX} elements")
    if any(not 0 <= element < PATH_ELEMENT_BOUND for element in value):
        raise invalid(f"{what}: a path element is below 2^31")
    return tuple(value)


def count(value: Sequence[object], least: int, most: int, what: str) -> None:
    """A repeated field's length."""
    if not least <= len(value) <= most:
        raise invalid(f"{what}: {len(value)} entries, where {least} to {most} are allowed")


def distinct(values: Iterable[object], what: str) -> None:
    """No entry twice."""
    entries = list(values)
    if len(set(entries)) != len(entries):
        raise invalid(f"{what}: an entry occurs twice")


def _matching(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise invalid(f"{what}: not in its permitted form")
    return value
