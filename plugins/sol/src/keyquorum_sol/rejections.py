"""What a TransactionError of the runtime means to a client.

JSON forms: a name; ``{"InstructionError": [index, name or {"Custom": code}]}``; ``{"InsufficientFundsForRent":
{"account_index": n}}``; and others that only have a name here.
"""

import json
from typing import Any

from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    InsufficientFunds,
    InvalidAmount,
    TransactionRejected,
)
from keyquorum_sol.addresses import SYSTEM_PROGRAM

ALREADY_PROCESSED = "AlreadyProcessed"
BLOCKHASH_NOT_FOUND = "BlockhashNotFound"
_TEXT_CHARS_MAX = 200
_LATER = frozenset(
    {"AccountInUse", "ClusterMaintenance", "WouldExceedMaxBlockCostLimit", "WouldExceedMaxAccountCostLimit"}
)
_UNFUNDED = frozenset({"AccountNotFound", "InsufficientFundsForFee"})
_LAMPORTS_SHORT = {"Custom": 1}  # the system program's ResultWithNegativeLamports


def rejection(error: Any, transaction: VersionedTransaction) -> ChainError:
    """The error for a transaction that the runtime refuses, or refused, for ``error``."""
    if isinstance(error, str):
        if error in _UNFUNDED:
            return InsufficientFunds("the account cannot pay the fee")
        if error in _LATER:
            return ChainUnavailable(f"the cluster cannot take the transaction now: {error}")
    if isinstance(error, dict) and len(error) == 1:
        ((name, fields),) = error.items()
        if name == "InsufficientFundsForRent" and isinstance(fields, dict):
            return _rent(fields.get("account_index"))
        if name == "InstructionError" and isinstance(fields, list) and len(fields) == 2:
            index, cause = fields
            if cause == _LAMPORTS_SHORT and _is_system_instruction(transaction, index):
                return InsufficientFunds("the account holds less than the amount and the fee")
    return TransactionRejected(f"the runtime refuses the transaction: {describe(error)}")


def describe(error: Any) -> str:
    """A TransactionError as text, cut: it came from a node."""
    text = error if isinstance(error, str) else json.dumps(error, sort_keys=True, default=str)
    return "".join(c for c in text[:_TEXT_CHARS_MAX] if c.isprintable())


def _rent(index: Any) -> ChainError:
    if index == 0:
        return InvalidAmount("what remains of the account would be below the rent exemption: leave more, or nothing")
    return InvalidAmount("the destination would hold less than the rent exemption")


def _is_system_instruction(transaction: VersionedTransaction, index: Any) -> bool:
    instructions = transaction.message.instructions
    if type(index) is not int or not 0 <= index < len(instructions):
        return False
    program = instructions[index].program_id_index
    keys = transaction.message.account_keys
    return program < len(keys) and keys[program] == SYSTEM_PROGRAM
