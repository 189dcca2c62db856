"""How a party says no to a coordinator."""

from collections.abc import Iterable

from keyquorum_protos.signer.v1 import signer_pb2

QUORUM_UNAVAILABLE = "quorum-unavailable"
KEY_NOT_FOUND = "key-not-found"
OPERATION_CONFLICT = "operation-conflict"
POLICY_DENIED = "policy-denied"
INTENT_INVALID = "intent-invalid"
DEADLINE_EXCEEDED = "deadline-exceeded"
OVERLOADED = "overloaded"
PROTOCOL_ABORT = "protocol-abort"
INTERNAL = "internal"


class Refusal(Exception):
    """Says that this party takes no part, or no further part, in a session.

    ``code`` is one of OperationError's; ``detail`` is English, without secrets; ``rule`` names the broken rule for the
    audit; ``retriable`` says whether the same intent may be tried again, with another quorum or later.
    """

    def __init__(
        self, code: str, detail: str, *, rule: str = "", retriable: bool = False, culprits: Iterable[str] = ()
    ) -> None:
        self.code = code
        self.detail = detail
        self.rule = rule or code
        self.retriable = retriable
        self.culprits = tuple(culprits)
        super().__init__(f"{code}: {detail}")

    def to_proto(self, stage: "signer_pb2.OperationState.ValueType") -> signer_pb2.OperationError:
        """As it goes to the coordinator."""
        return signer_pb2.OperationError(
            code=self.code, stage=stage, culprits=self.culprits, detail=self.detail, retriable=self.retriable
        )
