"""Which group, hashes and verification equation belong to a signature scheme.

:func:`suite_for` knows the schemes that wallets hold keys for. ``frost`` signs for a :class:`FrostSuite` as RFC 9591
says and for :class:`Bip340` as BIP-445 does; threshold ECDSA protocols sign for :class:`Ecdsa`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from keyquorum_core_signer.groups.ciphersuite import Group, InvalidEncoding, Point, Scalar
from keyquorum_core_signer.groups.derivation import bip32_child, ed25519_child
from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.hash_to_field import expand_message_xmd
from keyquorum_core_signer.groups.secp256k1 import SECP256K1

_EVEN_Y: Final = 2  # SEC 1's first byte of a compressed point


class Suite(ABC):
    """A signature scheme over a group of prime order. One instance per scheme, without state."""

    scheme: ClassVar[str]  # the name that wallets and intents use
    context_string: ClassVar[str]  # enters every hash of a session
    group: ClassVar[Group]

    @abstractmethod
    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is valid and canonical; false, never an exception, for malformed input."""

    @abstractmethod
    def child(self, parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
        """The tweak and chain code of a non-hardened child; see :mod:`~keyquorum_core_signer.groups.derivation`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.scheme}>"


class FrostSuite(Suite):
    """A ciphersuite of RFC 9591: section 6's five hash functions and the encoding of a signature."""

    @abstractmethod
    def h1(self, message: bytes) -> Scalar:
        """For binding factors."""

    @abstractmethod
    def h2(self, message: bytes) -> Scalar:
        """For the challenge."""

    @abstractmethod
    def h3(self, message: bytes) -> Scalar:
        """For nonces."""

    @abstractmethod
    def h4(self, message: bytes) -> bytes:
        """For the message in binding factors."""

    @abstractmethod
    def h5(self, message: bytes) -> bytes:
        """For the commitment list in binding factors."""

    def encode_signature(self, R: Point, z: Scalar) -> bytes:
        """The signature as verifiers take it."""
        return R.to_bytes() + z.to_bytes()


class FrostEd25519(FrostSuite):
    """FROST(Ed25519, SHA-512), RFC 9591 section 6.1: signatures of RFC 8032."""

    scheme = "eddsa_ed25519"
    context_string = "FROST-ED25519-SHA512-v1"
    group = ED25519

    def h1(self, message: bytes) -> Scalar:
        """SHA-512, tagged "rho", modulo the order."""
        return self.group.reduce_wide(self._tagged(b"rho", message))

    def h2(self, message: bytes) -> Scalar:
        """SHA-512 without a tag, as RFC 8032 verifiers compute it."""
        return self.group.reduce_wide(hashlib.sha512(message).digest())

    def h3(self, message: bytes) -> Scalar:
        """SHA-512, tagged "nonce", modulo the order."""
        return self.group.reduce_wide(self._tagged(b"nonce", message))

    def h4(self, message: bytes) -> bytes:
        """SHA-512, tagged "msg"."""
        return self._tagged(b"msg", message)

    def h5(self, message: bytes) -> bytes:
        """SHA-512, tagged "com"."""
        return self._tagged(b"com", message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """libsodium: canonical encodings only, no small-order key or R, no cofactor."""
        if len(public_key) != 32 or len(signature) != 64:
            return False
        try:
            crypto_sign_open(signature + message, public_key)
        except BadSignatureError:
            return False
        return True

    def child(self, parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
        """Additive, for want of a standard."""
        return ed25519_child(parent, chain_code, index)

    def _tagged(self, tag: bytes, message: bytes) -> bytes:
        return hashlib.sha512(self.context_string.encode() + tag + message).digest()


class FrostSecp256k1(FrostSuite):
    """FROST(secp256k1, SHA-256), RFC 9591 section 6.5. No chain verifies its signatures: Taproot's are BIP-340's."""

    scheme = "schnorr_rfc9591_secp256k1"
    context_string = "FROST-secp256k1-SHA256-v1"
    group = SECP256K1

    def h1(self, message: bytes) -> Scalar:
        """hash_to_field, tagged "rho"."""
        return self._to_scalar(b"rho", message)

    def h2(self, message: bytes) -> Scalar:
        """hash_to_field, tagged "chal"."""
        return self._to_scalar(b"chal", message)

    def h3(self, message: bytes) -> Scalar:
        """hash_to_field, tagged "nonce"."""
        return self._to_scalar(b"nonce", message)

    def h4(self, message: bytes) -> bytes:
        """SHA-256, tagged "msg"."""
        return hashlib.sha256(self.context_string.encode() + b"msg" + message).digest()

    def h5(self, message: bytes) -> bytes:
        """SHA-256, tagged "com"."""
        return hashlib.sha256(self.context_string.encode() + b"com" + message).digest()

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """RFC 9591 appendix B, z * G == R + c * Y; no library knows this scheme."""
        try:
            R = self.group.decode_point(signature[:33])
            z = self.group.decode_scalar(signature[33:])
            Y = self.group.decode_point(public_key)
        except InvalidEncoding:
            return False
        c = self.h2(R.to_bytes() + Y.to_bytes() + message)
        return self.group.base_multiply(z) == R + self.group.multiply(Y, c)

    def child(self, parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
        """BIP-32."""
        return bip32_child(parent, chain_code, index)

    def _to_scalar(self, tag: bytes, message: bytes) -> Scalar:
        uniform = expand_message_xmd(message, self.context_string.encode() + tag, 48)  # L of the suite
        return self.group.reduce_wide(uniform)


class Bip340(Suite):
    """Schnorr signatures of BIP-340, over keys held as 33-byte points."""

    scheme = "schnorr_bip340"
    context_string = "keyquorum-bip340-secp256k1-v1"
    group = SECP256K1

    def tagged_hash(self, tag: str, message: bytes) -> bytes:
        """BIP-340's SHA-256(SHA-256(tag) || SHA-256(tag) || message)."""
        prefix = hashlib.sha256(tag.encode()).digest()
        return hashlib.sha256(prefix + prefix + message).digest()

    def hash_to_scalar(self, tag: str, message: bytes) -> Scalar:
        """The tagged hash modulo the order, which is so close to 2^256 that the bias is below 2^-127."""
        return self.group.scalar(int.from_bytes(self.tagged_hash(tag, message), "big"))

    def x_only(self, point: Point) -> bytes:
        """The x of a point that is not the identity, 32 bytes."""
        return point.to_bytes()[1:]

    def has_even_y(self, point: Point) -> bool:
        """Whether the point is the one that its x stands for."""
        return point.to_bytes()[0] == _EVEN_Y

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """libsecp256k1; the key's parity does not matter, as x alone is the BIP-340 key."""
        key = ffi.new("secp256k1_xonly_pubkey *")
        if len(public_key) != 33 or public_key[0] not in (2, 3) or len(signature) != 64:
            return False
        context = GLOBAL_CONTEXT.ctx
        return bool(
            lib.secp256k1_xonly_pubkey_parse(context, key, public_key[1:])
            and lib.secp256k1_schnorrsig_verify(context, signature, message, len(message), key)
        )

    def child(self, parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
        """BIP-32."""
        return bip32_child(parent, chain_code, index)


class Ecdsa(Suite):
    """ECDSA over secp256k1: r and s, 32 bytes each, s in the lower half; the message is its 32-byte digest."""

    scheme = "ecdsa_secp256k1"
    context_string = "keyquorum-ecdsa-secp256k1-v1"
    group = SECP256K1

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """libsecp256k1, which takes no high s."""
        key = ffi.new("secp256k1_pubkey *")
        parsed = ffi.new("secp256k1_ecdsa_signature *")
        if len(public_key) != 33 or len(message) != 32 or len(signature) != 64:
            return False
        context = GLOBAL_CONTEXT.ctx
        return bool(
            lib.secp256k1_ec_pubkey_parse(context, key, public_key, len(public_key))
            and lib.secp256k1_ecdsa_signature_parse_compact(context, parsed, signature)
            and lib.secp256k1_ecdsa_verify(context, parsed, message, key)
        )

    def child(self, parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
        """BIP-32."""
        return bip32_child(parent, chain_code, index)


FROST_ED25519: Final = FrostEd25519()
FROST_SECP256K1: Final = FrostSecp256k1()
BIP340: Final = Bip340()
ECDSA: Final = Ecdsa()

_BY_SCHEME: Final[Mapping[str, Suite]] = {suite.scheme: suite for suite in (FROST_ED25519, BIP340, ECDSA)}


def suite_for(scheme: str) -> Suite:
    """The suite of a wallet's scheme; ``KeyError`` for an unknown name."""
    return _BY_SCHEME[scheme]
