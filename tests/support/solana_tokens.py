"""Tokens on a running Solana chain, made with the encoders of ``spl.token`` and raw instructions of Token-2022."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from spl.token import instructions as spl
from spl.token import models
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from support.solana import SOL, SolanaRpcCaller, signed

MINT_BYTES = 82


@dataclass(frozen=True)
class Extension:
    """An extension of a mint: how many bytes it adds, and what sets it up before the mint is."""

    size: int  # with its 4 bytes of type and length
    data: bytes  # of the instruction


def _optional(key: Pubkey | None) -> bytes:
    return bytes(32) if key is None else bytes(key)


SOMEBODY = Pubkey(bytes([3]) * 32)
EXTENSIONS = {
    "transfer fee": Extension(
        4 + 108, bytes([26, 0, 0, 0]) + (100).to_bytes(2, "little") + (10**9).to_bytes(8, "little")
    ),
    "non-transferable": Extension(4, bytes([32])),
    "permanent delegate": Extension(4 + 32, bytes([35]) + bytes(SOMEBODY)),
    "transfer hook": Extension(4 + 64, bytes([36, 0]) + _optional(None) + bytes(SOMEBODY)),
    "default frozen": Extension(4 + 1, bytes([28, 0, 2])),
    "default open": Extension(4 + 1, bytes([28, 0, 1])),
    "interest": Extension(4 + 52, bytes([33, 0]) + bytes(SOMEBODY) + (500).to_bytes(2, "little")),
    "confidential": Extension(4 + 65, bytes([27, 0]) + _optional(None) + b"\x01" + bytes(32)),
    "metadata pointer": Extension(4 + 64, bytes([39, 0]) + bytes(SOMEBODY) + bytes(SOMEBODY)),
}


class TokenIssuer:
    """Somebody who makes tokens, and can freeze them."""

    def __init__(self, rpc: SolanaRpcCaller) -> None:
        self.rpc = rpc
        self.keys = Keypair()

    async def open(self) -> "TokenIssuer":
        await self.rpc("requestAirdrop", str(self.keys.pubkey()), 100 * SOL)
        await self.rpc.advance()
        return self

    async def mint(
        self,
        program: Pubkey = TOKEN_PROGRAM_ID,
        decimals: int = 6,
        extensions: Sequence[str] = (),
    ) -> Pubkey:
        """A new token."""
        mint = Keypair()
        size = MINT_BYTES if not extensions else 166 + sum(EXTENSIONS[name].size for name in extensions)
        rent = await self.rpc("getMinimumBalanceForRentExemption", size)
        us, address = self.keys.pubkey(), mint.pubkey()
        created = CreateAccountParams(from_pubkey=us, to_pubkey=address, lamports=rent, space=size, owner=program)
        await self.send(
            [
                create_account(created),
                *(
                    Instruction(program, EXTENSIONS[name].data, [AccountMeta(address, False, True)])
                    for name in extensions
                ),
                spl.initialize_mint2(
                    models.InitializeMint2Params(
                        decimals=decimals, program_id=program, mint=address, mint_authority=us, freeze_authority=us
                    )
                ),
            ],
            mint,
        )
        return address

    async def give(self, mint: Pubkey, owner: str, amount: int, program: Pubkey = TOKEN_PROGRAM_ID) -> Pubkey:
        """Tokens for an owner; where they lie."""
        us, holder = self.keys.pubkey(), Pubkey.from_string(owner)
        place = spl.get_associated_token_address(holder, mint, program)
        await self.send(
            [
                spl.create_idempotent_associated_token_account(us, holder, mint, program),
                spl.mint_to(
                    models.MintToParams(program_id=program, mint=mint, dest=place, mint_authority=us, amount=amount)
                ),
            ]
        )
        return place

    async def freeze(self, mint: Pubkey, place: Pubkey, program: Pubkey = TOKEN_PROGRAM_ID) -> None:
        """Stop what happens in an account."""
        frozen = models.FreezeAccountParams(program_id=program, account=place, mint=mint, authority=self.keys.pubkey())
        await self.send([spl.freeze_account(frozen)])

    async def send(self, instructions: Sequence[Instruction], *signers: Keypair) -> None:
        """A transaction of the issuer that succeeds."""
        blockhash = (await self.rpc("getLatestBlockhash", {"commitment": "confirmed"}))["value"]["blockhash"]
        transaction = signed(list(instructions), Hash.from_string(blockhash), self.keys, *signers)
        text = base64.b64encode(bytes(transaction)).decode()
        await self.rpc("sendTransaction", text, {"encoding": "base64", "preflightCommitment": "confirmed"})
        await self.rpc.advance()


__all__ = ["EXTENSIONS", "TOKEN_2022_PROGRAM_ID", "TOKEN_PROGRAM_ID", "TokenIssuer"]
