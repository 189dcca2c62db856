"""BIP-340 signatures for Taproot outputs, checked from the key certificate with nothing that the parties run."""

import hashlib
import hmac
from typing import Final

from coincurve import PublicKey, PublicKeyXOnly

HARDENED: Final = 1 << 31


def signature_verifies(
    internal_key: bytes, chain_code: bytes, path: tuple[int, ...], message: bytes, signature: bytes
) -> bool:
    """Whether libsecp256k1 takes ``signature`` for the output, without a script, of the key's child at ``path``.

    ``internal_key`` is the certified 33-byte key, ``path`` is of non-hardened BIP-32. False, never an exception, for a
    malformed key or signature and a path without a child.
    """
    try:
        key = PublicKey(internal_key)
        for index in path:
            if not 0 <= index < HARDENED:
                return False
            digest = hmac.digest(chain_code, key.format() + index.to_bytes(4, "big"), hashlib.sha512)
            key, chain_code = key.add(digest[:32]), digest[32:]
        x = key.format()[1:]
        output = PublicKeyXOnly(x)
        tag = hashlib.sha256(b"TapTweak").digest()
        output.tweak_add(hashlib.sha256(tag + tag + x).digest())
        return output.verify(signature, message)
    except ValueError:
        return False
