"""Accounts: addresses that the parties attested and that the codec installed here derives as well."""

import time
from collections import Counter

from keyquorum_gateway.bounds import CERTIFIED_KEYS_MAX
from keyquorum_gateway.certificates import (
    Refused,
    VerifiedKey,
    verify_attestation,
    verify_certificate,
    verify_derivation,
)
from keyquorum_gateway.chains import DescribedChain
from keyquorum_gateway.identifiers import ACCOUNT, new_identifier
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.signer_client import SignerClient
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.wallets import Account, AccountTaken, Wallet, WalletKey, Wallets, insert_account
from keyquorum_gateway.telemetry import Metrics


class AccountBook:
    """Opens accounts."""

    def __init__(
        self, database: Database, wallets: Wallets, client: SignerClient, roster: Roster, metrics: Metrics
    ) -> None:
        self._database = database
        self._wallets = wallets
        self._client = client
        self._roster = roster
        self._metrics = metrics
        self._certified: dict[str, VerifiedKey] = {}
        self._opening: Counter[tuple[str, str]] = Counter()  # wallet and chain of what is being attested now

    async def open(self, wallet: Wallet, chain: DescribedChain, position: int) -> Account:
        """The account at a position, made if there is none.

        Raises ``SigningError`` where the parties do not attest, :class:`Refused` where what they sent does not prove the address.
        """
        existing = self._wallets.account_at(wallet.id, chain.chain, position)
        if existing is not None:
            return existing
        key = self.key_for(wallet, chain)
        self._require_one_chain(wallet, chain, key)
        self._opening[wallet.id, chain.chain] += 1
        try:
            return await self._make(wallet, chain, key, position)
        finally:
            self._opening -= Counter([(wallet.id, chain.chain)])  # keeps nothing at zero

    async def _make(self, wallet: Wallet, chain: DescribedChain, key: WalletKey, position: int) -> Account:
        path = (position,) if position else ()
        codec = chain.codec.codec
        signed = await self._client.attest_address(key.id, path, chain.chain, codec.name)
        try:
            attested = verify_attestation(signed, self.certified(key), self._roster)
            verify_derivation(attested, codec, path=path, chain=chain.chain)
        except Refused as refusal:
            self._metrics.refusals.labels(refusal.code).inc()
            raise
        account = Account(
            id=new_identifier(ACCOUNT),
            tenant_id=wallet.tenant_id,
            wallet_id=wallet.id,
            key_id=key.id,
            chain=chain.chain,
            position=position,
            address=attested.address,
            public_key=attested.public_key,
            attestation=signed,
            created_ms=time.time_ns() // 1_000_000,
        )
        try:
            await self._database.write(lambda connection: insert_account(connection, account))
        except AccountTaken:
            made = self._wallets.account_at(wallet.id, chain.chain, position)
            if made is None:
                raise
            return made
        return account

    def key_for(self, wallet: Wallet, chain: DescribedChain) -> WalletKey:
        """The wallet's key of the chain's scheme; a 422 problem where it has none."""
        scheme = chain.codec.codec.scheme
        for key in self._wallets.keys(wallet.id):
            if key.scheme == scheme:
                return key
        raise Problem("no-key-for-chain", f"the wallet has no {scheme} key, which {chain.chain} needs")

    def _require_one_chain(self, wallet: Wallet, chain: DescribedChain, key: WalletKey) -> None:
        """Refuse a second chain to a key whose payloads do not say which chain they are for."""
        codec = chain.codec.codec
        if codec.payload_names_chain:
            return
        named = {account.chain for account in self._wallets.accounts_of(wallet.id)} | set(wallet.chains)
        named |= {name for wallet_id, name in self._opening if wallet_id == wallet.id}
        named |= {limit.asset.partition("/")[0] for limit in self.certified(key).policy.limits}
        others = sorted(name for name in named - {chain.chain} if name.startswith(f"{codec.namespace}:"))
        if others:
            raise Problem("one-chain-per-key", f"the wallet's key is for {others[0]}: make another wallet")

    def certified(self, key: WalletKey) -> VerifiedKey:
        """What the key's certificate proves. Checked once per process: neither certificate nor roster changes in it."""
        verified = self._certified.get(key.id)
        if verified is None:
            verified = verify_certificate(key.certificate, self._roster)
            if len(self._certified) >= CERTIFIED_KEYS_MAX:
                self._certified.clear()
            self._certified[key.id] = verified
        return verified
