"""Payloads about tokens and nonce accounts that a party must refuse to sign, made with the encoders of ``spl.token``."""

from dataclasses import dataclass

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import (
    ID,
    AssignParams,
    CreateAccountWithSeedParams,
    InitializeNonceAccountParams,
    TransferParams,
    assign,
    create_account_with_seed,
    initialize_nonce_account,
    transfer,
)
from spl.token import instructions as spl
from spl.token import models
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from support.solana_hostile import BLOCKHASH, MEMO, compiled

MINT = Pubkey(bytes([9]) * 32)
OTHER_MINT = Pubkey(bytes([10]) * 32)
AMOUNT, DECIMALS = 1_234_567, 6
LIMIT, PRICE = set_compute_unit_limit(40_000), set_compute_unit_price(1_000)
NONCE_RENT = 1_447_680


@dataclass(frozen=True)
class TokenTransfer:
    """A transfer of tokens as ``spl.token`` encodes it; ``us`` and ``friend`` own the accounts at both ends."""

    us: Pubkey
    friend: Pubkey
    program: Pubkey = TOKEN_PROGRAM_ID
    mint: Pubkey = MINT

    def account(self, owner: Pubkey) -> Pubkey:
        return spl.get_associated_token_address(owner, self.mint, self.program)

    def create(self, payer: Pubkey | None = None) -> Instruction:
        return spl.create_idempotent_associated_token_account(payer or self.us, self.friend, self.mint, self.program)

    def move(self, **changes: object) -> Instruction:
        values: dict[str, object] = {
            "program_id": self.program,
            "source": self.account(self.us),
            "mint": self.mint,
            "dest": self.account(self.friend),
            "owner": self.us,
            "amount": AMOUNT,
            "decimals": DECIMALS,
        }
        return spl.transfer_checked(models.TransferCheckedParams(**{**values, **changes}))  # type: ignore[arg-type]


def honest_tokens(us: Pubkey, friend: Pubkey, program: Pubkey = TOKEN_PROGRAM_ID) -> list[Instruction]:
    """What the codec builds: limit, price, the destination's account, transfer."""
    made = TokenTransfer(us, friend, program)
    return [LIMIT, PRICE, made.create(), made.move()]


def hostile_tokens(us: Pubkey, friend: Pubkey, thief: Pubkey) -> dict[str, bytes]:
    """Name to payload. ``us`` and ``friend`` are accounts of the key, ``thief`` is not."""
    made = TokenTransfer(us, friend)
    stolen = TokenTransfer(us, thief)
    other = TokenTransfer(us, friend, mint=OTHER_MINT)
    newer = TokenTransfer(us, friend, TOKEN_2022_PROGRAM_ID)
    create, move, ours = made.create(), made.move(), made.account(us)
    common = {"program_id": TOKEN_PROGRAM_ID, "owner": us}
    approve = spl.approve(models.ApproveParams(**common, source=ours, delegate=thief, amount=AMOUNT))
    close = spl.close_account(models.CloseAccountParams(**common, account=ours, dest=thief))
    burn = spl.burn(models.BurnParams(**common, account=ours, mint=MINT, amount=AMOUNT))
    plain = spl.transfer(models.TransferParams(**common, source=ours, dest=made.account(friend), amount=AMOUNT))
    authority = spl.set_authority(
        models.SetAuthorityParams(
            program_id=TOKEN_PROGRAM_ID,
            account=ours,
            authority=models.AuthorityType.ACCOUNT_OWNER,
            current_authority=us,
            new_authority=thief,
        )
    )
    multisig = made.move(owner=thief, signers=[us])
    lamports = transfer(TransferParams(from_pubkey=us, to_pubkey=thief, lamports=1))
    strict = spl.create_associated_token_account(us, friend, MINT, TOKEN_PROGRAM_ID)

    def changed(instruction: Instruction, *, data: bytes | None = None, **metas: AccountMeta) -> Instruction:
        accounts = list(instruction.accounts)
        for at, meta in metas.items():
            accounts[int(at.removeprefix("at"))] = meta
        return Instruction(instruction.program_id, bytes(instruction.data) if data is None else data, accounts)

    data = bytes(move.data)
    memo = Instruction(MEMO, b"hello", [])
    lists: dict[str, tuple[Pubkey, list[Instruction]]] = {
        "tokens to another owner's account": (us, [LIMIT, PRICE, create, stolen.move()]),
        "account made for another owner": (us, [LIMIT, PRICE, stolen.create(), move]),
        "tokens to an account that is not associated": (us, [LIMIT, PRICE, create, made.move(dest=thief)]),
        "tokens from an account that is not associated": (us, [LIMIT, PRICE, create, made.move(source=thief)]),
        "tokens to their source": (us, [LIMIT, PRICE, create, made.move(dest=ours)]),
        "tokens to ourselves": (us, honest_tokens(us, us)),
        "tokens without the owner": (us, [LIMIT, PRICE, move]),
        "tokens before the owner": (us, [LIMIT, PRICE, move, create]),
        "tokens of another mint": (us, [LIMIT, PRICE, create, other.move()]),
        "another mint named": (us, [LIMIT, PRICE, create, made.move(mint=OTHER_MINT)]),
        "tokens of the other program": (us, [LIMIT, PRICE, create, newer.move()]),
        "program of nobody": (us, [LIMIT, PRICE, create, Instruction(thief, data, move.accounts)]),
        "token program in place of the account's": (
            us,
            [LIMIT, PRICE, changed(create, at5=AccountMeta(TOKEN_2022_PROGRAM_ID, False, False)), move],
        ),
        "account made at the cost of a stranger": (us, [LIMIT, PRICE, made.create(thief), move]),
        "account that must not exist": (us, [LIMIT, PRICE, strict, move]),
        "recovery of nested tokens": (us, [LIMIT, PRICE, changed(create, data=b"\x02"), move]),
        "another authority": (us, [LIMIT, PRICE, create, made.move(owner=thief)]),
        "authority of several": (us, [LIMIT, PRICE, create, multisig]),
        "transfer without decimals": (us, [LIMIT, PRICE, create, plain]),
        "nothing of a token": (us, [LIMIT, PRICE, create, made.move(amount=0)]),
        "approval beside": (us, [LIMIT, PRICE, create, move, approve]),
        "approval instead": (us, [LIMIT, PRICE, create, approve]),
        "approval before": (us, [approve, LIMIT, PRICE, create, move]),
        "approval in place of the memo": (us, [LIMIT, PRICE, create, approve, move]),
        "account closed": (us, [LIMIT, PRICE, create, move, close]),
        "account closed in place of the memo": (us, [LIMIT, PRICE, create, close, move]),
        "account given away": (us, [LIMIT, PRICE, create, authority]),
        "account given away beside": (us, [LIMIT, PRICE, create, authority, move]),
        "tokens burnt": (us, [LIMIT, PRICE, create, burn]),
        "lamports beside": (us, [LIMIT, PRICE, create, lamports, move]),
        "lamports behind": (us, [LIMIT, PRICE, create, move, lamports]),
        "two token transfers": (us, [LIMIT, PRICE, create, move, move]),
        "tokens and their memo behind": (us, [LIMIT, PRICE, create, move, memo]),
        "two memos of a token": (us, [LIMIT, PRICE, create, memo, memo, move]),
        "transfer with more token data": (us, [LIMIT, PRICE, create, changed(move, data=data + b"\x00")]),
        "transfer with a fee": (us, [LIMIT, PRICE, create, changed(move, data=b"\x1a\x01" + data[1:] + bytes(8))]),
        "transfer with a hook's account": (
            us,
            [
                LIMIT,
                PRICE,
                create,
                Instruction(TOKEN_PROGRAM_ID, data, [*move.accounts, AccountMeta(thief, False, False)]),
            ],
        ),
        "a stranger signs along": (
            us,
            [
                LIMIT,
                PRICE,
                create,
                Instruction(TOKEN_PROGRAM_ID, data, [*move.accounts, AccountMeta(thief, True, False)]),
            ],
        ),
        "a stranger pays for tokens": (thief, [LIMIT, PRICE, made.create(thief), move]),
        "somebody else's tokens": (us, [LIMIT, PRICE, *_of_stranger(us, friend, thief)]),
        "writable mint": (us, [LIMIT, PRICE, create, changed(move, at1=AccountMeta(MINT, False, True))]),
    }
    table = AddressLookupTableAccount(thief, [friend, MINT, made.account(friend)])
    looked_up = MessageV0.try_compile(us, honest_tokens(us, friend), [table], BLOCKHASH)
    payloads = {name: compiled(payer, instructions) for name, (payer, instructions) in lists.items()}
    return {**payloads, "tokens by a lookup table": bytes(to_bytes_versioned(looked_up))}


def hostile_nonce_accounts(us: Pubkey, thief: Pubkey) -> dict[str, bytes]:
    """New nonce accounts that are somebody else's, or that are something else."""

    def made(authority: Pubkey = us, **changes: object) -> list[Instruction]:
        values: dict[str, object] = {
            "from_pubkey": us,
            "to_pubkey": Pubkey.create_with_seed(us, "spare", ID),
            "base": us,
            "seed": "spare",
            "lamports": NONCE_RENT,
            "space": 80,
            "owner": ID,
        }
        values |= changes
        create = create_account_with_seed(CreateAccountWithSeedParams(**values))  # type: ignore[typeddict-item]
        place = values["to_pubkey"]
        initialize = initialize_nonce_account(InitializeNonceAccountParams(nonce_pubkey=place, authority=authority))  # type: ignore[typeddict-item]
        return [LIMIT, PRICE, create, initialize]

    theirs = Pubkey.create_with_seed(thief, "spare", ID)
    taken = assign(AssignParams(pubkey=us, owner=thief))
    payloads = {
        "nonce account of another authority": made(thief),
        "nonce account that is not initialised": made()[:3],
        "nonce account at another address": made(to_pubkey=thief),
        "nonce account derived from another base": made(to_pubkey=theirs, base=thief),
        "nonce account of a program": made(owner=thief, to_pubkey=Pubkey.create_with_seed(us, "spare", thief)),
        "nonce account that is too long": made(space=165),
        "nonce account without lamports": made(lamports=0),
        "nonce account with a seed that nobody can read": made(
            seed="sp re", to_pubkey=Pubkey.create_with_seed(us, "sp re", ID)
        ),
        "nonce account and more": [*made(), taken],
        "nonce account and more in between": [*made()[:3], taken, made()[3]],
        "nonce account paid by a stranger": made(from_pubkey=thief),
    }
    return {name: compiled(us, instructions) for name, instructions in payloads.items()}


def _of_stranger(us: Pubkey, friend: Pubkey, thief: Pubkey) -> list[Instruction]:
    made = TokenTransfer(thief, friend)
    return [made.create(us), made.move()]
