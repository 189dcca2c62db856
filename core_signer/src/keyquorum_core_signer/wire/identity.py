"""Identity keys: the Ed25519 keys that a roster pins, and signatures that say what they are for.

Every signature covers a tag and the bytes as they travel, so that one made for an envelope is never one for a
certificate. Nothing is re-encoded before it is checked: whoever parses the bytes afterwards parses what was signed.
"""

import secrets
from typing import NoReturn

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

ENVELOPE_TAG = "keyquorum/envelope/v1"
INTENT_TAG = "keyquorum/intent/v1"
KEY_CERTIFICATE_TAG = "keyquorum/key-certificate/v1"
ADDRESS_TAG = "keyquorum/address/v1"


def tagged(tag: str, data: bytes) -> bytes:
    """What is signed or hashed for ``data`` under ``tag``; injective, because a tag holds no zero byte.

    Raises ValueError for an empty tag, or one with a zero byte.
    """
    if not tag or "\x00" in tag:
        raise ValueError("a tag is not empty and holds no zero byte")
    return tag.encode() + b"\x00" + data


class IdentityKey:
    """An Ed25519 secret key (RFC 8032). Knows how to sign; shows its seed to nobody who does not ask by name."""

    __slots__ = ("_public", "_signing_key")

    def __init__(self, signing_key: SigningKey) -> None:
        self._signing_key = signing_key
        self._public = bytes(signing_key.verify_key)

    @classmethod
    def generate(cls) -> "IdentityKey":
        """Make a new key from the operating system's randomness."""
        return cls.from_seed(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> "IdentityKey":
        """Load the key of a 32-byte RFC 8032 seed; raises ValueError for any other length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an identity seed has {SEED_BYTES} bytes")
        return cls(SigningKey(bytes(seed)))

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._public

    def expose_seed(self) -> bytes:
        """Give out the secret seed, 32 bytes: for writing the key to its file, and for handing it to a worker."""
        return bytes(self._signing_key)

    def sign(self, tag: str, data: bytes) -> bytes:
        """Sign ``data`` for the purpose ``tag``; 64 bytes."""
        return bytes(self._signing_key.sign(tagged(tag, data)).signature)

    def __repr__(self) -> str:
        return f"IdentityKey(public={self._public.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity key is not pickled")


def verify(public: bytes, tag: str, data: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` is ``public``'s on ``data`` for the purpose ``tag``.

    Checked by libsodium, which refuses small-order keys, non-canonical points and scalars over the group order; keys and
    signatures of a wrong length are simply false.
    """
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(bytes(public)).verify(tagged(tag, data), bytes(signature))
    except BadSignatureError:
        return False
    return True
