"""The JSON in which the validator answers."""

import base64
from typing import Any

from solders.account import Account
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana import base58
from keyquorum_devnet.solana.blocks import Block, Commitment
from keyquorum_devnet.solana.faults import UNSUPPORTED_TRANSACTION_VERSION, RpcFault, error_json, invalid_params
from keyquorum_devnet.solana.ledger import Outcome, Record
from keyquorum_devnet.solana.tokens import TokenBalance

API_VERSION = "2.3.0"
ALL = slice(None)
BASE58_DATA_MAX = 128  # account data that the validator will still write in base58


def in_context(block: Block, value: Any) -> dict[str, Any]:
    """An answer together with the slot it was true at."""
    return {"context": {"apiVersion": API_VERSION, "slot": block.slot}, "value": value}


def account_json(account: Account | None, encoding: str, part: slice = ALL) -> dict[str, Any] | None:
    """An account with all or a part of its data; ``encoding`` is base58 or base64 (jsonParsed falls back to base64, as
    for unknown programs)."""
    if account is None or (account.lamports == 0 and not account.data):
        return None
    space = len(account.data)
    data = bytes(account.data)[part]
    if encoding == "base58":
        if len(data) > BASE58_DATA_MAX:
            raise invalid_params("Encoded binary (base 58) data should be less than 128 bytes, please use Base64")
        encoded = [base58.encode(data), "base58"]
    else:
        encoded = [base64.b64encode(data).decode(), "base64"]
    return {
        "data": encoded,
        "executable": account.executable,
        "lamports": account.lamports,
        "owner": str(account.owner),
        "rentEpoch": account.rent_epoch,
        "space": space,
    }


def simulation_json(outcome: Outcome, replacement: Block | None = None) -> dict[str, Any]:
    """The value of simulateTransaction, and the data of a preflight failure."""
    return {
        "accounts": None,
        "err": error_json(outcome.error),
        "fee": outcome.fee,
        "innerInstructions": None,
        "loadedAccountsDataSize": 0,
        "logs": list(outcome.logs),
        "replacementBlockhash": None
        if replacement is None
        else {
            "blockhash": str(replacement.blockhash),
            "lastValidBlockHeight": replacement.last_valid_block_height,
        },
        "returnData": None,
        "unitsConsumed": outcome.units,
    }


def status_json(record: Record, tip: Block, commitment: Commitment) -> dict[str, Any]:
    """An entry of getSignatureStatuses."""
    error = error_json(record.outcome.error)
    return {
        "confirmationStatus": commitment.value,
        "confirmations": None if commitment is Commitment.FINALIZED else tip.slot - record.slot,
        "err": error,
        "slot": record.slot,
        "status": _result(error),
    }


def transaction_json(record: Record, encoding: str, version_max: int | None) -> dict[str, Any]:
    """The answer of getTransaction; ``encoding`` is json, base58 or base64."""
    transaction, outcome = record.transaction, record.outcome
    version = 0 if isinstance(transaction.message, MessageV0) else None
    if version is not None and version_max is None:
        raise RpcFault(
            UNSUPPORTED_TRANSACTION_VERSION,
            f"Transaction version ({version}) is not supported by the requesting client. Please try the request again "
            'with the following configuration parameter: "maxSupportedTransactionVersion": 0',
        )
    error = error_json(outcome.error)
    raw = bytes(transaction)
    encoded: Any
    if encoding == "json":
        encoded = _message_json(transaction)
    else:
        encoded = [base58.encode(raw) if encoding == "base58" else base64.b64encode(raw).decode(), encoding]
    return {
        "blockTime": record.block_time,
        "meta": {
            "computeUnitsConsumed": outcome.units,
            "err": error,
            "fee": outcome.fee,
            "innerInstructions": [],
            "loadedAddresses": {"readonly": [], "writable": []},
            "logMessages": list(outcome.logs),
            "postBalances": list(record.post_balances),
            "postTokenBalances": [_token_json(balance) for balance in record.post_tokens],
            "preBalances": list(record.pre_balances),
            "preTokenBalances": [_token_json(balance) for balance in record.pre_tokens],
            "rewards": [],
            "status": _result(error),
        },
        "slot": record.slot,
        "transaction": encoded,
        **({} if version_max is None else {"version": "legacy" if version is None else version}),
    }


def token_amount_json(amount: int, decimals: int) -> dict[str, Any]:
    """An amount of a token; the text for people has no superfluous zeros."""
    text = f"{amount:0{decimals + 1}d}"
    shown = f"{text[:-decimals]}.{text[-decimals:]}".rstrip("0").rstrip(".") if decimals else text
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": amount / 10**decimals,
        "uiAmountString": shown,
    }


def signature_json(record: Record, commitment: Commitment) -> dict[str, Any]:
    """An entry of getSignaturesForAddress."""
    return {
        "blockTime": record.block_time,
        "confirmationStatus": commitment.value,
        "err": error_json(record.outcome.error),
        "memo": None,
        "signature": str(record.signature),
        "slot": record.slot,
    }


def _token_json(balance: TokenBalance) -> dict[str, Any]:
    return {
        "accountIndex": balance.index,
        "mint": str(balance.mint),
        "owner": str(balance.owner),
        "programId": str(balance.program),
        "uiTokenAmount": token_amount_json(balance.amount, balance.decimals),
    }


def _result(error: Any) -> dict[str, Any]:
    return {"Ok": None} if error is None else {"Err": error}


def _message_json(transaction: VersionedTransaction) -> dict[str, Any]:
    message = transaction.message
    header = message.header
    lookups = getattr(message, "address_table_lookups", None)
    return {
        "message": {
            "accountKeys": [str(key) for key in message.account_keys],
            "header": {
                "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
                "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
                "numRequiredSignatures": header.num_required_signatures,
            },
            "instructions": [
                {
                    "accounts": list(instruction.accounts),
                    "data": base58.encode(bytes(instruction.data)),
                    "programIdIndex": instruction.program_id_index,
                    "stackHeight": None,
                }
                for instruction in message.instructions
            ],
            "recentBlockhash": str(message.recent_blockhash),
            **(
                {}
                if lookups is None
                else {
                    "addressTableLookups": [
                        {
                            "accountKey": str(lookup.account_key),
                            "readonlyIndexes": list(lookup.readonly_indexes),
                            "writableIndexes": list(lookup.writable_indexes),
                        }
                        for lookup in lookups
                    ]
                }
            ),
        },
        "signatures": [str(signature) for signature in transaction.signatures],
    }
