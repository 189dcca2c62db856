"""Reading the parameters of a call, positional or named, with bitcoind's complaints."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from keyquorum_devnet.bitcoin.faults import (
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    TYPE_ERROR,
    RpcFault,
)
from keyquorum_devnet.bitcoin.scripts import InvalidAddress, script_of

T = TypeVar("T")

COIN = 10**8  # satoshis
MONEY_MAX = 21_000_000 * COIN
I32_MAX = 2**31 - 1


class Params:
    """The ``params`` of a call to a method whose parameters are ``names``, in that order."""

    def __init__(self, values: Any, names: Sequence[str]) -> None:
        if values is None:
            values = []
        if isinstance(values, list):
            if len(values) > len(names):
                raise RpcFault(MISC_ERROR, f"takes at most {len(names)} parameters: {', '.join(names)}")
            values = dict(zip(names, values, strict=False))
        if not isinstance(values, dict):
            raise RpcFault(-32600, "Params must be an array or object")
        unknown = set(values) - set(names)
        if unknown:
            raise RpcFault(INVALID_PARAMETER, f"Unknown named parameter {min(unknown)}")
        self._values: dict[str, Any] = {name: value for name, value in values.items() if value is not None}

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return name in self._values

    def text(self, name: str) -> str:
        """A string."""
        return _typed(self._required(name), str, "string")

    def integer(self, name: str, default: int | None = None) -> int:
        """A 32-bit integer that is not negative."""
        value = self._values.get(name, default)
        if value is None:
            value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(value, "number")
        if not 0 <= value <= I32_MAX:
            raise RpcFault(INVALID_PARAMETER, f"{name} out of range")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number that is not negative, also where it is written as a string."""
        value = self._values.get(name, default)
        try:
            number = float(value) if not isinstance(value, bool) and isinstance(value, int | float | str) else None
        except (ValueError, OverflowError):
            number = None
        if number is None:
            raise RpcFault(TYPE_ERROR, "Amount is not a number or string")
        if not math.isfinite(number) or number < 0:
            raise RpcFault(TYPE_ERROR, "Amount out of range")
        return number

    def satoshis(self, name: str, default: int = 0) -> int:
        """An amount in bitcoins, as satoshis."""
        value = round(self.number(name, default / COIN) * COIN)
        if value > MONEY_MAX:
            raise RpcFault(TYPE_ERROR, "Amount out of range")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean."""
        return _typed(self._values.get(name, default), bool, "bool")

    def verbosity(self, name: str, default: int) -> int:
        """A level of detail; a boolean stands for 0 or 1."""
        value = self._values.get(name, default)
        return int(value) if isinstance(value, bool) else self.integer(name, default)

    def hash(self, name: str) -> str:
        """A txid or a block's hash."""
        return hash_of(self.text(name), name)

    def script(self, name: str) -> bytes:
        """The script of an address."""
        try:
            return script_of(self.text(name))
        except InvalidAddress:
            raise RpcFault(INVALID_ADDRESS_OR_KEY, "Error: Invalid address") from None

    def texts(self, name: str, count_max: int) -> list[str]:
        """A list of strings; empty where there is none."""
        return [_typed(value, str, "string") for value in self.items(name, count_max)]

    def items(self, name: str, count_max: int) -> list[Any]:
        """A list; empty where there is none."""
        values: list[Any] = _typed(self._values.get(name, []), list, "array")
        if len(values) > count_max:
            raise RpcFault(INVALID_PARAMETER, f"{name} has at most {count_max} members")
        return values

    def _required(self, name: str) -> Any:
        if name not in self._values:
            raise RpcFault(MISC_ERROR, f"{name} is missing")
        return self._values[name]


def hash_of(text: str, name: str) -> str:
    """A hash from its hex; :class:`RpcFault` -8."""
    if len(text) != 64:
        raise RpcFault(INVALID_PARAMETER, f"{name} must be of length 64 (not {len(text)}, for '{text[:128]}')")
    if not all(character in "0123456789abcdefABCDEF" for character in text):
        raise RpcFault(INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')")
    return text.lower()


def _typed(value: Any, kind: type[T], name: str) -> T:
    if not isinstance(value, kind):
        raise _wrong_type(value, name)
    return value


def _wrong_type(value: Any, wanted: str) -> RpcFault:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    found = names.get(type(value), "null")
    return RpcFault(TYPE_ERROR, f"JSON value of type {found} is not of expected type {wanted}")
