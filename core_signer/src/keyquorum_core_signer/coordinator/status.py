"""Failures as gRPC statuses, with google.rpc.ErrorInfo in the details: reason (our code), domain, and what a client
needs to decide whether to try again.
"""

from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from keyquorum_core_signer.coordinator.failures import (
    ATTESTATION_REFUSED,
    BUSY,
    DEADLINE_EXCEEDED,
    INTENT_INVALID,
    KEY_NOT_FOUND,
    OPERATION_CONFLICT,
    OPERATION_NOT_FOUND,
    QUORUM_UNAVAILABLE,
    SCHEME_UNAVAILABLE,
    UNAVAILABLE,
    Failure,
)

ERROR_DOMAIN: Final = "keyquorum"

_DETAILS_KEY: Final = "grpc-status-details-bin"
_STATUS: Final = {
    INTENT_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    SCHEME_UNAVAILABLE: grpc.StatusCode.INVALID_ARGUMENT,
    KEY_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    OPERATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    OPERATION_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    QUORUM_UNAVAILABLE: grpc.StatusCode.FAILED_PRECONDITION,
    DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ATTESTATION_REFUSED: grpc.StatusCode.INTERNAL,
    "policy-denied": grpc.StatusCode.PERMISSION_DENIED,
}


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", failure: Failure) -> NoReturn:
    """End a call with what ``failure`` says; never returns."""
    code = _STATUS.get(failure.code, grpc.StatusCode.INTERNAL)
    info = ErrorInfo(
        reason=failure.code,
        domain=ERROR_DOMAIN,
        metadata={"retriable": "true" if failure.retriable else "false", "culprits": ",".join(failure.culprits)},
    )
    packed = AnyMessage()
    packed.Pack(info)
    details = Status(code=code.value[0], message=failure.detail, details=[packed])
    await context.abort(code, failure.detail, ((_DETAILS_KEY, details.SerializeToString()),))
