"""A Solana chain, an adapter on it and accounts that have coins, as tests of one property need them."""

from solders.pubkey import Pubkey

from keyquorum_plugin_api.chain import TransactionStatus
from keyquorum_plugin_api.codec import TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.testing import LocalSigner
from keyquorum_plugin_api.testing.scenes import confirmed
from keyquorum_sol.adapter import SolanaAdapter
from support.solana import SOL
from support.solana_target import SolanaChainTarget


class SolanaScene(SolanaChainTarget):
    """A target whose adapters can be configured, with short words for what tests do."""

    accounts = (0, 2, 3)  # that the key owns: source, fee payer, another one

    async def opened(self, **config: object) -> SolanaAdapter:
        """An adapter that signs for the key's accounts."""
        self.config = {**self.config, **config}
        return await self.adapter(LocalSigner(self.codec, [self.account(index) for index in self.accounts]))

    def address(self, index: int) -> str:
        """Of an account."""
        return self.account(index).account.address

    def key(self, index: int) -> Pubkey:
        """Of an account."""
        return Pubkey.from_string(self.address(index))

    def intent(self, amount: int = SOL // 100, asset: str = "", **changes: object) -> TransferIntent:
        """Account 0 pays account 1."""
        values = {"memo": "", **changes}
        return TransferIntent(
            chain=self.chain,
            source=self.account(0).account,
            destination=str(values.pop("destination", self.address(1))),
            asset=asset or self.asset,
            amount=amount,
            **values,  # type: ignore[arg-type]
        )

    async def settle(self, adapter: SolanaAdapter, unsigned: UnsignedTransaction) -> TransactionStatus:
        """Sign, submit, and wait for what becomes of it."""
        signed = await adapter.sign(unsigned)
        await adapter.submit(signed)
        return await confirmed(self, adapter, signed, unsigned)
