"""The configuration of one network: the chain's table in the gateway's file."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from keyquorum_plugin_api.errors import InvalidConfiguration


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("a URL of http or https is wanted, without a user or password")
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]
SatPerVbyte = Annotated[Decimal, Field(ge=Decimal("0.1"), le=2_000, max_digits=7, decimal_places=3)]


class BitcoinConfig(BaseModel):
    """Keys of the table. URLs may carry a provider's token and never appear in an error or a log line."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    esplora_url: Url | None = Field(default=None, repr=False)  # asked first where there are both
    bitcoind_url: Url | None = Field(default=None, repr=False)
    bitcoind_user: str = Field(
        default="", max_length=128, repr=False
    )  # empty: the file holds "user:password", as .cookie
    bitcoind_password_file: Path | None = None
    name: str = Field(default="", max_length=64)  # shown to people; public networks have one
    aliases: tuple[str, ...] = ()  # accepted in place of the CAIP-2 id, such as "bitcoin:regtest"
    confirmations: int = Field(default=3, ge=1, le=1_000)  # blocks until CONFIRMED, its own included
    final_confirmations: int = Field(default=6, ge=1, le=1_000)  # until nothing is expected to undo it
    poll_interval_s: Seconds = 5.0
    request_timeout_s: Seconds = 10.0
    response_bytes_max: int = Field(default=32 * 1024 * 1024, ge=4096, le=256 * 1024 * 1024)  # blocks are long
    fee_rate_max: SatPerVbyte = Decimal(200)  # above it: FeeTooHigh
    fee_rate_fallback: SatPerVbyte = Decimal(10)  # where no node has an estimate
    fee_target_blocks: int = Field(default=3, ge=1, le=1_008)
    fee_max_age_s: Seconds = 10.0  # for which builds share an estimate
    coins_max_age_s: Seconds = 1.0  # for which builds share a listing of an address's coins
    rebroadcast_interval_s: Seconds = 30.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.esplora_url is None and self.bitcoind_url is None:
            raise ValueError("esplora_url or bitcoind_url is wanted")
        if self.bitcoind_password_file is not None and self.bitcoind_url is None:
            raise ValueError("bitcoind_password_file without bitcoind_url")
        if self.bitcoind_user and self.bitcoind_password_file is None:
            raise ValueError("bitcoind_user without bitcoind_password_file")
        if self.final_confirmations < self.confirmations:
            raise ValueError("final_confirmations is less than confirmations")
        if self.fee_rate_fallback > self.fee_rate_max:
            raise ValueError("fee_rate_fallback is above fee_rate_max")
        return self


def parse_config(table: Mapping[str, Any]) -> BitcoinConfig:
    """Validate a table; :class:`InvalidConfiguration` names each wrong key, and shows no value."""
    try:
        return BitcoinConfig.model_validate(dict(table))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'table'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise InvalidConfiguration(f"bitcoin: {problems}") from None
