"""What a transaction may move, in the three forms that are signed: lamports, tokens, and the rent of a new nonce account.

Each form writes its instructions and reads its fields back out of them. Reading trusts nothing: whoever reads writes again
and compares, see :mod:`.transfers`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountWithSeedParams,
    InitializeNonceAccountParams,
    TransferParams,
    create_account_with_seed,
    initialize_nonce_account,
    transfer,
)

from keyquorum_plugin_api.errors import InvalidAddress, InvalidAmount, InvalidPayload, UnsupportedAsset
from keyquorum_sol.addresses import (
    ASSOCIATED_TOKEN_PROGRAM,
    RESERVED,
    SYSTEM_PROGRAM,
    require_destination,
)
from keyquorum_sol.limits import NONCE_ACCOUNT_BYTES, SEED_CHARS_MAX, U64_MAX
from keyquorum_sol.network import native_asset, token_asset
from keyquorum_sol.tokens import TOKEN_PROGRAMS, account_rent_max, create_associated_account, transfer_checked

_SEED = re.compile(rf"[A-Za-z0-9_-]{{1,{SEED_CHARS_MAX}}}")
_TRANSFER, _CREATE_ACCOUNT_WITH_SEED = (number.to_bytes(4, "little") for number in (2, 3))
_SEED_AT = 4 + 32 + 8  # behind the instruction's number, the base and the seed's length


@dataclass(frozen=True, slots=True)
class MoveLamports:
    """The system program's Transfer."""

    destination: Pubkey
    amount: int  # lamports

    def require_valid(self, source: Pubkey) -> None:
        """Raise what is wrong with it, for somebody who pays from ``source``."""
        _require_movement(source, self.destination, self.amount)

    def asset(self, chain: str) -> str:
        """CAIP-19."""
        return native_asset(chain)

    @property
    def rent_max(self) -> int:
        """The most lamports that it takes beside the amount."""
        return 0

    def instructions(self, source: Pubkey, _payer: Pubkey, memo: Sequence[Instruction]) -> list[Instruction]:
        """What the runtime executes."""
        move = transfer(TransferParams(from_pubkey=source, to_pubkey=self.destination, lamports=self.amount))
        return [move, *memo]


@dataclass(frozen=True, slots=True)
class MoveTokens:
    """TransferChecked to the associated token account of the owner ``destination``, which is made where it is missing.

    The instruction that makes it is always there, for the sake of whoever signs: it names the owner, and the runtime refuses
    it where the account is not, or no longer, that owner's. The address alone would not prove this, as an account of the
    first token program can be given away. It costs some compute units where the account exists.
    """

    destination: Pubkey
    amount: int  # minor units
    mint: Pubkey
    program: Pubkey
    decimals: int  # of the mint; the runtime refuses another figure

    def require_valid(self, source: Pubkey) -> None:
        """Raise what is wrong with it, for somebody who pays from ``source``."""
        _require_movement(source, self.destination, self.amount)
        if self.program not in TOKEN_PROGRAMS or self.mint in RESERVED:
            raise UnsupportedAsset("a token has a mint and belongs to one of the two token programs")
        if type(self.decimals) is not int or not 0 <= self.decimals <= 255:
            raise InvalidPayload("a mint has 0 to 255 decimals")

    def asset(self, chain: str) -> str:
        """CAIP-19."""
        return token_asset(chain, self.mint)

    @property
    def rent_max(self) -> int:
        """The most lamports that it takes beside the amount: the rent of the account that may be missing."""
        return account_rent_max(self.program)

    def instructions(self, source: Pubkey, payer: Pubkey, memo: Sequence[Instruction]) -> list[Instruction]:
        """What the runtime executes. Accounts that demand a memo look for it just before the transfer."""
        return [
            create_associated_account(payer, self.destination, self.program, self.mint),
            *memo,
            transfer_checked(
                source, self.destination, self.program, self.mint, amount=self.amount, decimals=self.decimals
            ),
        ]


@dataclass(frozen=True, slots=True)
class CreateNonceAccount:
    """A new nonce account at an address derived from the source and a seed; the source has authority over it.

    No other key signs, and what it costs stays the source's: only the source can withdraw it.
    """

    destination: Pubkey
    amount: int  # lamports that the account starts with; at least its rent exemption
    seed: str

    def require_valid(self, source: Pubkey) -> None:
        """Raise what is wrong with it, for somebody who pays from ``source``."""
        _require_movement(source, self.destination, self.amount)
        derived = nonce_address(source, self.seed)
        if self.destination != derived:
            raise InvalidAddress(f"the nonce account of this seed is {derived}")

    def asset(self, chain: str) -> str:
        """CAIP-19."""
        return native_asset(chain)

    @property
    def rent_max(self) -> int:
        """Nothing: the rent is the amount."""
        return 0

    def instructions(self, source: Pubkey, _payer: Pubkey, memo: Sequence[Instruction]) -> list[Instruction]:
        """What the runtime executes."""
        create = create_account_with_seed(
            CreateAccountWithSeedParams(
                from_pubkey=source,
                to_pubkey=self.destination,
                base=source,
                seed=self.seed,
                lamports=self.amount,
                space=NONCE_ACCOUNT_BYTES,
                owner=SYSTEM_PROGRAM,
            )
        )
        initialize = initialize_nonce_account(
            InitializeNonceAccountParams(nonce_pubkey=self.destination, authority=source)
        )
        return [create, initialize, *memo]


Movement: TypeAlias = MoveLamports | MoveTokens | CreateNonceAccount


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction with the accounts that it names."""

    program: Pubkey
    accounts: Sequence[Pubkey]
    data: bytes


def nonce_address(source: Pubkey, seed: str) -> Pubkey:
    """Where the nonce account of a source and a seed is; :class:`InvalidPayload` for text that is no seed."""
    if not _SEED.fullmatch(seed):
        raise InvalidPayload(f"a seed is 1 to {SEED_CHARS_MAX} letters, digits, hyphens and underscores")
    return Pubkey.create_with_seed(source, seed, SYSTEM_PROGRAM)


def read_movement(steps: Sequence[Step]) -> tuple[Movement, Pubkey, Sequence[Step]]:
    """The movement that ``steps`` seem to be, its source, and the steps that are no part of it.

    Any exception means that they are none.
    """
    first = steps[0]
    if first.program == ASSOCIATED_TOKEN_PROGRAM:
        last = steps[-1]
        _payer, _account, owner, mint, *_ = first.accounts
        amount, decimals = int.from_bytes(last.data[1:9], "little"), last.data[9]
        return MoveTokens(owner, amount, mint, last.program, decimals), last.accounts[3], steps[1:-1]
    source, destination = first.accounts[0], first.accounts[1]
    if first.data[:4] == _CREATE_ACCOUNT_WITH_SEED:
        end = _SEED_AT + int.from_bytes(first.data[_SEED_AT - 8 : _SEED_AT], "little")
        seed = first.data[_SEED_AT:end].decode("ascii")
        amount = int.from_bytes(first.data[end : end + 8], "little")
        return CreateNonceAccount(destination, amount, seed), source, steps[2:]
    if first.data[:4] != _TRANSFER:
        raise InvalidPayload("neither a transfer nor a new nonce account")
    return MoveLamports(destination, int.from_bytes(first.data[4:], "little")), source, steps[1:]


def _require_movement(source: Pubkey, destination: Pubkey, amount: int) -> None:
    require_destination(destination)
    if destination == source:
        raise InvalidAddress("source and destination are the same account")
    if type(amount) is not int or not 0 < amount <= U64_MAX:
        raise InvalidAmount("an amount is between 1 and 2^64 - 1 minor units")
