"""What nodes answer, typed. Quantities become integers, addresses bytes; whatever has another form is refused."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})")
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*")
_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HISTORY_MAX = 1024  # blocks; nodes give no more


def _matching(form: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError("has another form")
    return value


Quantity = Annotated[int, BeforeValidator(lambda value: int(_matching(_QUANTITY, value), 16))]
Data = Annotated[bytes, BeforeValidator(lambda value: bytes.fromhex(_matching(_DATA, value)[2:]))]
Hash = Annotated[str, BeforeValidator(lambda value: _matching(_HASH, value))]
Address = Annotated[bytes, BeforeValidator(lambda value: bytes.fromhex(_matching(_ADDRESS, value)[2:]))]
Text = Annotated[str, Field(max_length=256, strict=True)]


class Shape(BaseModel):
    """An object; fields that are not needed are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Block(Shape):
    """A block, without its transactions. Chains from before EIP-1559 have no base fee and are refused."""

    number: Quantity
    hash: Hash
    parent: Hash = Field(alias="parentHash")
    base_fee: Quantity = Field(alias="baseFeePerGas")  # wei per gas


class BlockTransaction(Shape):
    """A transaction of a block, as far as it moves coins."""

    hash: Hash
    sender: Address = Field(alias="from")
    to: Address | None
    value: Quantity


class FullBlock(Block):
    """A block with its transactions."""

    transactions: Annotated[list[BlockTransaction], Field(max_length=100_000)]


class Receipt(Shape):
    """What became of an included transaction."""

    txid: Hash = Field(alias="transactionHash")
    block: Hash = Field(alias="blockHash")
    number: Quantity = Field(alias="blockNumber")
    index: Quantity = Field(alias="transactionIndex")
    status: Annotated[Quantity, Field(le=1)]
    gas_used: Quantity = Field(alias="gasUsed")
    gas_price: Quantity = Field(alias="effectiveGasPrice")  # wei per gas, base and priority fee


class KnownTransaction(Shape):
    """A transaction that a node has in its pool or in a block."""

    txid: Hash = Field(alias="hash")
    block: Hash | None = Field(alias="blockHash")


class Log(Shape):
    """An event of a contract."""

    contract: Address = Field(alias="address")
    topics: Annotated[list[Hash], Field(max_length=4)]
    data: Data
    block: Hash = Field(alias="blockHash")
    txid: Hash = Field(alias="transactionHash")
    index: Quantity = Field(alias="logIndex")


class FeeHistory(Shape):
    """Base fees (the last one is the next block's) and the priority fees that recent blocks took, at one percentile."""

    base_fees: Annotated[list[Quantity], Field(min_length=1, max_length=_HISTORY_MAX)] = Field(alias="baseFeePerGas")
    used: Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(max_length=_HISTORY_MAX)] = Field(
        alias="gasUsedRatio"
    )
    rewards: Annotated[
        list[Annotated[list[Quantity], Field(min_length=1, max_length=1)]], Field(max_length=_HISTORY_MAX)
    ] = Field(alias="reward", default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _no_rewards(cls, value: Any) -> Any:
        return {**value, "reward": value.get("reward") or []} if isinstance(value, dict) else value


QUANTITY: TypeAdapter[int] = TypeAdapter(Quantity)
DATA: TypeAdapter[bytes] = TypeAdapter(Data)
HASH: TypeAdapter[str] = TypeAdapter(Hash)
TEXT: TypeAdapter[str] = TypeAdapter(Text)
BLOCK: TypeAdapter[Block] = TypeAdapter(Block)
BLOCK_OR_NONE: TypeAdapter[Block | None] = TypeAdapter(Block | None)
FULL_BLOCK_OR_NONE: TypeAdapter[FullBlock | None] = TypeAdapter(FullBlock | None)
RECEIPT_OR_NONE: TypeAdapter[Receipt | None] = TypeAdapter(Receipt | None)
KNOWN_OR_NONE: TypeAdapter[KnownTransaction | None] = TypeAdapter(KnownTransaction | None)
FEE_HISTORY: TypeAdapter[FeeHistory] = TypeAdapter(FeeHistory)
LOGS: TypeAdapter[list[Log]] = TypeAdapter(Annotated[list[Log], Field(max_length=100_000)])
SYNCING: TypeAdapter[bool | dict[str, Any]] = TypeAdapter(bool | dict[str, Any])
