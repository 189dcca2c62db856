"""RFC 9380: hashing to a field, with SHA-256."""

import hashlib
from typing import Final

_BLOCK_LENGTH: Final = 64  # s_in_bytes of SHA-256
_DIGEST_LENGTH: Final = 32  # b_in_bytes


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """``length`` uniform bytes (section 5.3.1); the domain separation tag is at most 255 bytes."""
    blocks = -(-length // _DIGEST_LENGTH)
    if not 0 < blocks <= 255 or len(dst) > 255:
        raise ValueError("output or domain separation tag too long")
    dst_prime = dst + bytes([len(dst)])
    z_pad = bytes(_BLOCK_LENGTH)
    l_i_b = length.to_bytes(2, "big")
    b_0 = hashlib.sha256(z_pad + message + l_i_b + b"\x00" + dst_prime).digest()
    b_i = hashlib.sha256(b_0 + b"\x01" + dst_prime).digest()
    uniform = b_i
    for i in range(2, blocks + 1):
        mixed = bytes(x ^ y for x, y in zip(b_0, b_i, strict=True))
        b_i = hashlib.sha256(mixed + bytes([i]) + dst_prime).digest()
        uniform += b_i
    return uniform[:length]
