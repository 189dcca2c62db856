"""What an adapter sees of the signing side: a scheme-agnostic port that never shows a share, a presignature or a stub."""

from abc import ABC, abstractmethod

from keyquorum_plugin_api.codec import UnsignedTransaction


class Signer(ABC):
    """Signs what a codec asks for. In production a gRPC client of the core signer and nothing else; in conformance
    tests one local key."""

    @abstractmethod
    async def sign(self, unsigned: UnsignedTransaction) -> tuple[bytes, ...]:
        """Signatures in the order of ``unsigned.requests``, all or none; 64 bytes each (65 with recovery id for ECDSA).

        Raises ``SigningError`` where the signing side refuses or fails.
        """


class SigningError(Exception):
    """The signing side refused or failed. ``code`` as in the core signer's OperationError."""

    def __init__(self, code: str, detail: str, *, retriable: bool = False, operation_id: str = "") -> None:
        self.code = code
        self.detail = detail
        self.retriable = retriable
        self.operation_id = operation_id
        super().__init__(f"{code}: {detail}")
