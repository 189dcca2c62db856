"""BIP341 outputs without a script: the internal key P, the output key Q = P + H_TapTweak(x(P)) * G, and signatures for Q."""

from functools import lru_cache

from coincurve import PublicKeyXOnly
from embit.hashes import tagged_hash

from keyquorum_btc.limits import SIGNATURE_BYTES
from keyquorum_plugin_api.errors import InvalidAddress

KEY_BYTES = 32
COMPRESSED_KEY_BYTES = 33
KEPT_MAX = 4096  # scripts of accounts
SCRIPT_PREFIX = b"\x51\x20"  # OP_1, 32 bytes


def internal_key_of(public_key: bytes) -> bytes:
    """The x coordinate (32 bytes) of a compressed key (33 bytes); :class:`InvalidAddress` if it is no point."""
    if not isinstance(public_key, bytes) or len(public_key) != COMPRESSED_KEY_BYTES or public_key[0] not in (2, 3):
        raise InvalidAddress("a public key is a compressed point of 33 bytes")
    _point(public_key[1:])
    return public_key[1:]


def output_key(internal_key: bytes) -> bytes:
    """Q (32 bytes) of P (32 bytes) for an output without a script tree; the tweak is BIP341's for the empty root."""
    Q = _point(internal_key)
    try:
        Q.tweak_add(tagged_hash("TapTweak", internal_key))
    except ValueError:
        raise InvalidAddress("the public key cannot be tweaked") from None
    return Q.format()


@lru_cache(KEPT_MAX)
def output_script(internal_key: bytes) -> bytes:
    """The scriptPubKey of a key: OP_1 and Q."""
    return SCRIPT_PREFIX + output_key(internal_key)


def require_point(x_only: bytes) -> None:
    """:class:`InvalidAddress` unless the 32 bytes are the x coordinate of a point of the curve."""
    _point(x_only)


def verifies(signature: bytes, message: bytes, internal_key: bytes) -> bool:
    """Whether a BIP340 signature of a 32-byte message verifies under the output key of ``internal_key``."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    return bool(_point(output_key(internal_key)).verify(bytes(signature), message))


def _point(x_only: bytes) -> PublicKeyXOnly:
    if not isinstance(x_only, bytes) or len(x_only) != KEY_BYTES:  # libsecp256k1 would read past a shorter one
        raise InvalidAddress("an x-only public key has 32 bytes")
    try:
        return PublicKeyXOnly(x_only)
    except ValueError:
        raise InvalidAddress("the public key is no point of the curve") from None
