"""Token accounts as the token programs keep them, and the instructions by which the faucet makes tokens.

Layouts of SPL Token, which Token-2022 shares: a mint has its supply at 36 and its decimals at 44; an account its mint at 0,
its owner at 32 and its amount at 64, in at least 165 bytes, the 166th of which is 2 where there are extensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import CreateAccountParams, create_account
from solders.token.associated import get_associated_token_address

PROGRAMS = {
    "spl-token": Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"),
    "spl-token-2022": Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"),
}
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MINT_BYTES = 82
_ACCOUNT_BYTES = 165
_ACCOUNT_TYPE = 2
_INITIALIZE_MINT_2, _MINT_TO_CHECKED = 20, 14
_CREATE_IDEMPOTENT = b"\x01"


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """What a token account held, as meta data of transactions states it."""

    index: int  # of the account in the transaction
    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int  # minor units
    decimals: int


def is_token_account(account: Account) -> bool:
    """Whether a token program keeps somebody's tokens there."""
    data = account.data
    if account.owner not in PROGRAMS.values() or len(data) < _ACCOUNT_BYTES:
        return False
    return len(data) == _ACCOUNT_BYTES or data[_ACCOUNT_BYTES] == _ACCOUNT_TYPE


def holding(account: Account) -> tuple[Pubkey, Pubkey, int]:
    """Mint, owner and amount of a token account."""
    data = bytes(account.data[:72])
    return Pubkey.from_bytes(data[:32]), Pubkey.from_bytes(data[32:64]), int.from_bytes(data[64:72], "little")


def decimals_of(svm: LiteSVM, mint: Pubkey) -> int | None:
    """How many decimals a mint has; None where there is no mint."""
    account = svm.get_account(mint)
    if account is None or account.owner not in PROGRAMS.values() or len(account.data) < MINT_BYTES:
        return None
    return None if is_token_account(account) else int(account.data[44])


def token_balances(svm: LiteSVM, accounts: list[Pubkey]) -> Iterator[TokenBalance]:
    """The token accounts among the accounts of a transaction."""
    for index, address in enumerate(accounts):
        account = svm.get_account(address)
        if account is not None and is_token_account(account):
            mint, owner, amount = holding(account)
            yield TokenBalance(index, mint, owner, account.owner, amount, decimals_of(svm, mint) or 0)


def make_mint(payer: Pubkey, mint: Pubkey, program: Pubkey, decimals: int, rent: int) -> list[Instruction]:
    """A mint without extensions whose authority is ``payer``, and that nobody can freeze."""
    created = CreateAccountParams(from_pubkey=payer, to_pubkey=mint, lamports=rent, space=MINT_BYTES, owner=program)
    data = bytes([_INITIALIZE_MINT_2, decimals]) + bytes(payer) + b"\x00"
    return [create_account(created), Instruction(program, data, [AccountMeta(mint, False, True)])]


def make_tokens(
    authority: Pubkey, owner: Pubkey, program: Pubkey, mint: Pubkey, *, amount: int, decimals: int
) -> list[Instruction]:
    """Tokens for the associated account of ``owner``, which is made where it is missing."""
    place = get_associated_token_address(owner, mint, program)
    data = bytes([_MINT_TO_CHECKED]) + amount.to_bytes(8, "little") + bytes([decimals])
    return [
        Instruction(
            ASSOCIATED_TOKEN_PROGRAM,
            _CREATE_IDEMPOTENT,
            [
                AccountMeta(authority, True, True),
                AccountMeta(place, False, True),
                AccountMeta(owner, False, False),
                AccountMeta(mint, False, False),
                AccountMeta(SYSTEM_PROGRAM, False, False),
                AccountMeta(program, False, False),
            ],
        ),
        Instruction(
            program,
            data,
            [AccountMeta(mint, False, True), AccountMeta(place, False, True), AccountMeta(authority, True, False)],
        ),
    ]
