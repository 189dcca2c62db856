"""What the coordinator reports of a ceremony, as typed events: the gateway's view of ``OperationEvent``."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from keyquorum_protos.signer.v1 import signer_pb2


class CeremonyState(StrEnum):
    """Where a ceremony stands."""

    KEY_SHARE = "key_share"
    PREPARE_SIGN = "prepare_sign"
    SIGN_ROUND1 = "sign_round1"
    SIGN_ROUND2 = "sign_round2"
    VERIFY = "verify"
    COMPLETE = "complete"
    TIMEOUT = "timeout"
    RECOVERY = "recovery"
    FAILED = "failed"


TERMINAL: Final = frozenset({CeremonyState.COMPLETE, CeremonyState.FAILED})

_STATES: Final = {
    signer_pb2.OPERATION_STATE_KEY_SHARE: CeremonyState.KEY_SHARE,
    signer_pb2.OPERATION_STATE_PREPARE_SIGN: CeremonyState.PREPARE_SIGN,
    signer_pb2.OPERATION_STATE_SIGN_ROUND1: CeremonyState.SIGN_ROUND1,
    signer_pb2.OPERATION_STATE_SIGN_ROUND2: CeremonyState.SIGN_ROUND2,
    signer_pb2.OPERATION_STATE_VERIFY: CeremonyState.VERIFY,
    signer_pb2.OPERATION_STATE_COMPLETE: CeremonyState.COMPLETE,
    signer_pb2.OPERATION_STATE_TIMEOUT: CeremonyState.TIMEOUT,
    signer_pb2.OPERATION_STATE_RECOVERY: CeremonyState.RECOVERY,
    signer_pb2.OPERATION_STATE_FAILED: CeremonyState.FAILED,
}


class MalformedEvent(ValueError):
    """The coordinator sent an event that its contract does not allow."""


@dataclass(frozen=True, slots=True)
class CeremonyError:
    """Why a ceremony failed, in the coordinator's words."""

    code: str
    stage: str
    culprits: tuple[str, ...]
    detail: str
    retriable: bool


@dataclass(frozen=True, slots=True)
class CeremonyEvent:
    """One step of a ceremony. ``certificate`` is a serialized ``SignedKeyCertificate``, unverified."""

    ceremony_id: str
    sequence: int
    state: CeremonyState
    time_ms: int
    round: int = 0
    node_id: str = ""
    detail: str = ""
    error: CeremonyError | None = None
    certificate: bytes = b""
    signatures: tuple[bytes, ...] = field(default=(), repr=False)
    duration_ms: float = 0.0

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self.state in TERMINAL


def event_from_proto(message: signer_pb2.OperationEvent, ceremony_id: str) -> CeremonyEvent:
    """Read an event of the ceremony that was asked for; :class:`MalformedEvent` for any other."""
    state = _STATES.get(message.state)
    if state is None or message.sequence < 1:
        raise MalformedEvent("an event without state or sequence")
    if message.operation_id != ceremony_id:
        raise MalformedEvent("an event of another operation")
    error = None
    if state is CeremonyState.FAILED:
        stage = _STATES.get(message.error.stage)
        error = CeremonyError(
            code=message.error.code or "internal",
            stage=stage.value if stage else "",
            culprits=tuple(message.error.culprits),
            detail=message.error.detail,
            retriable=message.error.retriable,
        )
    return CeremonyEvent(
        ceremony_id=message.operation_id,
        sequence=message.sequence,
        state=state,
        time_ms=message.time_ms,
        round=message.round,
        node_id=message.node_id,
        detail=message.detail,
        error=error,
        certificate=message.certificate.SerializeToString(deterministic=True)
        if message.HasField("certificate")
        else b"",
        signatures=tuple(message.signatures),
        duration_ms=message.duration_ms,
    )
