"""Accounts and balances."""

from pydantic import Field

from keyquorum_gateway.identifiers import AccountId, KeyId, WalletId
from keyquorum_gateway.models.base import ChainName, RequestModel, ResponseModel, Timestamp, timestamp
from keyquorum_gateway.state.wallets import Account
from keyquorum_plugin_api.chain import Balance, ChainEvent
from keyquorum_protos.wallet.v1 import certificate_pb2


class CreateAccountRequest(RequestModel):
    """An account on a chain: the next free index, or the one that is named."""

    chain: ChainName
    index: int | None = Field(default=None, ge=0, lt=2**31)


class AccountModel(ResponseModel):
    """An address that at least t parties attested and the gateway's own codec derives too."""

    id: AccountId
    wallet_id: WalletId
    key_id: KeyId
    chain: str
    index: int
    path: tuple[int, ...]
    address: str
    caip10: str = Field(description="CAIP-10 id: chain and address.")
    public_key: str
    attested_by: tuple[str, ...]
    created_at: Timestamp

    @classmethod
    def of(cls, account: Account) -> "AccountModel":
        """A stored account."""
        signed = certificate_pb2.SignedAddressAttestation.FromString(account.attestation)
        return cls(
            id=account.id,
            wallet_id=account.wallet_id,
            key_id=account.key_id,
            chain=account.chain,
            index=account.position,
            path=account.path,
            address=account.address,
            caip10=f"{account.chain}:{account.address}",
            public_key=account.public_key.hex(),
            attested_by=tuple(signature.node_id for signature in signed.signatures),
            created_at=timestamp(account.created_ms),
        )


class BalanceModel(ResponseModel):
    """What an account holds of an asset, in minor units."""

    asset: str
    amount: str
    decimals: int
    symbol: str

    @classmethod
    def of(cls, balance: Balance) -> "BalanceModel":
        """A balance that an adapter read."""
        return cls(asset=balance.asset, amount=str(balance.amount), decimals=balance.decimals, symbol=balance.symbol)


class BalancesModel(ResponseModel):
    """An account's balances now."""

    account_id: AccountId
    chain: str
    address: str
    balances: tuple[BalanceModel, ...]


class AccountEventModel(ResponseModel):
    """An asset that reached or left the account's address."""

    txid: str
    asset: str
    amount: str = Field(description="Minor units; negative where the address paid.")
    block: str
    removed: bool = Field(description="The block was dropped: the event of this transaction and asset did not happen.")

    @classmethod
    def of(cls, event: ChainEvent) -> "AccountEventModel":
        """An adapter's event."""
        return cls(
            txid=event.txid, asset=event.asset, amount=str(event.amount), block=event.block, removed=event.removed
        )
