"""Check of signatures before they leave the gateway, by a library that had no part in making them."""

import hashlib
from typing import Final

from coincurve import PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_RS_BYTES: Final = 64
_COMPRESSED_BYTES: Final = 33
_TAPTWEAK: Final = hashlib.sha256(b"TapTweak").digest()


def verifies(scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is valid: of the whole message for Ed25519, of the 32-byte digest otherwise.

    ECDSA is r ‖ s [‖ v]. BIP340 is under the Taproot output key of ``public_key``, which is the internal key (BIP341,
    an output without a script).
    """
    try:
        if scheme == "eddsa_ed25519":
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        elif scheme == "ecdsa_secp256k1":
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:_RS_BYTES], "big")
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        elif scheme == "schnorr_bip340":
            return _output_key(public_key).verify(signature, message)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _output_key(internal_key: bytes) -> PublicKeyXOnly:
    if len(internal_key) != _COMPRESSED_BYTES:
        raise ValueError("not a compressed point")
    key = PublicKeyXOnly(internal_key[1:])
    key.tweak_add(hashlib.sha256(_TAPTWEAK + _TAPTWEAK + internal_key[1:]).digest())
    return key
