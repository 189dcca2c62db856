"""Base58 as Solana writes keys, signatures and short data: the ``base58`` library, without its leniency."""

import base58

ALPHABET = base58.BITCOIN_ALPHABET.decode()


def encode(data: bytes) -> str:
    """Text of any bytes; each leading zero byte becomes a ``1``."""
    return base58.b58encode(data).decode()


def decode(text: str) -> bytes:
    """Bytes of a text, or ValueError. The inverse of :func:`encode`, so no two texts give the same bytes."""
    data = base58.b58decode(text)
    if base58.b58encode(data).decode() != text:  # the library forgives white space at the end
        raise ValueError("not base58")
    return data
