"""The configuration of one chain: the chain's table in the gateway's file."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from keyquorum_eth.addresses import checksummed, parse_address
from keyquorum_plugin_api.errors import InvalidAddress, InvalidConfiguration

GWEI = 10**9


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"a URL of {' or '.join(schemes)} is wanted")
        return value

    return AfterValidator(check)


def _contract(value: str) -> str:
    try:
        return checksummed(parse_address(value))
    except InvalidAddress as error:
        raise ValueError(error.detail) from None


Seconds = Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)]
WeiPerGas = Annotated[int, Field(ge=1, le=1_000_000 * GWEI)]


class EthereumConfig(BaseModel):
    """Keys of the table. URLs may carry a provider's token and never appear in an error or a log line."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rpc_url: Annotated[str, _url("http", "https")] = Field(repr=False)
    ws_url: Annotated[str, _url("ws", "wss")] | None = Field(default=None, repr=False)  # without: heads by polling only
    name: str = Field(default="", max_length=64)  # shown to people; public networks have one
    aliases: tuple[str, ...] = ()  # accepted in place of the CAIP-2 id, such as "ethereum:local"
    confirmations: int = Field(default=3, ge=1, le=1000)  # blocks, its own included, that make a transaction confirmed
    final_confirmations: int | None = Field(
        default=None, ge=1, le=10_000
    )  # that make it irreversible; without: the node's "finalized" block
    poll_interval_s: Seconds = 1.0  # the age at which what is known of the chain's head is asked again
    request_timeout_s: Seconds = 5.0
    response_bytes_max: int = Field(
        default=16 * 1024 * 1024, ge=4096, le=64 * 1024 * 1024
    )  # a full block has some 4 MiB
    fee_percentile: int = Field(default=50, ge=0, le=100)  # of the priority fees that recent blocks took
    priority_fee_max: WeiPerGas = 20 * GWEI  # wei per gas: more is never offered, whatever others pay
    max_fee_max: WeiPerGas = 300 * GWEI  # wei per gas: above it, fee-too-high
    gas_margin_percent: int = Field(default=20, ge=0, le=300)  # over what a call was estimated to use
    tokens: Annotated[tuple[Annotated[str, AfterValidator(_contract)], ...], Field(max_length=256)] = ()

    @model_validator(mode="after")
    def _final_is_deeper(self) -> "EthereumConfig":
        if self.final_confirmations is not None and self.final_confirmations < self.confirmations:
            raise ValueError("final_confirmations is less than confirmations")
        return self


def parse_config(table: Mapping[str, Any]) -> EthereumConfig:
    """Validate a table; :class:`InvalidConfiguration` names each wrong key, and shows no value."""
    try:
        return EthereumConfig.model_validate(dict(table))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'table'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise InvalidConfiguration(f"ethereum: {problems}") from None
