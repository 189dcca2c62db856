"""What happened to an operation, one step after the other: what followers see and the log keeps."""

from dataclasses import dataclass

from keyquorum_core_signer.coordinator.failures import Failure
from keyquorum_core_signer.coordinator.states import TERMINAL, State
from keyquorum_protos.signer.v1 import signer_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2


@dataclass(frozen=True, slots=True)
class OperationEvent:
    """One step. ``sequence`` counts from 1 without gaps; times are milliseconds since the Unix epoch."""

    operation_id: str
    sequence: int
    state: State
    time_ms: int
    round: int = 0
    node_id: str = ""
    detail: str = ""
    failure: Failure | None = None
    certificate: certificate_pb2.SignedKeyCertificate | None = None
    signatures: tuple[bytes, ...] = ()
    duration_ms: float = 0.0

    @property
    def terminal(self) -> bool:
        """Whether nothing follows by itself."""
        return self.state in TERMINAL

    def to_proto(self) -> signer_pb2.OperationEvent:
        """As it is sent to gateways and kept in the log."""
        return signer_pb2.OperationEvent(
            operation_id=self.operation_id,
            sequence=self.sequence,
            state=signer_pb2.OperationState.ValueType(self.state),
            time_ms=self.time_ms,
            round=self.round,
            node_id=self.node_id,
            detail=self.detail,
            error=self.failure.to_proto() if self.failure else None,
            certificate=self.certificate,
            signatures=self.signatures,
            duration_ms=self.duration_ms,
        )

    @classmethod
    def from_proto(cls, event: signer_pb2.OperationEvent) -> "OperationEvent":
        """Back from the log."""
        return cls(
            operation_id=event.operation_id,
            sequence=event.sequence,
            state=State(event.state),
            time_ms=event.time_ms,
            round=event.round,
            node_id=event.node_id,
            detail=event.detail,
            failure=Failure.from_proto(event.error) if event.HasField("error") else None,
            certificate=event.certificate if event.HasField("certificate") else None,
            signatures=tuple(event.signatures),
            duration_ms=event.duration_ms,
        )
