"""Token accounts: what an owner holds of a token, and whether the account takes part in transfers.

Layout of ``spl_token::state::Account`` (165 bytes): mint 32, owner 32, amount 8, delegate 36, state 1, … ; Token-2022 puts
extensions behind it, after the account type 2.
"""

from dataclasses import dataclass

from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_sol.extensions import ACCOUNT_BYTES, ACCOUNT_TYPE, read_extensions

_STATE_AT = 108
_FROZEN = 2
_MEMO_TRANSFER = 8


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """Tokens of one mint."""

    owner: Pubkey
    amount: int  # minor units
    frozen: bool
    demands_memo: bool = False


def read_token_account(mint: Pubkey, data: bytes) -> TokenAccount:
    """The token account that lies at the associated address of ``mint``; :class:`ChainUnavailable` for data that the token
    programs would not have put there."""
    extended = len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == ACCOUNT_TYPE
    extensions = read_extensions(data)
    if (len(data) != ACCOUNT_BYTES and not extended) or extensions is None:
        raise ChainUnavailable("what the node gives for a token account is none")
    if Pubkey.from_bytes(data[:32]) != mint or data[_STATE_AT] not in (1, _FROZEN):
        raise ChainUnavailable("what the node gives for a token account is another one")
    return TokenAccount(
        owner=Pubkey.from_bytes(data[32:64]),
        amount=int.from_bytes(data[64:72], "little"),
        frozen=data[_STATE_AT] == _FROZEN,
        demands_memo=any(kind == _MEMO_TRANSFER and value[:1] == b"\x01" for kind, value in extensions),
    )
