"""Instructions of the token programs, and where an owner's tokens lie.

Both programs (SPL Token and Token-2022) share the instructions used here. An owner's tokens of one mint lie in the
associated token account, whose address follows from (owner, token program, mint).
"""

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from keyquorum_sol.addresses import ASSOCIATED_TOKEN_PROGRAM, SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from keyquorum_sol.limits import TOKEN_2022_ACCOUNT_BYTES_MAX, TOKEN_ACCOUNT_BYTES, rent_exemption

TOKEN_PROGRAMS = (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)
_TRANSFER_CHECKED = 12
_CREATE_IDEMPOTENT = b"\x01"

_RENT_MAX = {
    TOKEN_PROGRAM: rent_exemption(TOKEN_ACCOUNT_BYTES),
    TOKEN_2022_PROGRAM: rent_exemption(TOKEN_2022_ACCOUNT_BYTES_MAX),
}


def associated_account(owner: Pubkey, program: Pubkey, mint: Pubkey) -> Pubkey:
    """Where ``owner`` keeps tokens of ``mint``."""
    return get_associated_token_address(owner, mint, program)


def account_rent_max(program: Pubkey) -> int:
    """The most lamports that making a token account can take."""
    return _RENT_MAX[program]


def create_associated_account(payer: Pubkey, owner: Pubkey, program: Pubkey, mint: Pubkey) -> Instruction:
    """Make the owner's account, at the cost of ``payer``. Where it exists, check instead that it still is the owner's:
    the instruction fails for an account that was given to somebody else."""
    return Instruction(
        ASSOCIATED_TOKEN_PROGRAM,
        _CREATE_IDEMPOTENT,
        [
            AccountMeta(payer, is_signer=True, is_writable=True),
            AccountMeta(associated_account(owner, program, mint), is_signer=False, is_writable=True),
            AccountMeta(owner, is_signer=False, is_writable=False),
            AccountMeta(mint, is_signer=False, is_writable=False),
            AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
            AccountMeta(program, is_signer=False, is_writable=False),
        ],
    )


def transfer_checked(
    source: Pubkey, destination: Pubkey, program: Pubkey, mint: Pubkey, *, amount: int, decimals: int
) -> Instruction:
    """Move tokens between the associated accounts of two owners; fails unless the mint has that many decimals."""
    return Instruction(
        program,
        bytes([_TRANSFER_CHECKED]) + amount.to_bytes(8, "little") + bytes([decimals]),
        [
            AccountMeta(associated_account(source, program, mint), is_signer=False, is_writable=True),
            AccountMeta(mint, is_signer=False, is_writable=False),
            AccountMeta(associated_account(destination, program, mint), is_signer=False, is_writable=True),
            AccountMeta(source, is_signer=True, is_writable=False),
        ],
    )
