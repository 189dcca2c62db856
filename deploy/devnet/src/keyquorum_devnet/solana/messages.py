"""Transaction messages, legacy and v0 seen alike."""

from typing import TypeAlias

from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

COMPUTE_BUDGET_PROGRAM = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_SET_COMPUTE_UNIT_PRICE = 3

AnyMessage: TypeAlias = Message | MessageV0


def message_of(transaction: VersionedTransaction) -> AnyMessage:
    """The message of a transaction; ValueError for a version that the ledger does not take."""
    message = transaction.message
    if not isinstance(message, Message | MessageV0):
        raise ValueError("unsupported message version")  # noqa: TRY004 a version is a value, not a type
    return message


def is_writable(message: AnyMessage, index: int) -> bool:
    """Whether the message asks to write the account at ``index`` of its own list (not of a lookup table)."""
    header, count = message.header, len(message.account_keys)
    if index < header.num_required_signatures:
        return index < header.num_required_signatures - header.num_readonly_signed_accounts
    return index < count - header.num_readonly_unsigned_accounts


def signers_of(message: AnyMessage, indexes: bytes) -> set[Pubkey]:
    """The signers among the accounts at ``indexes``; accounts from lookup tables never sign."""
    keys = message.account_keys
    return {keys[index] for index in indexes if index < message.header.num_required_signatures}


def compute_unit_price(message: AnyMessage) -> int:
    """Micro-lamports per compute unit that a message offers; 0 where it names none."""
    keys = message.account_keys
    for instruction in message.instructions:
        data = bytes(instruction.data)
        if (
            keys[instruction.program_id_index] == COMPUTE_BUDGET_PROGRAM
            and len(data) == 9
            and data[0] == _SET_COMPUTE_UNIT_PRICE
        ):
            return int.from_bytes(data[1:], "little")
    return 0
