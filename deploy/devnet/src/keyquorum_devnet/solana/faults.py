"""JSON-RPC errors as the validator reports them, and a TransactionError in its exact JSON."""

import json
from typing import Any

from solders.rpc.responses import RpcSimulateTransactionResult
from solders.transaction_status import (
    InstructionErrorCustom,
    TransactionErrorFieldless,
    TransactionErrorInstructionError,
    TransactionErrorInsufficientFundsForRent,
    TransactionErrorType,
)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
PREFLIGHT_FAILURE = -32002
SIGNATURE_VERIFICATION_FAILURE = -32003
UNSUPPORTED_TRANSACTION_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016

_TEXTS = {
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
    "SignatureFailure": "Transaction did not pass signature verification",
    "InvalidProgramForExecution": "This program may not be used for executing instructions",
}


class RpcFault(Exception):
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        """The ``error`` member of the answer."""
        return {"code": self.code, "message": self.message, **({} if self.data is None else {"data": self.data})}


def invalid_params(detail: str) -> RpcFault:
    """The parameters of the request are not what the method takes."""
    return RpcFault(INVALID_PARAMS, f"Invalid params: {detail}")


def error_json(error: TransactionErrorType | None) -> Any:
    """A TransactionError as the validator's own serialiser writes it; None for no error."""
    return json.loads(RpcSimulateTransactionResult(err=error).to_json())["err"]


def error_text(error: TransactionErrorType) -> str:
    """The sentence that goes with a TransactionError."""
    if isinstance(error, TransactionErrorFieldless):
        name = str(error).rpartition(".")[2]
        return _TEXTS.get(name, name)
    if isinstance(error, TransactionErrorInsufficientFundsForRent):
        return f"Transaction results in an account ({error.account_index}) with insufficient funds for rent"
    if isinstance(error, TransactionErrorInstructionError):
        cause = error.err
        text = (
            f"custom program error: {cause.code:#x}"
            if isinstance(cause, InstructionErrorCustom)
            else str(cause).rpartition(".")[2]
        )
        return f"Error processing Instruction {error.index}: {text}"
    return str(error)
