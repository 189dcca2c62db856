"""The transactions that this plugin makes, and their bytes.

A v0 message with exactly these instructions: AdvanceNonceAccount where a durable nonce is used, SetComputeUnitLimit,
SetComputeUnitPrice, and one movement of :mod:`.movements` with its memo. No lookup tables, no other account; signers are
the fee payer, who comes first, and the source. Reading is writing backwards: the fields are taken out and written again,
and only bytes that come out the same are understood; whatever else the bytes might hold would not.
"""

from dataclasses import dataclass

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, from_bytes_versioned, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidAddress, InvalidPayload
from keyquorum_sol.addresses import MEMO_PROGRAM, RESERVED, SYSTEM_PROGRAM
from keyquorum_sol.limits import (
    COMPUTE_UNITS_MAX,
    FEE_LAMPORTS_MAX,
    LAMPORTS_PER_SIGNATURE,
    MEMO_BYTES_MAX,
    MICRO_LAMPORTS,
    PACKET_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    SIGNATURE_BYTES,
    U64_MAX,
)
from keyquorum_sol.movements import Movement, Step, read_movement
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.readable import require_readable

INSTRUCTIONS_MAX = 6
_NOT_A_TRANSFER = "not a transfer in one of the forms that are signed"


def priority_fee(compute_unit_limit: int, compute_unit_price: int) -> int:
    """Lamports paid on top of the base fee, rounded up as the runtime does; the price is in micro-lamports per unit."""
    return -(-compute_unit_limit * compute_unit_price // MICRO_LAMPORTS)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transaction. Every instance is valid; the constructor raises a :class:`ChainError` otherwise."""

    source: Pubkey
    movement: Movement
    blockhash: Hash  # or the value that ``nonce_account`` stores
    compute_unit_limit: int
    compute_unit_price: int  # micro-lamports per compute unit
    memo: str = ""
    fee_payer: Pubkey | None = None  # the source where there is none
    nonce_account: Pubkey | None = None  # advanced first; the source has authority over it

    def __post_init__(self) -> None:
        """Check what no transaction may be."""
        self.movement.require_valid(self.source)
        if self.fee_payer == self.source:
            raise InvalidAddress("the fee payer is the source: it pays the fee without being named")
        if not 0 < self.compute_unit_limit <= COMPUTE_UNITS_MAX:
            raise InvalidPayload(f"a transaction may use 1 to {COMPUTE_UNITS_MAX} compute units")
        if not 0 <= self.compute_unit_price <= U64_MAX or self.fee > FEE_LAMPORTS_MAX:
            raise FeeTooHigh(f"a fee of more than {FEE_LAMPORTS_MAX} lamports is never signed")
        if self.memo and len(require_readable(self.memo)) > MEMO_BYTES_MAX:
            raise InvalidPayload(f"a memo has at most {MEMO_BYTES_MAX} bytes")
        if self.nonce_account in {self.source, self.fee_payer or self.source, self.movement.destination} | RESERVED:
            raise InvalidAddress("a nonce account takes no other part in the transaction")

    @property
    def payer(self) -> Pubkey:
        """Whose lamports pay the network, and the rent of what is made."""
        return self.fee_payer or self.source

    @property
    def signers(self) -> tuple[Pubkey, ...]:
        """Who signs, in the order of the message's accounts."""
        return (self.source,) if self.fee_payer is None else (self.fee_payer, self.source)

    @property
    def fee(self) -> int:
        """Lamports that the network takes: exactly this much, whether or not the transfer succeeds."""
        signatures = 1 if self.fee_payer is None else 2
        return signatures * LAMPORTS_PER_SIGNATURE + priority_fee(self.compute_unit_limit, self.compute_unit_price)

    def encode(self) -> bytes:
        """The message to sign; :class:`InvalidPayload` where it does not fit a packet."""
        payload = bytes(to_bytes_versioned(self.message()))
        if len(payload) > PACKET_BYTES_MAX - 1 - SIGNATURE_BYTES * len(self.signers):
            raise InvalidPayload("the transaction does not fit a packet: shorten the memo")
        return payload

    def message(self) -> MessageV0:
        """The message as solders has it."""
        memo = [Instruction(MEMO_PROGRAM, self.memo.encode("utf-8"), [])] if self.memo else []
        instructions = [
            set_compute_unit_limit(self.compute_unit_limit),
            set_compute_unit_price(self.compute_unit_price),
            *self.movement.instructions(self.source, self.payer, memo),
        ]
        if self.nonce_account is not None:
            params = AdvanceNonceAccountParams(nonce_pubkey=self.nonce_account, authorized_pubkey=self.source)
            instructions.insert(0, advance_nonce_account(params))
        return MessageV0.try_compile(self.payer, instructions, [], self.blockhash)

    @classmethod
    def decode(cls, payload: bytes) -> "Transfer":
        """The transfer that a message is; :class:`InvalidPayload` for any other bytes."""
        if not 0 < len(payload) <= PAYLOAD_BYTES_MAX:
            raise InvalidPayload(_NOT_A_TRANSFER)
        with containing_panics(InvalidPayload(_NOT_A_TRANSFER)):
            try:
                found = cls._read(payload)
                same = found.encode() == payload
            except ChainError as error:
                raise InvalidPayload(error.detail) from None
        if not same:
            raise InvalidPayload(_NOT_A_TRANSFER)
        return found

    @classmethod
    def _read(cls, payload: bytes) -> "Transfer":
        message = from_bytes_versioned(payload)
        if not isinstance(message, MessageV0) or not 3 <= len(message.instructions) <= INSTRUCTIONS_MAX:
            raise InvalidPayload(_NOT_A_TRANSFER)
        keys = message.account_keys
        steps = [
            Step(keys[found.program_id_index], [keys[index] for index in bytes(found.accounts)], bytes(found.data))
            for found in message.instructions
        ]
        nonce_account = steps.pop(0).accounts[0] if steps[0].program == SYSTEM_PROGRAM else None
        limit, price, *moves = steps
        movement, source, memos = read_movement(moves)
        return cls(
            source=source,
            movement=movement,
            blockhash=message.recent_blockhash,
            compute_unit_limit=int.from_bytes(limit.data[1:], "little"),
            compute_unit_price=int.from_bytes(price.data[1:], "little"),
            memo=memos[0].data.decode("utf-8") if memos else "",
            fee_payer=None if keys[0] == source else keys[0],
            nonce_account=nonce_account,
        )
