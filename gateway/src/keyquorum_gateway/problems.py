"""Everything that can go wrong towards a client, as RFC 9457 problems with a machine-readable code.

One table decides status, title and whether the same request may simply be sent again. 500, 502 and 504 mean that the
outcome is unknown until the operation is looked at; 503 means that nothing happened.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from keyquorum_plugin_api.errors import ChainError
from keyquorum_plugin_api.signer import SigningError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2


class Kind(NamedTuple):
    """What a code means over HTTP."""

    status: int
    title: str
    retriable: bool = False


CATALOGUE: Final[Mapping[str, Kind]] = {
    # the request itself
    "malformed-json": Kind(400, "The body is not JSON"),
    "idempotency-key-missing": Kind(400, "This call needs an Idempotency-Key"),
    "idempotency-key-invalid": Kind(400, "The Idempotency-Key is not usable"),
    "bad-request": Kind(400, "The request cannot be understood"),
    "authentication-required": Kind(401, "An API key is needed"),
    "invalid-api-key": Kind(401, "The API key is not valid"),
    "insufficient-scope": Kind(403, "The API key may not do this"),
    "tenant-not-enrolled": Kind(403, "The roster does not know the tenant"),
    "chain-not-enabled": Kind(403, "The chain is not enabled for the caller"),
    "not-found": Kind(404, "There is no such resource"),
    "unknown-chain": Kind(422, "The gateway does not serve this chain"),
    "method-not-allowed": Kind(405, "The resource has no such method"),
    "not-acceptable": Kind(406, "No such representation"),
    "request-timeout": Kind(408, "The body took too long", retriable=True),
    "idempotency-key-in-use": Kind(409, "A request with this Idempotency-Key is still running", retriable=True),
    "external-id-taken": Kind(409, "Another transaction has this external_id"),
    "not-replaceable": Kind(409, "The transaction cannot be replaced any more"),
    "already-replaced": Kind(409, "Another transaction is in its place"),
    "operation-not-awaiting": Kind(409, "The operation does not wait for an authorization"),
    "body-too-large": Kind(413, "The body is too large"),
    "unsupported-media-type": Kind(415, "The body is not application/json"),
    "validation-failed": Kind(422, "The request has invalid fields"),
    "idempotency-key-reused": Kind(422, "The Idempotency-Key was used with another request"),
    "authorization-invalid": Kind(422, "The authorization is not the initiator's"),
    "no-key-for-chain": Kind(422, "The wallet has no key of the chain's scheme"),
    "one-chain-per-key": Kind(422, "A payload for one chain would be valid on the other"),
    "wallet-not-active": Kind(409, "The wallet's keys do not exist"),
    "raw-not-allowed": Kind(403, "The key's policy does not allow raw messages"),
    "rate-limited": Kind(429, "Too many requests", retriable=True),
    "too-many-pending": Kind(429, "Too many operations wait for an authorization"),
    # the chain
    "invalid-address": Kind(422, "The address is not valid on this chain"),
    "invalid-amount": Kind(422, "The amount is not valid"),
    "unsupported-asset": Kind(422, "The asset cannot be moved"),
    "insufficient-funds": Kind(422, "The account cannot pay amount and fee"),
    "nonce-conflict": Kind(409, "Another transaction of the account was faster", retriable=True),
    "fee-too-low": Kind(422, "The network wants a higher fee"),
    "fee-too-high": Kind(422, "The fee is above the ceiling"),
    "transaction-expired": Kind(409, "The transaction can no longer be included"),
    "transaction-rejected": Kind(422, "The node refused the transaction"),
    "invalid-payload": Kind(422, "The payload cannot be explained"),
    "signature-invalid": Kind(422, "A signature does not verify"),
    "unsupported-operation": Kind(422, "The chain does not offer this"),
    "chain-unavailable": Kind(503, "The chain's node cannot be reached", retriable=True),
    "invalid-configuration": Kind(500, "The chain is not configured correctly"),
    "chain-error": Kind(502, "The chain's adapter failed"),
    "outcome-unknown": Kind(502, "It is not known whether it happened"),
    "adapter-refused": Kind(502, "The adapter built something else than what was asked for"),
    # the signing side
    "quorum-unavailable": Kind(503, "Too few parties can be reached", retriable=True),
    "coordinator-unavailable": Kind(503, "The coordinator cannot be reached", retriable=True),
    "busy": Kind(503, "The gateway is at its limit", retriable=True),
    "state-unavailable": Kind(503, "The gateway cannot write its state", retriable=True),
    "shutting-down": Kind(503, "The gateway is shutting down", retriable=True),
    "policy-denied": Kind(403, "The key's policy does not allow this"),
    "intent-invalid": Kind(422, "The parties refused the intent"),
    "scheme-unavailable": Kind(422, "The parties do not offer this scheme"),
    "key-not-found": Kind(404, "The parties do not have this key"),
    "operation-conflict": Kind(409, "Another operation has the same intent nonce"),
    "authorization-expired": Kind(409, "Nobody authorized the intent in time"),
    "certificate-refused": Kind(502, "The key certificate does not prove what was asked for"),
    "attestation-refused": Kind(502, "The address attestation does not prove what was asked for"),
    "protocol-abort": Kind(502, "The ceremony was aborted"),
    "deadline-exceeded": Kind(504, "The ceremony did not end in time"),
    "interrupted": Kind(503, "The gateway was restarted before anything was signed", retriable=True),
    "internal": Kind(500, "The gateway failed"),
}

_UNKNOWN: Final = Kind(502, "The signing side failed")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: a JSON pointer into the body, or ``?name`` for a query parameter."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):
    """Ends a request with a problem. ``detail`` is shown to the client and holds no secret."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        operation_id: str = "",
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        kind = CATALOGUE.get(code, _UNKNOWN)
        self.code = code
        self.status = status or kind.status
        self.title = kind.title
        self.retriable = kind.retriable
        self.detail = detail or kind.title
        self.errors = tuple(errors)
        self.operation_id = operation_id
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})
        if self.status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        super().__init__(f"{code}: {self.detail}")

    def body(self, instance: str, trace_id: str) -> bytes:
        """The problem document."""
        document: dict[str, Any] = {
            "type": f"urn:keyquorum:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "retriable": self.retriable,
            "trace_id": trace_id,
        }
        if self.operation_id:
            document["operation_id"] = self.operation_id
        if self.errors:
            document["errors"] = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in self.errors]
        document.update(self.extensions)
        return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation ended without its result, as it is stored and shown."""

    code: str
    detail: str
    stage: str = ""
    culprits: tuple[str, ...] = field(default=())
    retriable: bool = False

    def problem(self, operation_id: str) -> Problem:
        """The problem that a waiting client gets."""
        extensions: dict[str, Any] = {"stage": self.stage} if self.stage else {}
        if self.culprits:
            extensions["culprits"] = list(self.culprits)
        return Problem(self.code, self.detail, operation_id=operation_id, extensions=extensions)


class OperationFailed(Exception):
    """Ends an operation, or a request without one, with a code of :data:`CATALOGUE`."""

    def __init__(self, code: str, detail: str, *, culprits: Sequence[str] = ()) -> None:
        self.code = code
        self.detail = detail
        self.culprits = tuple(culprits)
        super().__init__(f"{code}: {detail}")


def failure_of(error: Exception, stage: str) -> Failure:
    """An exception as an operation's failure. What nobody raised on purpose says nothing about itself to a client."""
    if not isinstance(error, ChainError | SigningError | Problem | OperationFailed):
        return Failure("internal", "an unexpected error; the log has it under the trace id", stage)
    culprits: tuple[str, ...] = getattr(error, "culprits", ())
    return Failure(error.code, error.detail, stage, culprits, CATALOGUE.get(error.code, _UNKNOWN).retriable)


def problem_of(error: ChainError | SigningError | OperationFailed) -> Problem:
    """A typed error, raised outside an operation, as a problem."""
    return Problem(error.code, error.detail)
