"""Fields of nodes' answers, strict and bounded; amounts come out in satoshi, whatever the dialect writes them in."""

import binascii
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from keyquorum_btc.limits import AMOUNT_MAX, SATOSHI_PER_BITCOIN, VOUT_MAX
from keyquorum_btc.transport import NoAnswer

T = TypeVar("T")

HEIGHT_MAX = 100_000_000  # two thousand years of blocks
SCRIPT_BYTES_MAX = 10_000  # consensus refuses to run longer ones; what is longer can never be spent
TRANSACTIONS_MAX = 20_000  # in a block of 4,000,000 weight units, a transaction taking 240 at least
COINS_MAX = 50_000  # of one address that are looked at
RATE_MAX = 10_000_000  # satoshi per 1,000 virtual bytes that an estimate may say; far above every ceiling
_BITCOINS_MAX = AMOUNT_MAX // SATOSHI_PER_BITCOIN


class Shape(BaseModel):
    """Part of an answer: the fields that are read, and no others."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


def _satoshi(value: Any) -> int:
    """Bitcoins as a JSON number, exactly."""
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value <= _BITCOINS_MAX:
        raise ValueError("not an amount of bitcoins")
    satoshi = value * SATOSHI_PER_BITCOIN
    if satoshi != satoshi.to_integral_value():
        raise ValueError("not a whole number of satoshi")
    return int(satoshi)


def _script(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a script is text")  # noqa: TRY004 what validates raises ValueError
    # What no transaction can run is no script of ours, and whoever compares needs to know no more than that.
    return binascii.unhexlify(text) if len(text) <= 2 * SCRIPT_BYTES_MAX else b""


Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Height = Annotated[int, Field(ge=0, le=HEIGHT_MAX)]
Satoshi = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Turnover = Annotated[
    int, Field(ge=0, le=2**63 - 1)
]  # satoshi that went through an address, the same ones again and again
Bitcoins = Annotated[int, BeforeValidator(_satoshi)]
Vout = Annotated[int, Field(ge=0, le=VOUT_MAX)]
Script = Annotated[bytes, BeforeValidator(_script)]
Weight = Annotated[int, Field(ge=1, le=4_000_000)]
Vsize = Annotated[int, Field(ge=1, le=1_000_000)]
Text = Annotated[str, Field(max_length=128)]

HASH = TypeAdapter(Annotated[Hash, Field(strict=True)])


def shaped(adapter: TypeAdapter[T], value: Any, what: str) -> T:
    """``value`` in its shape; :class:`NoAnswer` otherwise, without showing it."""
    try:
        return adapter.validate_python(value)
    except (ValidationError, ValueError, ArithmeticError, RecursionError):
        raise NoAnswer(f"the node's answer to {what} has the wrong form", acted=True) from None


def rate_per_kvb(value: Any, unit_vbytes: int, satoshi: int) -> int | None:
    """A fee rate as satoshi per 1,000 virtual bytes, rounded up; None unless it is one.

    ``value`` is JSON: so many times ``satoshi`` per ``unit_vbytes`` virtual bytes.
    """
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 < value <= RATE_MAX:
        return None
    rate = value * satoshi * 1_000 / unit_vbytes
    if rate > RATE_MAX:
        return RATE_MAX
    return max(1, int(rate.to_integral_value(ROUND_CEILING)))
