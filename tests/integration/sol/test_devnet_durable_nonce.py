"""Durable nonces on the development chain follow the validator's rules."""

import base64

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.models import TxOpts
from solders.hash import Hash
from solders.keypair import Keypair
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account, create_nonce_account

from support.solana import SOL, SolanaRpcCaller, signed, transfer_of

NONCE_RENT = 1_447_680  # lamports, an account with 80 bytes


class NonceAccount:
    """A funded account and the nonce account that it is the authority of."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.owner = Keypair()
        self.account = Keypair()
        self.advance = advance_nonce_account(
            AdvanceNonceAccountParams(nonce_pubkey=self.account.pubkey(), authorized_pubkey=self.owner.pubkey())
        )

    async def create(self) -> None:
        await self.client.request_airdrop(self.owner.pubkey(), 10 * SOL)
        create = create_nonce_account(self.owner.pubkey(), self.account.pubkey(), self.owner.pubkey(), NONCE_RENT)
        blockhash = (await self.client.get_latest_blockhash()).value.blockhash
        await self.client.send_transaction(signed(list(create), blockhash, self.owner, self.account))

    async def value(self) -> Hash:
        info = (await self.client.get_account_info(self.account.pubkey())).value
        return Hash(bytes(info.data)[40:72])


@pytest.fixture
async def nonce(client: AsyncClient, rpc: SolanaRpcCaller) -> NonceAccount:
    account = NonceAccount(client)
    await account.create()
    await rpc.advance(400)
    return account


async def test_transaction_with_a_nonce_lives_longer_than_a_blockhash(
    nonce: NonceAccount, rpc: SolanaRpcCaller
) -> None:
    """The stored value stands in for a recent blockhash, and is advanced by use."""
    value, destination = await nonce.value(), Keypair().pubkey()
    transaction = signed([nonce.advance, transfer_of(nonce.owner, destination, SOL)], value, nonce.owner)
    await rpc.advance(1000)
    await nonce.client.send_transaction(transaction)
    assert (await nonce.client.get_balance(destination)).value == SOL
    assert await nonce.value() != value


async def test_failed_transaction_advances_the_nonce_all_the_same(nonce: NonceAccount) -> None:
    """Otherwise a failing transaction could be charged for again and again."""
    value = await nonce.value()
    failing = signed([nonce.advance, transfer_of(nonce.owner, Keypair().pubkey(), 99 * SOL)], value, nonce.owner)
    before = (await nonce.client.get_balance(nonce.owner.pubkey())).value
    await nonce.client.send_transaction(failing, TxOpts(skip_preflight=True))
    assert (await nonce.client.get_balance(nonce.owner.pubkey())).value == before - 5000
    assert await nonce.value() != value


async def test_nonce_is_used_once_per_block(nonce: NonceAccount, rpc: SolanaRpcCaller) -> None:
    """A value that was set in this block cannot be used in it, but in the next."""
    for _ in range(2):
        transfer = transfer_of(nonce.owner, Keypair().pubkey(), SOL)
        text = base64.b64encode(bytes(signed([nonce.advance, transfer], await nonce.value(), nonce.owner))).decode()
        config = {"encoding": "base64", "preflightCommitment": "processed"}
        again = await rpc.answer("sendTransaction", text, config)
        if "error" in again:
            assert again["error"]["data"]["err"] == "BlockhashNotFound"
            await rpc.advance()
            assert "result" in await rpc.answer("sendTransaction", text, config)
            return
    pytest.fail("two uses in one block")


async def test_stranger_cannot_use_the_nonce(nonce: NonceAccount, rpc: SolanaRpcCaller) -> None:
    """The authority has to sign the advancing instruction, which has to come first."""
    value, stranger = await nonce.value(), Keypair()
    await nonce.client.request_airdrop(stranger.pubkey(), SOL)
    forged = advance_nonce_account(
        AdvanceNonceAccountParams(nonce_pubkey=nonce.account.pubkey(), authorized_pubkey=stranger.pubkey())
    )
    late = [transfer_of(nonce.owner, stranger.pubkey(), SOL), nonce.advance]
    for transaction in (signed([forged], value, stranger), signed(late, value, nonce.owner)):
        text = base64.b64encode(bytes(transaction)).decode()
        answer = await rpc.answer("sendTransaction", text, {"encoding": "base64"})
        assert answer["error"]["data"]["err"] == "BlockhashNotFound"
