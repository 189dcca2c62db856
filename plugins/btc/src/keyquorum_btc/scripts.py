"""Addresses that the online half meets again and again, parsed once: decoding bech32 in Python takes as long as signing."""

from functools import lru_cache

from keyquorum_btc import addresses

ADDRESSES_MAX = 8_192  # remembered; about 300 bytes each


@lru_cache(maxsize=ADDRESSES_MAX)
def parse_destination(address: str, chain: str) -> bytes:
    """As :func:`~keyquorum_btc.addresses.parse_destination`; what is refused is parsed again."""
    return addresses.parse_destination(address, chain)


@lru_cache(maxsize=ADDRESSES_MAX)
def canonical_address(address: str, chain: str) -> str:
    """As :func:`~keyquorum_btc.addresses.canonical_address`."""
    return addresses.canonical_address(address, chain)
