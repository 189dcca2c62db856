"""The configuration of one cluster: the chain's table in the gateway's file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from keyquorum_plugin_api.errors import InvalidAddress, InvalidConfiguration
from keyquorum_sol.addresses import parse_address
from keyquorum_sol.limits import FEE_LAMPORTS_MAX

SYMBOL_CHARS_MAX = 16


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"a URL of {' or '.join(schemes)} is wanted")
        return value

    return AfterValidator(check)


def _tokens(value: Mapping[str, str]) -> Mapping[str, str]:
    for mint, symbol in value.items():
        try:
            parse_address(mint)
        except InvalidAddress:
            raise ValueError("a token is named by its mint in base58") from None
        if not 0 < len(symbol) <= SYMBOL_CHARS_MAX or not symbol.isprintable():
            raise ValueError(f"a symbol has 1 to {SYMBOL_CHARS_MAX} characters")
    return value


Seconds = Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)]


class SolanaConfig(BaseModel):
    """Keys of the table. URLs may carry a provider's token and never appear in an error or a log line."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rpc_url: Annotated[str, _url("http", "https")] = Field(repr=False)
    ws_url: Annotated[str, _url("ws", "wss")] | None = Field(
        default=None, repr=False
    )  # without: status by polling only
    name: str = Field(default="", max_length=64)  # shown to people; public clusters have one
    aliases: tuple[str, ...] = ()  # accepted in place of the CAIP-2 id, such as "solana:localnet"
    commitment: Literal["confirmed", "finalized"] = "confirmed"  # what counts as settled; processed never does
    priority_fee_percentile: int = Field(default=75, ge=0, le=100)  # of what recent transactions paid
    priority_fee_ceiling_lamports: int = Field(default=100_000, ge=0, le=FEE_LAMPORTS_MAX)
    compute_unit_margin_percent: int = Field(default=20, ge=0, le=300)  # over what the simulation used
    expiry_margin_blocks: int = Field(default=20, ge=1, le=140)  # left when signing starts, or it is refused (~8 s)
    blockhash_max_age_s: Seconds = 2.0
    request_timeout_s: Seconds = 5.0
    response_bytes_max: int = Field(default=1024 * 1024, ge=4096, le=64 * 1024 * 1024)
    rebroadcast_interval_s: Seconds = 2.0
    poll_interval_s: Seconds = 1.0
    event_poll_interval_s: Seconds = 2.0
    rpc_batch_max: int = Field(default=1, ge=1, le=100)  # calls in one HTTP request; not every provider takes several
    tokens: Annotated[Mapping[str, str], AfterValidator(_tokens)] = Field(
        default={}, max_length=64
    )  # mint to symbol; shown with the balances of an account


def parse_config(table: Mapping[str, Any]) -> SolanaConfig:
    """Validate a table; :class:`InvalidConfiguration` names each wrong key, and shows no value."""
    try:
        return SolanaConfig.model_validate(dict(table))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'table'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise InvalidConfiguration(f"solana: {problems}") from None
