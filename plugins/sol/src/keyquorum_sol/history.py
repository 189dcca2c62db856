"""What an included transaction did to accounts, as the node tells it: balances before and after."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, TypeAdapter
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import ChainUnavailable, InvalidAddress
from keyquorum_sol.addresses import parse_address
from keyquorum_sol.limits import U64_MAX
from keyquorum_sol.shapes import U64, Base58, Shape
from keyquorum_sol.tokens import TOKEN_PROGRAMS, associated_account

ACCOUNTS_MAX = 256  # of one transaction, those from lookup tables included


class SignatureInfo(Shape):
    """An entry of an address's history."""

    signature: Base58
    slot: U64


class _Amount(Shape):
    amount: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,19})$")]


class _TokenBalance(Shape):
    account: Annotated[int, Field(ge=0, lt=ACCOUNTS_MAX)] = Field(alias="accountIndex")
    mint: Base58
    owner: Base58 | None = None
    held: _Amount = Field(alias="uiTokenAmount")


class _Loaded(Shape):
    writable: list[Base58] = Field(default_factory=list, max_length=ACCOUNTS_MAX)
    readonly: list[Base58] = Field(default_factory=list, max_length=ACCOUNTS_MAX)


class _Meta(Shape):
    before: list[U64] = Field(alias="preBalances", max_length=ACCOUNTS_MAX)
    after: list[U64] = Field(alias="postBalances", max_length=ACCOUNTS_MAX)
    tokens_before: list[_TokenBalance] | None = Field(default=None, alias="preTokenBalances", max_length=ACCOUNTS_MAX)
    tokens_after: list[_TokenBalance] | None = Field(default=None, alias="postTokenBalances", max_length=ACCOUNTS_MAX)
    loaded: _Loaded | None = Field(default=None, alias="loadedAddresses")


class _Message(Shape):
    keys: list[Base58] = Field(alias="accountKeys", min_length=1, max_length=ACCOUNTS_MAX)


class _Transaction(Shape):
    signatures: list[Base58] = Field(min_length=1, max_length=ACCOUNTS_MAX)
    message: _Message


class Included(Shape):
    """A transaction of a block."""

    slot: U64
    meta: _Meta
    transaction: _Transaction

    @property
    def txid(self) -> str:
        """Its id."""
        return self.transaction.signatures[0]

    def moved(self, owner: Pubkey) -> Mapping[Pubkey | None, int]:
        """Mint (None for lamports) to what ``owner`` gained or lost, fees included. Tokens count where the
        owner's associated account holds them, which is what balances show, too."""
        keys = self._keys()
        moved: dict[Pubkey | None, int] = {}
        address = str(owner)
        if address in keys:
            at = keys.index(address)
            moved[None] = self.meta.after[at] - self.meta.before[at]
        for sign, balances in ((-1, self.meta.tokens_before), (1, self.meta.tokens_after)):
            for balance in balances or ():
                mint = _mint_of(balance, owner, keys)
                if mint is not None:
                    moved[mint] = moved.get(mint, 0) + sign * int(balance.held.amount)
        return {asset: amount for asset, amount in moved.items() if amount and abs(amount) <= U64_MAX}

    def _keys(self) -> list[str]:
        loaded = self.meta.loaded
        keys = [
            *self.transaction.message.keys,
            *(loaded.writable if loaded else ()),
            *(loaded.readonly if loaded else ()),
        ]
        if not len(keys) == len(self.meta.before) == len(self.meta.after):
            raise ChainUnavailable("the node tells balances of other accounts than the transaction's")
        return keys


def _mint_of(balance: _TokenBalance, owner: Pubkey, keys: list[str]) -> Pubkey | None:
    if balance.account >= len(keys) or (balance.owner is not None and balance.owner != str(owner)):
        return None
    try:
        mint = parse_address(balance.mint)
    except InvalidAddress:
        raise ChainUnavailable("the node tells balances of what is no token") from None
    places = (str(associated_account(owner, program, mint)) for program in TOKEN_PROGRAMS)
    return mint if keys[balance.account] in places else None


SIGNATURES: TypeAdapter[list[SignatureInfo]] = TypeAdapter(Annotated[list[SignatureInfo], Field(max_length=1_000)])
INCLUDED: TypeAdapter[Included | None] = TypeAdapter(Included | None)
