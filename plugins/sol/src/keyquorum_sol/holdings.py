"""Tokens as the chain has them: the mint, and the associated accounts of those who hold it."""

from collections.abc import Mapping
from dataclasses import dataclass

from solders.pubkey import Pubkey

from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import InsufficientFunds, InvalidAddress, TransactionRejected, UnsupportedAsset
from keyquorum_sol.extensions import ACCOUNT_BYTES
from keyquorum_sol.limits import MINT_BYTES_MAX, TOKEN_2022_NEW_ACCOUNT_BYTES
from keyquorum_sol.metadata import TOKEN_DECIMALS, TOKEN_PROGRAM
from keyquorum_sol.mints import Mint, read_mint
from keyquorum_sol.node import Account, SolanaNode
from keyquorum_sol.token_accounts import TokenAccount, read_token_account
from keyquorum_sol.tokens import TOKEN_PROGRAMS, associated_account

_MULTISIG_BYTES = 355  # of the one kind of account of a token program that owns tokens


@dataclass(frozen=True, slots=True)
class Holdings:
    """A mint, and the accounts of the owners that were asked for; None where there is none."""

    mint: Mint
    accounts: tuple[TokenAccount | None, ...]

    def metadata(self) -> Mapping[str, str]:
        """What the codec needs to know of the token."""
        return {TOKEN_PROGRAM: str(self.mint.program), TOKEN_DECIMALS: str(self.mint.decimals)}

    @property
    def new_account_bytes(self) -> int:
        """The size of an account that is made; extensions of mints that would add to it are not moved."""
        return ACCOUNT_BYTES if self.mint.program == TOKEN_PROGRAMS[0] else TOKEN_2022_NEW_ACCOUNT_BYTES


async def read_holdings(node: SolanaNode, mint: Pubkey, *owners: Pubkey) -> Holdings:
    """What owners hold; :class:`UnsupportedAsset` where ``mint`` is no mint of a token that is moved.

    It is not known beforehand which program the mint belongs to, so the accounts of both are asked for, all in one view.
    """
    places = [associated_account(owner, program, mint) for program in TOKEN_PROGRAMS for owner in owners]
    view = await node.accounts(str(mint), *map(str, places), data_bytes=MINT_BYTES_MAX)
    found, *accounts = view.accounts
    if found is None:
        raise UnsupportedAsset(f"there is no token {mint}")
    known = read_mint(mint, found.program, found.content, found.size)
    start = TOKEN_PROGRAMS.index(known.program) * len(owners)
    return Holdings(known, tuple(_held(known, account) for account in accounts[start : start + len(owners)]))


def require_token_transfer(intent: TransferIntent, holdings: Holdings) -> None:
    """Refuse what the token programs would refuse, and what would not reach the owner that the intent names."""
    source, destination = holdings.accounts
    held = 0 if source is None or str(source.owner) != intent.source.address else source.amount
    if source is None or held < intent.amount:
        raise InsufficientFunds(f"the account holds {held} of the token, in minor units")
    if source.frozen:
        raise TransactionRejected("the source's token account is frozen")
    if destination is None:
        if holdings.mint.new_accounts_frozen:
            raise TransactionRejected("the destination has no account for the token yet, and new ones are frozen")
        return
    if str(destination.owner) != intent.destination:
        raise InvalidAddress("the destination's token account belongs to somebody else by now")
    if destination.frozen:
        raise TransactionRejected("the destination's token account is frozen")
    if destination.demands_memo and not intent.memo:
        raise TransactionRejected("the destination takes no transfer without a memo")


def require_token_owner(destination: Account | None) -> None:
    """Refuse the address of a token account or a mint as an owner of tokens: nobody could move what arrives."""
    if destination is not None and destination.program in TOKEN_PROGRAMS and destination.size != _MULTISIG_BYTES:
        raise InvalidAddress("the destination is a token account or a mint: name the owner's address instead")


def _held(mint: Mint, account: Account | None) -> TokenAccount | None:
    if account is None or account.program != mint.program:
        return None  # somebody may have sent lamports to the address before there is an account
    return read_token_account(mint.address, account.content)
