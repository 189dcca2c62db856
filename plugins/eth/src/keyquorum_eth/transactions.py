"""Dynamic-fee transactions (EIP-1559, type 2), and their one encoding.

    0x02 ‖ rlp([chain id, nonce, priority fee, max fee, gas limit, to, value, data, access list])

and signed, the same list with y parity, r and s behind. No other type is read or written: they pay more for the same, or
do more than a transfer. Access lists are empty, ``to`` is there: nothing creates a contract. Reading is writing backwards:
the fields are taken out and written again, and only bytes that come out the same are understood.
"""

from dataclasses import dataclass
from typing import Any

import rlp  # type: ignore[import-untyped]
from coincurve import PublicKey
from eth_utils.crypto import keccak
from rlp.codec import encode_raw  # type: ignore[import-untyped]

from keyquorum_eth.addresses import ADDRESS_BYTES
from keyquorum_eth.limits import (
    CHAIN_ID_MAX,
    FEE_WEI_MAX,
    GAS_LIMIT_MAX,
    GAS_LIMIT_MIN,
    NONCE_MAX,
    SIGNATURE_BYTES,
    TRANSACTION_BYTES_MAX,
    U256_MAX,
)
from keyquorum_plugin_api.errors import FeeTooHigh, InvalidAmount, InvalidPayload, SignatureInvalid

TYPE = b"\x02"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1's group (SEC 2)
_NOT_A_TRANSACTION = "not a dynamic-fee transaction in its one encoding"


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction does: move ``value`` wei to an account, or have a contract take ``data``."""

    to: bytes
    value: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class DynamicFeeTransaction:
    """An unsigned transaction. Every instance is valid; the constructor raises a ``ChainError`` otherwise."""

    chain_id: int
    nonce: int
    max_priority_fee_per_gas: int  # wei
    max_fee_per_gas: int  # wei
    gas_limit: int
    to: bytes
    value: int  # wei
    data: bytes = b""

    def __post_init__(self) -> None:
        """Check what no transaction may be."""
        if not 0 < self.chain_id <= CHAIN_ID_MAX or not 0 <= self.nonce <= NONCE_MAX:
            raise InvalidPayload("chain id or nonce is out of range")
        if len(self.to) != ADDRESS_BYTES:
            raise InvalidPayload("contracts are not created")
        if not 0 <= self.value <= U256_MAX:
            raise InvalidAmount("an amount has at most 256 bits")
        if not GAS_LIMIT_MIN <= self.gas_limit <= GAS_LIMIT_MAX:
            raise InvalidPayload(f"a transaction may use {GAS_LIMIT_MIN} to {GAS_LIMIT_MAX} gas")
        if not 0 <= self.max_priority_fee_per_gas <= self.max_fee_per_gas:
            raise InvalidPayload("the priority fee is part of the fee and cannot be above it")
        if self.fee > FEE_WEI_MAX:
            raise FeeTooHigh(f"a fee of more than {FEE_WEI_MAX} wei is never signed")

    @property
    def fee(self) -> int:
        """The most that the network takes, in wei."""
        return self.gas_limit * self.max_fee_per_gas

    def encode(self) -> bytes:
        """The unsigned serialization."""
        return _serialized(self._fields())

    def digest(self) -> bytes:
        """What is signed."""
        return keccak(self.encode())

    def signed(self, signature: bytes) -> bytes:
        """The signed serialization, from r ‖ s ‖ recovery id; nothing is verified."""
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        return _serialized([*self._fields(), _integer(signature[64]), _integer(r), _integer(s)])

    def _fields(self) -> list[Any]:
        numbers = (self.chain_id, self.nonce, self.max_priority_fee_per_gas, self.max_fee_per_gas, self.gas_limit)
        return [*map(_integer, numbers), self.to, _integer(self.value), self.data, []]

    @classmethod
    def decode(cls, encoded: bytes) -> "DynamicFeeTransaction":
        """The transaction that an unsigned serialization is; :class:`InvalidPayload` for any other bytes."""
        found = cls._of(_items(encoded, 9))
        if found.encode() != encoded:
            raise InvalidPayload(_NOT_A_TRANSACTION)
        return found

    @classmethod
    def decode_signed(cls, raw: bytes) -> "tuple[DynamicFeeTransaction, bytes]":
        """Transaction and sender of a signed serialization; :class:`InvalidPayload` or :class:`SignatureInvalid`."""
        items = _items(raw, 12)
        found = cls._of(items[:9])
        parity, r, s = (_number(item, 32) for item in items[9:])
        if parity > 1:
            raise SignatureInvalid("the parity of a signature is 0 or 1")
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
        if found.signed(signature) != raw:
            raise InvalidPayload(_NOT_A_TRANSACTION)
        return found, recover(found.digest(), signature)

    @classmethod
    def _of(cls, items: list[Any]) -> "DynamicFeeTransaction":
        to, data, access_list = items[5], items[7], items[8]
        if not isinstance(to, bytes) or not isinstance(data, bytes) or access_list != []:
            raise InvalidPayload(_NOT_A_TRANSACTION)
        chain_id, nonce, priority_fee, max_fee, gas_limit = (_number(item, 32) for item in items[:5])
        return cls(chain_id, nonce, priority_fee, max_fee, gas_limit, to, _number(items[6], 32), data)


def recover(digest: bytes, signature: bytes) -> bytes:
    """The address whose key signed a 32-byte digest; :class:`SignatureInvalid` if nobody did.

    ``signature`` is r ‖ s ‖ recovery id. A high s is refused (EIP-2) and never turned into a low one: what signs here only
    makes low ones, so something is wrong. Recovery ids 2 and 3 have no spelling on Ethereum.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] > 1:
        raise SignatureInvalid("a signature has 65 bytes, the last of them 0 or 1")
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    if not 0 < r < _ORDER or not 0 < s <= _ORDER // 2:
        raise SignatureInvalid("the signature is out of range, or its s is not the low one")
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # noqa: BLE001 the library raises whatever its binding does
        raise SignatureInvalid("the signature is nobody's") from None
    return keccak(key.format(compressed=False)[1:])[-ADDRESS_BYTES:]


def _serialized(items: list[Any]) -> bytes:
    return TYPE + bytes(encode_raw(items))


def _items(encoded: bytes, count: int) -> list[Any]:
    if not 1 < len(encoded) <= TRANSACTION_BYTES_MAX or encoded[:1] != TYPE:
        raise InvalidPayload(_NOT_A_TRANSACTION)
    try:
        items = rlp.decode(encoded[1:])
    except (rlp.DecodingError, RecursionError):
        raise InvalidPayload(_NOT_A_TRANSACTION) from None
    if not isinstance(items, list) or len(items) != count:
        raise InvalidPayload(_NOT_A_TRANSACTION)
    return items


def _integer(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _number(item: Any, bytes_max: int) -> int:
    if not isinstance(item, bytes) or len(item) > bytes_max:
        raise InvalidPayload(_NOT_A_TRANSACTION)
    return int.from_bytes(item, "big")
