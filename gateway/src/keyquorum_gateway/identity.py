"""Ed25519 signatures with a purpose: the gateway's own initiator key, and the check of everybody else's.

What is signed is ``tag || 0x00 || data``, so that a signature made for an intent is never one for an address. The
core signer has the same rule; this is the gateway's own implementation of it, over another library.
"""

import hashlib
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

INTENT_TAG: Final = "keyquorum/intent/v1"
KEY_CERTIFICATE_TAG: Final = "keyquorum/key-certificate/v1"
ADDRESS_TAG: Final = "keyquorum/address/v1"

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def tagged(tag: str, data: bytes) -> bytes:
    """What is signed and hashed for ``data`` under ``tag``."""
    return tag.encode() + b"\x00" + data


def hash_tagged(tag: str, data: bytes) -> bytes:
    """SHA-256 of the tagged bytes, 32 bytes."""
    return hashlib.sha256(tagged(tag, data)).digest()


class InitiatorKey:
    """The gateway's Ed25519 secret key. It signs intents and nothing else."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: Final = private.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> "InitiatorKey":
        """The key of a 32-byte RFC 8032 seed; ValueError for any other length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign_intent(self, intent: bytes) -> bytes:
        """Sign serialized intent bytes; 64 bytes."""
        return self._private.sign(tagged(INTENT_TAG, intent))

    def __repr__(self) -> str:
        return f"InitiatorKey(public={self.public.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an initiator key is not pickled")


def verify(public: bytes, tag: str, data: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is ``public``'s on ``data`` for the purpose ``tag``; wrong lengths are simply false."""
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, tagged(tag, data))
    except (InvalidSignature, ValueError):
        return False
    return True
