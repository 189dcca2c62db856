"""Calls of ERC-20 contracts that have a name: transfer, approve, increaseAllowance. Each takes an address and a number.

ABI: 4 bytes of Keccak-256 of the function's signature, then two words of 32 bytes, the address in the last 20 of the first.
A contract reads no further and ignores nothing: every byte of the words counts.
"""

from dataclasses import dataclass
from enum import Enum

from keyquorum_eth.addresses import ADDRESS_BYTES
from keyquorum_eth.limits import U256_MAX
from keyquorum_plugin_api.errors import InvalidAmount, InvalidPayload

_PADDING = bytes(32 - ADDRESS_BYTES)
_LENGTH = 4 + 32 + 32


class Function(Enum):
    """What a call does, by its selector."""

    TRANSFER = bytes.fromhex("a9059cbb")  # transfer(address,uint256)
    APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)
    INCREASE_ALLOWANCE = bytes.fromhex("39509351")  # increaseAllowance(address,uint256), OpenZeppelin's


@dataclass(frozen=True, slots=True)
class TokenCall:
    """A call with its two arguments: ``amount`` minor units to, or for, ``counterparty``."""

    function: Function
    counterparty: bytes
    amount: int

    def __post_init__(self) -> None:
        """Check the ranges of the ABI."""
        if len(self.counterparty) != ADDRESS_BYTES:
            raise InvalidPayload("an address has 20 bytes")
        if not 0 <= self.amount <= U256_MAX:
            raise InvalidAmount("an amount has at most 256 bits")

    def encode(self) -> bytes:
        """The call's data."""
        return self.function.value + _PADDING + self.counterparty + self.amount.to_bytes(32, "big")

    @classmethod
    def decode(cls, data: bytes) -> "TokenCall":
        """The call that the data is; :class:`InvalidPayload` for any other bytes."""
        try:
            function = Function(data[:4])
        except ValueError:
            raise InvalidPayload("the call has no name here") from None
        call = cls(function, data[4 + len(_PADDING) : 4 + 32], int.from_bytes(data[4 + 32 : _LENGTH], "big"))
        if call.encode() != data:
            raise InvalidPayload("not the one encoding of a token call")
        return call
