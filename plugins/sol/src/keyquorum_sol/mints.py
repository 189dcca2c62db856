"""Mints: how many decimals a token has, and whether a transfer of it is what it seems to be.

Layouts: ``spl_token::state::Mint`` (82 bytes: authority 36, supply 8, decimals 1, initialised 1, freeze authority 36) and
Token-2022's extensions behind it (padding to 165, account type 1, then type u16, length u16 and value of each).

Some extensions give others a hand in a transfer: a fee that shortens it, a program that is called, an authority that may
take tokens back or stop them, amounts that nobody sees. The list of what is moved is closed: extensions that it does not
name, those of the future among them, are refused.
"""

from dataclasses import dataclass

from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import UnsupportedAsset
from keyquorum_sol.addresses import TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from keyquorum_sol.extensions import ACCOUNT_BYTES, MINT_TYPE, read_extensions
from keyquorum_sol.limits import MINT_BYTES_MAX

_BASE_BYTES = 82
_MULTISIG_BYTES = 355
_DECIMALS_AT, _INITIALISED_AT = 44, 45
_DEFAULT_ACCOUNT_STATE = 6
_FROZEN = 2

_HARMLESS = frozenset(
    {
        3,  # close authority: only of a mint without supply
        10,  # interest: how an amount is shown, not what it is
        18,  # metadata, here or elsewhere
        19,
        20,  # groups of mints
        21,
        22,
        23,
        25,  # scaled amounts: how an amount is shown, not what it is
    }
)
_REFUSED = {
    1: "takes a fee out of every transfer",
    4: "can hide amounts",
    9: "cannot be transferred",
    12: "lets somebody else move everybody's tokens",
    14: "has a program called on every transfer",
    16: "can hide fees",
    24: "can hide amounts",
    26: "can be paused by somebody",
}


@dataclass(frozen=True, slots=True)
class Mint:
    """A token that is moved."""

    address: Pubkey
    program: Pubkey
    decimals: int
    new_accounts_frozen: bool = False


def read_mint(address: Pubkey, program: Pubkey, data: bytes, size: int) -> Mint:
    """The mint that an account is; :class:`UnsupportedAsset`, with the reason, where it is none or is not moved.

    ``data`` is at most the first :data:`MINT_BYTES_MAX` of the account's ``size`` bytes.
    """
    if program == TOKEN_PROGRAM:
        known = size == _BASE_BYTES
    elif program == TOKEN_2022_PROGRAM:
        extended = len(data) > ACCOUNT_BYTES and size != _MULTISIG_BYTES and data[ACCOUNT_BYTES] == MINT_TYPE
        known = size == _BASE_BYTES or extended
    else:
        known = False
    if not known or len(data) != min(size, MINT_BYTES_MAX) or data[_INITIALISED_AT] != 1:
        raise UnsupportedAsset(f"{address} is no mint of a token")
    if size > MINT_BYTES_MAX:
        raise UnsupportedAsset("the token's mint is too long to be looked through")
    extensions = read_extensions(data)
    if extensions is None:
        raise UnsupportedAsset("the token's mint has extensions that cannot be read")
    frozen = False
    for kind, value in extensions:
        if kind == _DEFAULT_ACCOUNT_STATE and len(value) == 1:
            frozen = value[0] == _FROZEN
        elif kind not in _HARMLESS:
            raise UnsupportedAsset(f"the token {_REFUSED.get(kind, f'has the unknown extension {kind}')}")
    return Mint(address, program, data[_DECIMALS_AT], frozen)
