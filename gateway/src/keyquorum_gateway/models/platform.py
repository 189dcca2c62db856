"""Chains, parties, plugins and health: what the platform says about itself."""

from typing import Literal

from pydantic import ConfigDict, Field

from keyquorum_gateway.models.base import ResponseModel, Timestamp

FlagReason = Literal[
    "everyone",
    "tenant",
    "canary",
    "configuration",
    "killed",
    "disabled",
    "not-in-canary",
    "depends-on-wallet",
    "flags-unavailable",
]


class ChainModel(ResponseModel):
    """A chain that the caller's tenant may know of; ``flags`` says whether it may use it."""

    chain: str = Field(description="CAIP-2 id.")
    state: Literal["ready", "starting", "failed", "disabled"]
    detail: str
    name: str | None
    aliases: tuple[str, ...]
    native_asset: str | None
    symbol: str | None
    decimals: int | None
    scheme: str | None
    capabilities: tuple[str, ...]
    fee_ceiling: str
    codec: "CodecModel | None"
    flags: "ChainFlagsModel"


class ChainFlagsModel(ResponseModel):
    """For whom the chain is open, seen by the caller's tenant. It can change at any moment."""

    enabled: bool = Field(description="Whether the tenant may begin something new on the chain.")
    reason: FlagReason = Field(description="Why, or why not.")
    stage: Literal["enabled", "canary", "disabled", "killed", "held", "configuration"] = Field(
        description=(
            "`configuration`: no flag, the gateway's own configuration decides. `held`: the gateway cannot read its flags."
        )
    )
    percent: int | None = Field(description="In a canary: how many of a hundred tenants or wallets it is open for.")
    sticky: Literal["tenant", "wallet"] | None = Field(description="In a canary: what the percentage is of.")
    listed: bool = Field(description="Whether the tenant is on the flag's list, and so in every canary.")
    source: Literal["configuration", "file"]
    stale: bool = Field(description="Whether the flags file cannot be used as it is, and the last good state counts.")


class CodecModel(ResponseModel):
    """A codec, pinned."""

    name: str
    version: str
    sha256: str


class ChainsModel(ResponseModel):
    """All chains."""

    items: tuple[ChainModel, ...]


class PartyModel(ResponseModel):
    """A party as the coordinator sees it, next to what the pinned roster says."""

    node_id: str
    index: int
    connected: bool
    since: Timestamp | None
    version: str
    kek_kind: str
    channels: tuple[str, ...]
    codecs: tuple[CodecModel, ...]
    in_roster: bool = Field(description="Whether index and identity key are those of the pinned roster.")


class PartiesModel(ResponseModel):
    """The cell's parties."""

    cell_id: str
    roster_hash: str
    roster_matches: bool = Field(description="Whether the coordinator serves the roster that this gateway pins.")
    items: tuple[PartyModel, ...]


class PluginModel(ResponseModel):
    """An installed plugin and what became of it."""

    distribution: str
    version: str
    group: str
    name: str
    state: Literal["loaded", "refused", "failed"]
    detail: str
    allow_line: str = Field(description="For a refused plugin: the line under [plugins] that would allow it.")
    namespaces: tuple[str, ...]


class PluginsModel(ResponseModel):
    """All installed plugins."""

    items: tuple[PluginModel, ...]


class HealthModel(ResponseModel):
    """The process answers."""

    status: Literal["ok"]


class ReadinessModel(ResponseModel):
    """Whether requests can be served, and what is missing."""

    status: Literal["ready", "not-ready"]
    checks: dict[str, str]


class ProblemErrorModel(ResponseModel):
    """One wrong field: a JSON pointer into the body, or ``?name`` for a query parameter."""

    pointer: str
    code: str
    detail: str


class ProblemModel(ResponseModel):
    """RFC 9457. 500, 502 and 504: the outcome is unknown, look at the operation. 503: nothing happened, retry."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    retriable: bool
    trace_id: str
    operation_id: str | None = None
    errors: tuple[ProblemErrorModel, ...] = ()
