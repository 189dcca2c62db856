"""An operation as it is stored, and the events that a client can follow.

======================= ==================================================================================
running                 something is being built, signed or broadcast
awaiting_initiator      an intent was made and waits for the client's signature, until it expires
succeeded, failed       terminal; a failed operation says at which stage and why
======================= ==================================================================================
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, Literal

from pydantic import ConfigDict, TypeAdapter

from keyquorum_gateway.intents import Authorization, CodecRef, KeyOrder
from keyquorum_gateway.problems import Failure
from keyquorum_plugin_api.codec import UnsignedTransaction

STORED: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
"""How stored records spell bytes; the standard library's dataclasses inside of one inherit it."""


class OperationKind(StrEnum):
    """What an operation makes."""

    WALLET = "wallet"
    TRANSACTION = "transaction"
    SIGNATURE = "signature"


class OperationState(StrEnum):
    """Where an operation stands."""

    RUNNING = "running"
    AWAITING_INITIATOR = "awaiting_initiator"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL: Final = frozenset({OperationState.SUCCEEDED, OperationState.FAILED})


@dataclass(slots=True)
class Ceremony:
    """One intent of an operation. Its bytes never change once stored; who signs them may still be awaited."""

    command: Literal["create_key", "sign"]
    id: str
    key_id: str
    scheme: str
    intent: bytes
    valid_until_ms: int
    authorization: Authorization | None = None
    complete: bool = False
    sent: bool = True  # parties may have seen it; also said of a record that is too old to tell


@dataclass(frozen=True, slots=True)
class WalletPlan:
    """The keys that a wallet gets, and the chains on which it gets its first account."""

    keys: tuple[KeyOrder, ...]
    chains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """What is signed for an account: a chain's message payload, or raw bytes."""

    account_id: str
    message: bytes
    unsigned: UnsignedTransaction | None = None
    codec: CodecRef | None = None


@dataclass(frozen=True, slots=True)
class SignatureResult:
    """A verified signature over ``signed_bytes`` by ``public_key``."""

    account_id: str
    scheme: str
    public_key: bytes
    signed_bytes: bytes
    signature: bytes
    signing_ms: float
    encoded: bytes = b""  # as wallets of the chain exchange it; empty for raw bytes


@dataclass(slots=True)
class Operation:
    """One operation. Changed only by the task that runs it."""

    __pydantic_config__: ClassVar[ConfigDict] = STORED

    id: str
    tenant_id: str
    kind: OperationKind
    state: OperationState
    stage: str
    created_ms: int
    updated_ms: int
    trace_id: str = ""
    client_initiated: bool = False
    wallet_id: str = ""
    account_id: str = ""
    transaction_id: str = ""
    plan: WalletPlan | SignaturePlan | None = None
    ceremonies: list[Ceremony] = field(default_factory=list)
    result: SignatureResult | None = None
    signing_ms: float = 0.0
    error: Failure | None = None

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self.state in TERMINAL

    @property
    def awaited(self) -> Ceremony | None:
        """The ceremony whose intent waits for a signature."""
        waiting = self.state is OperationState.AWAITING_INITIATOR
        return next((c for c in self.ceremonies if c.authorization is None), None) if waiting else None


@dataclass(frozen=True, slots=True)
class OperationEvent:
    """One step of an operation, numbered from 1 without gaps."""

    sequence: int
    time_ms: int
    state: OperationState
    stage: str
    detail: str = ""
    ceremony_id: str = ""
    round: int = 0
    node_id: str = ""


OPERATION: Final[TypeAdapter[Operation]] = TypeAdapter(Operation)
EVENTS: Final[TypeAdapter[list[OperationEvent]]] = TypeAdapter(list[OperationEvent])
