"""Transactions: what is asked for, and what became of it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from keyquorum_gateway.bounds import MESSAGE_BYTES_MAX
from keyquorum_gateway.identifiers import AccountId, OperationId, TransactionId
from keyquorum_gateway.models.base import (
    Amount,
    AssetType,
    Base64,
    RequestModel,
    ResponseModel,
    Timestamp,
    timestamp,
    to_base64,
)
from keyquorum_gateway.models.operations import FailureModel
from keyquorum_gateway.state.transactions import Transaction
from keyquorum_plugin_api.chain import TransactionStatus

Address = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TransactionHash = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,128}$")]
OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
OptionValue = Annotated[str, StringConstraints(max_length=256)]


ExternalId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Options = Annotated[
    dict[OptionName, OptionValue],
    Field(default_factory=dict, max_length=16, description="Options of the chain's adapter."),
]


class CreateTransactionRequest(RequestModel):
    """Move an amount of an asset to an address."""

    account_id: Identifier
    destination: Address
    amount: Amount
    asset: AssetType | None = Field(default=None, description="The chain's native asset, if it is not named.")
    memo: Annotated[str, StringConstraints(max_length=1024)] = ""
    submit: bool = Field(default=True, description="Whether to broadcast; otherwise the signed bytes are returned.")
    external_id: ExternalId | None = Field(
        default=None, description="The caller's own id: can be used for one transaction, for ever."
    )
    options: Options
    fee_account_id: Identifier | None = Field(
        default=None, description="Another account of the wallet on this chain that pays the fee, where the chain can."
    )
    payload: Annotated[Base64, StringConstraints(min_length=4, max_length=350_000)] | None = Field(
        default=None,
        description="An unsigned payload that was built elsewhere (a PSBT, for example); it must make exactly this transfer.",
    )

    @model_validator(mode="after")
    def _nothing_beside_a_payload(self) -> "CreateTransactionRequest":
        if self.payload is not None and (self.options or self.fee_account_id):
            raise PydanticCustomError("payload-alone", "a payload that was built elsewhere takes no options")
        return self


class ReplaceTransactionRequest(RequestModel):
    """Put another transaction in the place of one that is not included yet; only one of both ever will be."""

    purpose: Literal["replacement", "cancellation"] = Field(
        description="The same transfer for a higher fee, or nothing at all."
    )
    external_id: ExternalId | None = None
    options: Options


class FeeModel(ResponseModel):
    """The most that the network may take."""

    asset: str
    amount: str


class TransactionModel(ResponseModel):
    """A transaction."""

    id: TransactionId
    account_id: AccountId
    operation_id: OperationId
    external_id: str | None
    state: Literal["building", "awaiting_initiator", "signing", "signed", "submitted", "confirmed", "failed", "expired"]
    chain: str
    asset: str
    amount: str
    destination: str
    memo: str
    submit: bool
    fee: FeeModel | None
    txid: str | None
    payload: Base64 | None = Field(description="What was signed or is to be, in the chain's own format.")
    raw: Base64 | None = Field(description="The signed bytes.")
    purpose: Literal["transfer", "replacement", "cancellation"]
    replaces: TransactionId | None
    replaced_by: TransactionId | None
    fee_account_id: AccountId | None
    reversible: bool = Field(description="Confirmed or failed, but not so deep that no reorganisation undoes it.")
    confirmations: int
    block: str
    detail: str
    error: FailureModel | None
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, transaction: Transaction, replacement: Transaction | None = None) -> "TransactionModel":
        """A stored transaction, and the one in its place."""
        transfer = transaction.transfer
        fee = FeeModel(asset=transaction.fee_asset, amount=str(transaction.fee)) if transaction.fee_asset else None
        return cls(
            id=transaction.id,
            account_id=transaction.account_id,
            operation_id=transaction.operation_id,
            external_id=transaction.external_id,
            state=transaction.state.value,
            chain=transfer.chain,
            asset=transfer.asset,
            amount=str(transfer.amount),
            destination=transfer.destination,
            memo=transfer.memo,
            submit=transfer.submit,
            fee=fee,
            txid=transaction.txid or None,
            payload=to_base64(transaction.unsigned.payload) if transaction.unsigned else None,
            raw=to_base64(transaction.raw) if transaction.raw else None,
            purpose=transaction.purpose.value,
            replaces=transaction.replaces or None,
            replaced_by=replacement.id if replacement else None,
            fee_account_id=transfer.fee_account_id or None,
            reversible=transaction.reversible,
            confirmations=transaction.confirmations,
            block=transaction.block,
            detail=transaction.detail,
            error=FailureModel.of(transaction.error) if transaction.error else None,
            created_at=timestamp(transaction.created_ms),
            updated_at=timestamp(transaction.updated_ms),
        )


class SubmitRequest(RequestModel):
    """Signed bytes for a chain, and the id that the chain will know them by."""

    raw: Annotated[Base64, StringConstraints(min_length=4, max_length=350_000)]
    txid: TransactionHash


class ChainTransactionModel(ResponseModel):
    """A transaction as its chain reports it."""

    chain: str
    txid: str
    state: Literal["unknown", "pending", "included", "confirmed", "failed", "expired"]
    confirmations: int
    block: str
    detail: str

    @classmethod
    def of(cls, chain: str, status: TransactionStatus) -> "ChainTransactionModel":
        """An adapter's answer."""
        return cls(
            chain=chain,
            txid=status.txid,
            state=status.state.value,
            confirmations=status.confirmations,
            block=status.block,
            detail=status.detail,
        )


class CreateSignatureRequest(RequestModel):
    """Sign a message or a structured document in the chain's own format, or raw bytes where the key's policy allows them."""

    account_id: Identifier
    message: Annotated[str, StringConstraints(min_length=1, max_length=MESSAGE_BYTES_MAX)] | None = None
    typed_data: Annotated[str, StringConstraints(min_length=2, max_length=MESSAGE_BYTES_MAX)] | None = Field(
        default=None, description="A structured document as JSON text, such as EIP-712's. What it permits counts."
    )
    raw: Annotated[Base64, StringConstraints(min_length=4, max_length=4 * MESSAGE_BYTES_MAX // 3 + 4)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "CreateSignatureRequest":
        if sum(each is not None for each in (self.message, self.typed_data, self.raw)) != 1:
            raise PydanticCustomError("message-or-raw", "give one of message, typed_data and raw")
        return self
