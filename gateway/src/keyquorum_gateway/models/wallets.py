"""Wallets."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from keyquorum_gateway.certificates import VerifiedKey
from keyquorum_gateway.identifiers import AccountId, KeyId, OperationId, WalletId
from keyquorum_gateway.models.base import (
    AssetType,
    Base64,
    ChainName,
    Ed25519Key,
    Ed25519Signature,
    Quantity,
    RequestModel,
    ResponseModel,
    Timestamp,
    timestamp,
)
from keyquorum_gateway.state.wallets import Account, Initiation, Wallet

SchemeName = Literal["eddsa_ed25519", "ecdsa_secp256k1", "schnorr_bip340"]
UserId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]

_PROTECTS = {
    Initiation.GATEWAY: (
        "The gateway's key initiates, within limits that every party enforces from its own copy of the policy. Whoever takes"
        " over the gateway can move at most what the limits allow."
    ),
    Initiation.CLIENT: (
        "Only intents signed by the client's key are carried out. Whoever takes over the gateway or the coordinator can"
        " refuse service, but cannot sign."
    ),
}


class GatewayInitiation(RequestModel):
    """The gateway signs intents on the caller's behalf, within the policy's limits."""

    type: Literal["gateway"]


class ClientInitiation(RequestModel):
    """The client signs every intent with its own Ed25519 key, which must be a root key of the tenant in the roster."""

    type: Literal["client"]
    public_key: Ed25519Key


InitiationRequest = Annotated[GatewayInitiation | ClientInitiation, Field(discriminator="type")]


class LimitModel(RequestModel):
    """The most of an asset that may leave the key, fees included, per transaction and in a rolling window."""

    asset: AssetType
    per_transaction: Quantity
    per_window: Quantity
    window_s: int = Field(ge=1, le=366 * 24 * 3600)

    @model_validator(mode="after")
    def _window_holds_a_transaction(self) -> "LimitModel":
        if int(self.per_transaction) > int(self.per_window):
            raise PydanticCustomError("invalid-limit", "per_transaction is more than per_window")
        return self


class PolicyRequest(RequestModel):
    """The genesis policy: it cannot be changed later through this API. Without limits, the configured defaults apply."""

    limits: Annotated[tuple[LimitModel, ...], Field(max_length=64)] | None = None
    allow_raw: bool = False

    @model_validator(mode="after")
    def _one_limit_per_asset(self) -> "PolicyRequest":
        assets = [limit.asset for limit in self.limits or ()]
        if len(set(assets)) != len(assets):
            raise PydanticCustomError("invalid-limit", "two limits for one asset")
        return self


class CreateWalletRequest(RequestModel):
    """A wallet: one key per scheme that its chains need, and an account on each of the chains."""

    user_id: UserId = Field(
        description="Whose wallet it is, in the caller's own terms: printable ASCII without spaces."
    )
    name: Annotated[str, StringConstraints(max_length=128)] = ""
    chains: tuple[ChainName, ...] = Field(default=(), max_length=16)
    schemes: tuple[SchemeName, ...] = Field(
        default=(), max_length=3, description="Keys to make besides those that the chains need."
    )
    initiation: InitiationRequest = GatewayInitiation(type="gateway")
    policy: PolicyRequest = PolicyRequest()

    @model_validator(mode="after")
    def _asks_for_a_key(self) -> "CreateWalletRequest":
        if not self.chains and not self.schemes:
            raise PydanticCustomError("nothing-asked", "name at least one chain or scheme")
        return self


class InitiationModel(ResponseModel):
    """Whose signature the parties want, and what that protects against."""

    type: Literal["gateway", "client"]
    public_key: Ed25519Key
    protects: str


class PolicyModel(ResponseModel):
    """A key's policy, as certified by all its parties."""

    initiator_keys: tuple[Ed25519Key, ...]
    limits: tuple[LimitModel, ...]
    allow_raw: bool


class KeyModel(ResponseModel):
    """A certified key."""

    id: KeyId
    scheme: SchemeName
    public_key: str
    threshold: int
    parties: tuple[str, ...]
    epoch: int
    policy: PolicyModel


class WalletAccount(ResponseModel):
    """An account, in short."""

    id: AccountId
    chain: str
    address: str
    index: int


class WalletModel(ResponseModel):
    """A wallet."""

    id: WalletId
    user_id: str
    name: str
    state: Literal["creating", "active", "failed"]
    chains: tuple[str, ...]
    initiation: InitiationModel
    keys: tuple[KeyModel, ...]
    accounts: tuple[WalletAccount, ...]
    operation_id: OperationId
    created_at: Timestamp

    @classmethod
    def of(cls, wallet: Wallet, keys: tuple[VerifiedKey, ...], accounts: tuple[Account, ...]) -> "WalletModel":
        """A wallet with what its verified certificates say."""
        return cls(
            id=wallet.id,
            user_id=wallet.user_id,
            name=wallet.name,
            state=wallet.state.value,
            chains=wallet.chains,
            initiation=InitiationModel(
                type=wallet.initiation.value,
                public_key=wallet.initiator_key.hex(),
                protects=_PROTECTS[wallet.initiation],
            ),
            keys=tuple(key_model(key) for key in keys),
            accounts=tuple(
                WalletAccount(id=a.id, chain=a.chain, address=a.address, index=a.position) for a in accounts
            ),
            operation_id=wallet.operation_id,
            created_at=timestamp(wallet.created_ms),
        )


def key_model(key: VerifiedKey) -> KeyModel:
    """A verified key."""
    scheme: Any = key.scheme
    return KeyModel(
        id=key.key_id,
        scheme=scheme,
        public_key=key.public_key.hex(),
        threshold=key.threshold,
        parties=key.node_ids,
        epoch=key.epoch,
        policy=PolicyModel(
            initiator_keys=tuple(each.hex() for each in key.policy.initiator_keys),
            limits=tuple(
                LimitModel(
                    asset=limit.asset,
                    per_transaction=limit.per_transaction,
                    per_window=limit.per_window,
                    window_s=limit.window_s,
                )
                for limit in key.policy.limits
            ),
            allow_raw=key.policy.allow_raw,
        ),
    )


class NodeSignatureModel(ResponseModel):
    """A party's signature over a statement."""

    node_id: str
    signature: Ed25519Signature


class KeyCertificateModel(ResponseModel):
    """A key certificate as the parties signed it: verify the bytes against your own copy of the roster."""

    key_id: KeyId
    scheme: SchemeName
    public_key: str
    certificate: Base64 = Field(description="Serialized KeyCertificate, the bytes that are signed.")
    signatures: tuple[NodeSignatureModel, ...]


class AddressAttestationModel(ResponseModel):
    """An address attestation as at least t parties signed it."""

    account_id: AccountId
    key_id: KeyId
    chain: str
    index: int
    address: str
    attestation: Base64 = Field(description="Serialized AddressAttestation, the bytes that are signed.")
    signatures: tuple[NodeSignatureModel, ...]


class WalletCertificateModel(ResponseModel):
    """All that proves a wallet's keys and addresses."""

    wallet_id: WalletId
    cell_id: str
    roster_hash: str
    keys: tuple[KeyCertificateModel, ...]
    addresses: tuple[AddressAttestationModel, ...]
