"""Sealing to one party of a session: X25519 between two ephemeral keys, HKDF-SHA256, ChaCha20-Poly1305.

Both keys live for one session, so what was sealed stays sealed when an identity key is stolen later. Who the keys
belong to is settled by the signed messages that carried them.
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyquorum_core_signer.primitives.transcript import associated_data

KEY_LENGTH: Final = 32  # of either half of an X25519 key pair
_TAG: Final = "keyquorum/sealed/v1"
_NONCE: Final = bytes(12)  # every key seals once: sender, recipient and session are in its derivation


class InvalidKey(ValueError):
    """Proves that a public key is of small order: every secret gives it the same shared value."""


class CannotOpen(ValueError):
    """Proves that bytes were not sealed under these keys for this place."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed message belongs; it opens nowhere else."""

    context: bytes  # digest of the session's context
    sender: int
    recipient: int
    sender_key: bytes
    recipient_key: bytes


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """The Diffie-Hellman value of two parties' keys."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The ephemeral key pair of one party in one session."""

    secret: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return X25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    def shared(self, peer: bytes) -> SharedSecret:
        """The value shared with a peer's public key; :class:`InvalidKey` if that is of small order."""
        try:
            public = X25519PublicKey.from_public_bytes(peer)
            return SharedSecret(X25519PrivateKey.from_private_bytes(self.secret).exchange(public))
        except ValueError:
            raise InvalidKey("a public key of small order or wrong length") from None


def seal(shared: SharedSecret, place: Place, plaintext: bytes) -> bytes:
    """Seal under the shared value of sender and recipient; at most one message per place."""
    bound = associated_data(_TAG, place)
    return ChaCha20Poly1305(_key(shared, bound)).encrypt(_NONCE, plaintext, bound)


def unseal(shared: SharedSecret, place: Place, sealed: bytes) -> bytes:
    """Inverse of :func:`seal`; :class:`CannotOpen` for anything else."""
    bound = associated_data(_TAG, place)
    try:
        return ChaCha20Poly1305(_key(shared, bound)).decrypt(_NONCE, sealed, bound)
    except (InvalidTag, ValueError):
        raise CannotOpen("not sealed under these keys for this place") from None


def _key(shared: SharedSecret, bound: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_LENGTH, salt=None, info=bound).derive(shared.value)
