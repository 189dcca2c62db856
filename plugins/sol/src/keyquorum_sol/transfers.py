"""The one transaction that this plugin makes, and its bytes.

A v0 message with exactly these instructions: SetComputeUnitLimit, SetComputeUnitPrice, the system program's Transfer
from the fee payer, and, with a memo, the memo program's instruction without accounts. No lookup tables, no other
account. Reading is writing backwards: the fields are taken out and written again, and only bytes that come out the same
are understood; whatever else the bytes might hold would not.
"""

from dataclasses import dataclass

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, from_bytes_versioned, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidAddress, InvalidAmount, InvalidPayload
from keyquorum_sol.addresses import MEMO_PROGRAM, parse_destination
from keyquorum_sol.limits import (
    COMPUTE_UNITS_MAX,
    FEE_LAMPORTS_MAX,
    LAMPORTS_PER_SIGNATURE,
    MEMO_BYTES_MAX,
    MICRO_LAMPORTS,
    PAYLOAD_BYTES_MAX,
    U64_MAX,
)
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.readable import require_readable

_NOT_A_TRANSFER = "not a transfer in the one form that is signed"


def priority_fee(compute_unit_limit: int, compute_unit_price: int) -> int:
    """Lamports paid on top of the base fee, rounded up as the runtime does; the price is in micro-lamports per unit."""
    return -(-compute_unit_limit * compute_unit_price // MICRO_LAMPORTS)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of lamports. Every instance is valid; the constructor raises a :class:`ChainError` otherwise."""

    source: Pubkey
    destination: Pubkey
    lamports: int
    blockhash: Hash
    compute_unit_limit: int
    compute_unit_price: int  # micro-lamports per compute unit
    memo: str = ""

    def __post_init__(self) -> None:
        """Check what no transfer may be."""
        parse_destination(str(self.destination))
        if self.destination == self.source:
            raise InvalidAddress("source and destination are the same account")
        if type(self.lamports) is not int or not 0 < self.lamports <= U64_MAX:
            raise InvalidAmount("an amount is between 1 and 2^64 - 1 lamports")
        if not 0 < self.compute_unit_limit <= COMPUTE_UNITS_MAX:
            raise InvalidPayload(f"a transaction may use 1 to {COMPUTE_UNITS_MAX} compute units")
        if not 0 <= self.compute_unit_price <= U64_MAX or self.fee > FEE_LAMPORTS_MAX:
            raise FeeTooHigh(f"a fee of more than {FEE_LAMPORTS_MAX} lamports is never signed")
        if self.memo and len(require_readable(self.memo)) > MEMO_BYTES_MAX:
            raise InvalidPayload(f"a memo has at most {MEMO_BYTES_MAX} bytes")

    @property
    def fee(self) -> int:
        """Lamports that the network takes: exactly this much, whether or not the transfer succeeds."""
        return LAMPORTS_PER_SIGNATURE + priority_fee(self.compute_unit_limit, self.compute_unit_price)

    def encode(self) -> bytes:
        """The message to sign."""
        return bytes(to_bytes_versioned(self.message()))

    def message(self) -> MessageV0:
        """The message as solders has it."""
        instructions = [
            set_compute_unit_limit(self.compute_unit_limit),
            set_compute_unit_price(self.compute_unit_price),
            transfer(TransferParams(from_pubkey=self.source, to_pubkey=self.destination, lamports=self.lamports)),
        ]
        if self.memo:
            instructions.append(Instruction(MEMO_PROGRAM, self.memo.encode("utf-8"), []))
        return MessageV0.try_compile(self.source, instructions, [], self.blockhash)

    @classmethod
    def decode(cls, payload: bytes) -> "Transfer":
        """The transfer that a message is; :class:`InvalidPayload` for any other bytes."""
        if not 0 < len(payload) <= PAYLOAD_BYTES_MAX:
            raise InvalidPayload(_NOT_A_TRANSFER)
        with containing_panics(InvalidPayload(_NOT_A_TRANSFER)):
            try:
                found = cls._read(payload)
            except ChainError as error:
                raise InvalidPayload(error.detail) from None
            same = found.encode() == payload
        if not same:
            raise InvalidPayload(_NOT_A_TRANSFER)
        return found

    @classmethod
    def _read(cls, payload: bytes) -> "Transfer":
        message = from_bytes_versioned(payload)
        if not isinstance(message, MessageV0) or not 3 <= len(message.instructions) <= 4:
            raise InvalidPayload(_NOT_A_TRANSFER)
        limit, price, move, *memos = message.instructions
        keys = message.account_keys
        return cls(
            source=keys[0],
            destination=keys[bytes(move.accounts)[1]],
            lamports=int.from_bytes(bytes(move.data)[4:], "little"),
            blockhash=message.recent_blockhash,
            compute_unit_limit=int.from_bytes(bytes(limit.data)[1:], "little"),
            compute_unit_price=int.from_bytes(bytes(price.data)[1:], "little"),
            memo=bytes(memos[0].data).decode("utf-8") if memos else "",
        )
