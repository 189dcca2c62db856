"""Reading the positional parameters of a JSON-RPC call."""

import base64
import binascii
from typing import Any

from solders.hash import Hash
from solders.message import Message, MessageV0, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from keyquorum_devnet.solana import base58
from keyquorum_devnet.solana.blocks import Commitment
from keyquorum_devnet.solana.faults import INVALID_PARAMS, RpcFault, invalid_params

PACKET_BYTES = 1232  # what a transaction may take on the wire
_TEXT_MAX = {"base58": 1683, "base64": 1644}  # the longest text of a packet in each encoding
U64_MAX = 2**64 - 1


class Params:
    """The ``params`` of a call: positional values, the last of which may be a configuration object."""

    def __init__(self, values: Any) -> None:
        if values is not None and not isinstance(values, list):
            raise invalid_params("expected a positional list")
        self._values: list[Any] = values or []

    def config(self, position: int) -> "Config":
        """The configuration object at ``position``; empty where there is none."""
        value = self._values[position] if position < len(self._values) else None
        if value is not None and not isinstance(value, dict):
            raise invalid_params("expected a configuration object")
        return Config(value or {})

    def text(self, position: int) -> str:
        """A string."""
        value = self._at(position)
        if not isinstance(value, str):
            raise invalid_params("expected a string")
        return value

    def integer(self, position: int, default: int | None = None) -> int:
        """An unsigned 64-bit integer."""
        value = default if default is not None and position >= len(self._values) else self._at(position)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= U64_MAX:
            raise invalid_params("expected a u64")
        return value

    def pubkey(self, position: int) -> Pubkey:
        """An address."""
        return pubkey(self.text(position))

    def pubkeys(self, position: int) -> list[Pubkey]:
        """A list of at most 128 addresses; empty where there is none."""
        values = self._values[position] if position < len(self._values) else []
        if not isinstance(values, list) or len(values) > 128:
            raise invalid_params("expected a list of at most 128 addresses")
        return [pubkey(value) for value in values]

    def signature(self, position: int) -> Signature:
        """A transaction's id."""
        return signature(self.text(position))

    def signatures(self, position: int) -> list[Signature]:
        """A list of at most 256 transaction ids."""
        values = self._at(position)
        if not isinstance(values, list) or len(values) > 256:
            raise invalid_params("Too many inputs provided; max 256")
        return [signature(value) for value in values]

    def blockhash(self, position: int) -> Hash:
        """A blockhash."""
        return Hash(_base58_of(self.text(position), 32, "blockhash"))

    def transaction(self, position: int, encoding: str) -> VersionedTransaction:
        """A transaction, legacy or v0, sanitised. ``encoding`` is base58 or base64."""
        data = packet(self.text(position), encoding)
        try:
            transaction = VersionedTransaction.from_bytes(data)
            transaction.sanitize()
        except (ValueError, SanitizeError) as error:
            raise RpcFault(INVALID_PARAMS, f"failed to deserialize transaction: {error}") from None
        if bytes(transaction) != data or not isinstance(transaction.message, Message | MessageV0):
            raise RpcFault(INVALID_PARAMS, "failed to deserialize transaction: trailing bytes or unsupported version")
        return transaction

    def message(self, position: int) -> Message | MessageV0:
        """A message in base64."""
        try:
            message = from_bytes_versioned(packet(self.text(position), "base64"))
        except ValueError as error:
            raise invalid_params(f"failed to deserialize message: {error}") from None
        if not isinstance(message, Message | MessageV0):
            raise invalid_params("unsupported message version")
        return message

    def _at(self, position: int) -> Any:
        if position >= len(self._values):
            raise invalid_params(f"`params` should have at least {position + 1} argument(s)")
        return self._values[position]


class Config:
    """A configuration object. Members that are not asked for are ignored, as the validator does."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def commitment(self, name: str = "commitment", default: Commitment = Commitment.FINALIZED) -> Commitment:
        """A commitment level."""
        value = self._members.get(name)
        if value is None:
            return default
        if value not in set(Commitment):
            raise invalid_params(f"unknown {name}")
        return Commitment(value)

    def flag(self, name: str) -> bool:
        """A boolean, false where absent."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid_params(f"{name} is not a boolean")
        return bool(value)

    def data_slice(self) -> slice:
        """The part of the account data that is wanted; all of it where ``dataSlice`` is absent."""
        value = self._members.get("dataSlice")
        if value is None:
            return slice(None)
        if not isinstance(value, dict):
            raise invalid_params("dataSlice is not an object")
        part = Config(value)
        offset, length = part.integer("offset"), part.integer("length")
        if offset is None or length is None:
            raise invalid_params("dataSlice has an offset and a length")
        return slice(offset, offset + length)

    def choice(self, name: str, default: str, *known: str) -> str:
        """One of ``known``."""
        value = self._members.get(name)
        if value is None:
            return default
        if value not in known:
            raise invalid_params(f"{name} {value!r} is not supported")
        return str(value)

    def integer(self, name: str) -> int | None:
        """An unsigned integer, None where absent."""
        value = self._members.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise invalid_params(f"{name} is not an unsigned integer")
        return value

    def pubkey(self, name: str) -> Pubkey | None:
        """An address, None where absent."""
        value = self._members.get(name)
        return None if value is None else pubkey(value)

    def signature(self, name: str) -> Signature | None:
        """A transaction's id, None where absent."""
        value = self._members.get(name)
        return None if value is None else signature(value)


def pubkey(text: Any) -> Pubkey:
    """An address from its base58 text."""
    return Pubkey.from_bytes(_base58_of(text, 32, "pubkey"))


def signature(text: Any) -> Signature:
    """A signature from its base58 text."""
    return Signature.from_bytes(_base58_of(text, 64, "signature"))


def packet(text: str, encoding: str) -> bytes:
    """A transaction's or message's bytes, which must fit in a packet."""
    if len(text) > _TEXT_MAX[encoding]:
        raise RpcFault(INVALID_PARAMS, f"{encoding} encoded transaction too large: {len(text)} bytes")
    try:
        data = base58.decode(text) if encoding == "base58" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise RpcFault(INVALID_PARAMS, f"invalid {encoding} encoding") from None
    if len(data) > PACKET_BYTES:
        raise RpcFault(INVALID_PARAMS, f"decoded transaction too large: {len(data)} bytes (max: {PACKET_BYTES} bytes)")
    return data


def _base58_of(text: Any, length: int, what: str) -> bytes:
    if not isinstance(text, str) or len(text) > 2 * length:
        raise invalid_params(f"{what} is not base58")
    try:
        data = base58.decode(text)
    except ValueError:
        raise invalid_params(f"{what} is not base58") from None
    if len(data) != length:
        raise invalid_params(f"{what} has {len(data)} bytes instead of {length}")
    return data
