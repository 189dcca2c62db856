"""Why an operation or a call fails: one type for what parties report, gateways see and the log keeps.

The question that decides what happens next is whether the *intent* is refused, or a *party or quorum* failed. The
first ends the operation; after the second another quorum may still carry out the same intent.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from keyquorum_core_signer.coordinator.states import State
from keyquorum_protos.signer.v1 import signer_pb2

QUORUM_UNAVAILABLE: Final = "quorum-unavailable"
INTENT_INVALID: Final = "intent-invalid"
SCHEME_UNAVAILABLE: Final = "scheme-unavailable"
KEY_NOT_FOUND: Final = "key-not-found"
OPERATION_NOT_FOUND: Final = "operation-not-found"
OPERATION_CONFLICT: Final = "operation-conflict"
PROTOCOL_ABORT: Final = "protocol-abort"
DEADLINE_EXCEEDED: Final = "deadline-exceeded"
ATTESTATION_REFUSED: Final = "attestation-refused"
BUSY: Final = "busy"
OVERLOADED: Final = "overloaded"
UNAVAILABLE: Final = "coordinator-unavailable"
INTERNAL: Final = "internal"

_OF_A_PARTY: Final = frozenset(
    {QUORUM_UNAVAILABLE, KEY_NOT_FOUND, PROTOCOL_ABORT, DEADLINE_EXCEEDED, OVERLOADED, BUSY, INTERNAL}
)
_OF_THE_MOMENT: Final = frozenset({QUORUM_UNAVAILABLE, DEADLINE_EXCEEDED, OVERLOADED, BUSY})
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_DETAIL_CHARS_MAX: Final = 512  # enough for a sentence; a party does not decide how large our answers are


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed. ``culprits`` are node ids; ``detail`` is English and holds no secret."""

    code: str
    detail: str
    stage: State | None = None
    culprits: tuple[str, ...] = ()
    retriable: bool = False

    @property
    def refuses_intent(self) -> bool:
        """Whether no other quorum would judge differently, as far as the one who said it can know."""
        return not self.retriable and self.code not in _OF_A_PARTY

    @property
    def passing(self) -> bool:
        """Whether it says more about the moment than about those who took part."""
        return self.code in _OF_THE_MOMENT

    def at(self, stage: State) -> "Failure":
        """The same failure, met in ``stage``."""
        return replace(self, stage=stage)

    def to_proto(self) -> signer_pb2.OperationError:
        """As it is sent to gateways and kept in the log."""
        return signer_pb2.OperationError(
            code=self.code,
            stage=signer_pb2.OperationState.ValueType(self.stage or 0),
            culprits=self.culprits,
            detail=self.detail,
            retriable=self.retriable,
        )

    @classmethod
    def from_proto(cls, error: signer_pb2.OperationError) -> "Failure":
        """Back from the log."""
        stage = State(error.stage) if error.stage else None
        return cls(error.code, error.detail, stage, tuple(error.culprits), error.retriable)

    @classmethod
    def from_party(cls, error: signer_pb2.OperationError, node_ids: Iterable[str]) -> "Failure":
        """What a party reported, cut to what may be passed on: known nodes, printable text, a bounded length.

        A code that is none means that the party fails at reporting a failure.
        """
        known = set(node_ids)
        return cls(
            code=error.code if _CODE.fullmatch(error.code) else INTERNAL,
            detail="".join(char if char.isprintable() else " " for char in error.detail[:_DETAIL_CHARS_MAX]),
            culprits=tuple(sorted({culprit for culprit in error.culprits if culprit in known})),
            retriable=error.retriable,
        )


class OperationFailed(Exception):
    """Ends what is being done, for the reason given."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.code}: {failure.detail}")


_SPECIFICITY: Final = (QUORUM_UNAVAILABLE, DEADLINE_EXCEEDED, OVERLOADED, BUSY, INTERNAL, KEY_NOT_FOUND, PROTOCOL_ABORT)


def specificity(failure: Failure) -> tuple[bool, bool, int]:
    """How much a failure tells a client: a refused intent most, then what names somebody, then by code."""
    known = _SPECIFICITY.index(failure.code) if failure.code in _SPECIFICITY else len(_SPECIFICITY)
    return failure.refuses_intent, bool(failure.culprits), known


def most_specific(failures: Iterable[Failure]) -> Failure | None:
    """The failure that tells a client most."""
    return max(failures, key=specificity, default=None)
