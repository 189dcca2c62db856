"""What all models share: strictness, and the spelling of amounts, bytes and times."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

AMOUNT_BOUND: Final = 2**256


class RequestModel(BaseModel):
    """A request body: unknown fields are refused, and nothing is converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QueryModel(BaseModel):
    """Query parameters: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """A response body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _positive(value: str) -> str:
    if value == "0" or int(value) >= AMOUNT_BOUND:
        raise PydanticCustomError("invalid-amount", "an amount is greater than 0 and below 2^256")
    return value


def _bounded(value: str) -> str:
    if int(value) >= AMOUNT_BOUND:
        raise PydanticCustomError("invalid-amount", "an amount is below 2^256")
    return value


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("invalid-base64", "not base64 (RFC 4648, section 4)") from None
    return value


_Digits = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$")]

Amount = Annotated[_Digits, AfterValidator(_positive), Field(description="Minor units, as a decimal string.")]
Quantity = Annotated[_Digits, AfterValidator(_bounded), Field(description="Minor units, as a decimal string.")]
Base64 = Annotated[str, AfterValidator(_base64), Field(json_schema_extra={"format": "byte"})]
Ed25519Key = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="Ed25519 public key, 32 bytes in hexadecimal.")
]
Ed25519Signature = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{128}$"), Field(description="Ed25519 signature, 64 bytes in hexadecimal.")
]
ChainName = Annotated[
    str,
    StringConstraints(pattern=r"^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$"),
    Field(description="CAIP-2 id of a chain, or an alias such as solana:mainnet."),
]
AssetType = Annotated[
    str,
    StringConstraints(
        pattern=r"^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}/[-a-z0-9]{3,8}:[-.%a-zA-Z0-9]{1,128}(/[-.%a-zA-Z0-9]{1,78})?$"
    ),
    Field(description="CAIP-19 id of an asset."),
]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def timestamp(milliseconds: int) -> str:
    """A time as RFC 3339, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_base64(data: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(data).decode()
