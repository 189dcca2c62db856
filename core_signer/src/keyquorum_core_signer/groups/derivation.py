"""Public child keys: one additive tweak and one chain code per index, computed from public data alone.

A tweak is added to the key and to every party's share, so nobody learns more than before and no round is spent. Only
non-hardened indices exist: a hardened one hashes the private key, which is nowhere.
"""

import hashlib
import hmac
from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar

INDEX_LIMIT: Final = 1 << 31  # BIP-32: from here on indices are hardened
_ED25519_TAG: Final = b"keyquorum/ed25519-child/v1"


class UnusableIndex(ValueError):
    """Proves that there is no child key at an index; the next one is to be taken. Chance: below 2^-127."""


def bip32_child(parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
    """BIP-32's CKDpub without its final addition: I = HMAC-SHA512(c_par, ser_P(K_par) || ser_32(i)), split in two."""
    digest = hmac.digest(chain_code, parent.to_bytes() + _ser32(index), hashlib.sha512)
    tweak = int.from_bytes(digest[:32], "big")
    if tweak >= parent.group.order:
        raise UnusableIndex("I_L is not below the group order")
    return parent.group.scalar(tweak), digest[32:]


def ed25519_child(parent: Point, chain_code: bytes, index: int) -> tuple[Scalar, bytes]:
    """Keyquorum's additive derivation for Ed25519, where SLIP-10 knows hardened children only.

    With D(p) = HMAC-SHA512(c_par, "keyquorum/ed25519-child/v1" || p || A_par || ser_32(i)), all parts of fixed length:
    tweak = D(0x00), 64 bytes little-endian, modulo the group order; chain code = the first 32 bytes of D(0x01).
    """
    data = parent.to_bytes() + _ser32(index)
    tweak = hmac.digest(chain_code, _ED25519_TAG + b"\x00" + data, hashlib.sha512)
    child_code = hmac.digest(chain_code, _ED25519_TAG + b"\x01" + data, hashlib.sha512)[:32]
    return parent.group.reduce_wide(tweak), child_code


def _ser32(index: int) -> bytes:
    if not 0 <= index < INDEX_LIMIT:
        raise UnusableIndex("only non-hardened indices, 0 to 2^31 - 1, can be derived")
    return index.to_bytes(4, "big")
