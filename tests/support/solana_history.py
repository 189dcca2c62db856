"""Histories as a node tells them, to be told wrong."""

from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature
from spl.token import instructions as spl
from spl.token.constants import TOKEN_PROGRAM_ID

OWNER = Pubkey(bytes([8]) * 32)
OTHER = Pubkey(bytes([5]) * 32)
MINT = Pubkey(bytes([9]) * 32)
PLACE = spl.get_associated_token_address(OWNER, MINT, TOKEN_PROGRAM_ID)


def txid(number: int) -> str:
    """Some transaction's id."""
    return str(Signature(number.to_bytes(2, "big") * 32))


def listed(*entries: tuple[int, int]) -> list[dict[str, Any]]:
    """An answer of getSignaturesForAddress: (number, slot), newest first."""
    return [
        {"signature": txid(number), "slot": slot, "err": None, "memo": None, "blockTime": 1} for number, slot in entries
    ]


def token_balance(index: int, amount: str, mint: Pubkey = MINT, owner: Pubkey | None = OWNER) -> dict[str, Any]:
    """An entry of preTokenBalances."""
    named = {} if owner is None else {"owner": str(owner)}
    return {"accountIndex": index, "mint": str(mint), "uiTokenAmount": {"amount": amount, "decimals": 6}, **named}


def included(
    number: int,
    slot: int,
    keys: list[Pubkey],
    before: list[int],
    after: list[int],
    tokens: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], []),
    loaded: tuple[list[str], list[str]] = ([], []),
) -> dict[str, Any]:
    """An answer of getTransaction."""
    return {
        "slot": slot,
        "meta": {
            "err": None,
            "fee": 5_000,
            "preBalances": before,
            "postBalances": after,
            "preTokenBalances": tokens[0],
            "postTokenBalances": tokens[1],
            "loadedAddresses": {"writable": loaded[0], "readonly": loaded[1]},
        },
        "transaction": {"signatures": [txid(number)], "message": {"accountKeys": [str(key) for key in keys]}},
    }
