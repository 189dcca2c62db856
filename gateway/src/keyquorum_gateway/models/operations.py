"""Operations, their events, and the authorization that a client gives."""

from typing import Any, Literal

from pydantic import Field

from keyquorum_gateway.identifiers import OperationId
from keyquorum_gateway.identity import INTENT_TAG
from keyquorum_gateway.intents import readable
from keyquorum_gateway.models.base import (
    Base64,
    Ed25519Key,
    Ed25519Signature,
    RequestModel,
    ResponseModel,
    Timestamp,
    timestamp,
    to_base64,
)
from keyquorum_gateway.operations.record import Ceremony, Operation, OperationEvent, SignatureResult
from keyquorum_gateway.problems import Failure


class AuthorizeRequest(RequestModel):
    """The initiator's Ed25519 signature over ``tag ‖ 0x00 ‖ intent bytes``."""

    public_key: Ed25519Key
    signature: Ed25519Signature


class FailureModel(ResponseModel):
    """Why an operation failed, and at which stage."""

    code: str
    detail: str
    stage: str
    culprits: tuple[str, ...]
    retriable: bool

    @classmethod
    def of(cls, failure: Failure) -> "FailureModel":
        """A stored failure."""
        return cls(
            code=failure.code,
            detail=failure.detail,
            stage=failure.stage,
            culprits=failure.culprits,
            retriable=failure.retriable,
        )


class AwaitedIntent(ResponseModel):
    """The intent that waits for its initiator's signature. Read the fields, check them against the bytes, sign the bytes."""

    tag: str = Field(description="Sign Ed25519 over these ASCII bytes, a zero byte, and the intent.")
    intent: Base64
    public_key: Ed25519Key = Field(description="Whose signature is awaited.")
    valid_until: Timestamp
    fields: dict[str, Any] = Field(description="Every field of the intent, bytes in hexadecimal.")


class CeremonyModel(ResponseModel):
    """One intent of the operation, by the coordinator's name for it."""

    id: str
    command: Literal["create_key", "sign"]
    key_id: str
    complete: bool


class SignatureModel(ResponseModel):
    """A signature, verified by the gateway before it was released."""

    operation_id: OperationId
    account_id: str
    scheme: str
    public_key: str
    signed_bytes: Base64 = Field(description="The exact bytes that the signature covers.")
    signature: str = Field(description="64 bytes in hexadecimal (65 with recovery id for ECDSA).")
    encoded: Base64 | None = Field(
        description="The signature as wallets of the chain exchange it, such as BIP322's witness; null for raw bytes."
    )
    signing_ms: float

    @classmethod
    def of(cls, operation_id: str, result: SignatureResult) -> "SignatureModel":
        """An operation's result."""
        return cls(
            operation_id=operation_id,
            account_id=result.account_id,
            scheme=result.scheme,
            public_key=result.public_key.hex(),
            signed_bytes=to_base64(result.signed_bytes),
            signature=result.signature.hex(),
            encoded=to_base64(result.encoded) if result.encoded else None,
            signing_ms=round(result.signing_ms, 3),
        )


class OperationModel(ResponseModel):
    """An operation. ``events`` of it are at ``/v1/operations/{id}/events``."""

    id: OperationId
    kind: Literal["wallet", "transaction", "signature"]
    state: Literal["running", "awaiting_initiator", "succeeded", "failed"]
    stage: str
    wallet_id: str | None
    account_id: str | None
    transaction_id: str | None
    ceremonies: tuple[CeremonyModel, ...]
    awaiting: AwaitedIntent | None
    signature: SignatureModel | None
    signing_ms: float | None
    error: FailureModel | None
    trace_id: str
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, operation: Operation) -> "OperationModel":
        """An operation as it stands."""
        awaited = operation.awaited
        return cls(
            id=operation.id,
            kind=operation.kind.value,
            state=operation.state.value,
            stage=operation.stage,
            wallet_id=operation.wallet_id or None,
            account_id=operation.account_id or None,
            transaction_id=operation.transaction_id or None,
            ceremonies=tuple(
                CeremonyModel(id=c.id, command=c.command, key_id=c.key_id, complete=c.complete)
                for c in operation.ceremonies
            ),
            awaiting=_awaited(awaited) if awaited else None,
            signature=SignatureModel.of(operation.id, operation.result) if operation.result else None,
            signing_ms=round(operation.signing_ms, 3) if operation.signing_ms else None,
            error=FailureModel.of(operation.error) if operation.error else None,
            trace_id=operation.trace_id,
            created_at=timestamp(operation.created_ms),
            updated_at=timestamp(operation.updated_ms),
        )


class EventModel(ResponseModel):
    """One step of an operation; ``sequence`` is the event stream's id."""

    operation_id: OperationId
    sequence: int
    time: Timestamp
    state: Literal["running", "awaiting_initiator", "succeeded", "failed"]
    stage: str
    detail: str
    ceremony_id: str | None
    round: int | None
    node_id: str | None

    @classmethod
    def of(cls, operation_id: str, event: OperationEvent) -> "EventModel":
        """A published event."""
        return cls(
            operation_id=operation_id,
            sequence=event.sequence,
            time=timestamp(event.time_ms),
            state=event.state.value,
            stage=event.stage,
            detail=event.detail,
            ceremony_id=event.ceremony_id or None,
            round=event.round or None,
            node_id=event.node_id or None,
        )


def _awaited(ceremony: Ceremony) -> AwaitedIntent:
    fields = readable(ceremony.intent)
    return AwaitedIntent(
        tag=INTENT_TAG,
        intent=to_base64(ceremony.intent),
        public_key=fields["initiator_key"],
        valid_until=timestamp(ceremony.valid_until_ms),
        fields=fields,
    )
