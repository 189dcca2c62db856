"""Check of signatures before they leave the gateway, by a library that had no part in making them."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERIFIABLE: Final = frozenset({"eddsa_ed25519", "ecdsa_secp256k1"})
"""Schemes that :func:`verifies` knows. OpenSSL has no BIP340, so a raw BIP340 signature cannot be released here."""

_RS_BYTES: Final = 64


def verifies(scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is valid: of the whole message for Ed25519, of the 32-byte digest for ECDSA (r ‖ s [‖ v])."""
    try:
        if scheme == "eddsa_ed25519":
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        elif scheme == "ecdsa_secp256k1":
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:_RS_BYTES], "big")
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
