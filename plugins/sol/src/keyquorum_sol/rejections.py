"""What a TransactionError of the runtime means to a client.

JSON forms: a name; ``{"InstructionError": [index, name or {"Custom": code}]}``; ``{"InsufficientFundsForRent":
{"account_index": n}}``; and others that only have a name here.
"""

import json
from typing import Any

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    InsufficientFunds,
    InvalidAmount,
    TransactionRejected,
)
from keyquorum_sol.addresses import ASSOCIATED_TOKEN_PROGRAM, SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM

ALREADY_PROCESSED = "AlreadyProcessed"
BLOCKHASH_NOT_FOUND = "BlockhashNotFound"
_TEXT_CHARS_MAX = 200
_LATER = frozenset(
    {"AccountInUse", "ClusterMaintenance", "WouldExceedMaxBlockCostLimit", "WouldExceedMaxAccountCostLimit"}
)
_UNFUNDED = frozenset({"AccountNotFound", "InsufficientFundsForFee"})
_SHORT = 1  # the system program's ResultWithNegativeLamports, and the token programs' InsufficientFunds
_FROZEN = 17  # the token programs' AccountFrozen
_SHORT_OF = {
    SYSTEM_PROGRAM: "the account holds less than the amount and the fee",
    ASSOCIATED_TOKEN_PROGRAM: "the payer of the fee holds less than the rent of the destination's token account",
    TOKEN_PROGRAM: "the account holds less of the token than the amount",
    TOKEN_2022_PROGRAM: "the account holds less of the token than the amount",
}


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
            program, code = _program(transaction, index), cause.get("Custom") if isinstance(cause, dict) else None
            if code == _SHORT and program in _SHORT_OF:
                return InsufficientFunds(_SHORT_OF[program])
            if code == _FROZEN and program in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM):
                return TransactionRejected("a token account of the transfer is frozen")
    return TransactionRejected(f"the runtime refuses the transaction: {describe(error)}")


def describe(error: Any) -> str:
    """A TransactionError as text, cut: it came from a node."""
    text = error if isinstance(error, str) else json.dumps(error, sort_keys=True, default=str)
    return "".join(c for c in text[:_TEXT_CHARS_MAX] if c.isprintable())


def _rent(index: Any) -> ChainError:
    if index == 0:
        return InvalidAmount("what remains of the account would be below the rent exemption: leave more, or nothing")
    return InvalidAmount("an account of the transfer would hold less than the rent exemption")


def _program(transaction: VersionedTransaction, index: Any) -> Pubkey | None:
    instructions = transaction.message.instructions
    if type(index) is not int or not 0 <= index < len(instructions):
        return None
    program = instructions[index].program_id_index
    keys = transaction.message.account_keys
    return keys[program] if program < len(keys) else None
