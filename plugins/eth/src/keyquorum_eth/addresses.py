"""Addresses: the last 20 bytes of the Keccak-256 of a public key, spelled with EIP-55's checksum.

What nobody can move again is refused as a destination: the zero address and its neighbours, where the precompiled
contracts and the customary burn addresses lie, and the placeholder that stands for the chain's own coin in many interfaces.
"""

import re
from functools import lru_cache

from coincurve import PublicKey
from eth_utils.crypto import keccak

from keyquorum_plugin_api.errors import InvalidAddress

ADDRESS_BYTES = 20
_RESERVED_BELOW = 0x10000  # precompiles are numbered from 1 (EIP-7951's is 0x100), and 0x…dead is a grave
_COIN_PLACEHOLDER = b"\xee" * ADDRESS_BYTES
_FORM = re.compile(r"0x[0-9a-fA-F]{40}")


@lru_cache(maxsize=4096)
def checksummed(address: bytes) -> str:
    """The EIP-55 spelling of 20 bytes."""
    text = address.hex()
    digest = keccak(text.encode("ascii")).hex()
    return "0x" + "".join(letter.upper() if int(digest[at], 16) >= 8 else letter for at, letter in enumerate(text))


def parse_address(address: str) -> bytes:
    """20 bytes, from EIP-55 or from letters of one case, which carry no checksum; :class:`InvalidAddress` otherwise."""
    if not isinstance(address, str) or not _FORM.fullmatch(address):
        raise InvalidAddress("an Ethereum address is 0x and 40 hexadecimal digits")
    digits = address[2:]
    found = bytes.fromhex(digits)
    if digits not in (digits.lower(), digits.upper()) and checksummed(found) != address:
        raise InvalidAddress("the address's checksum is wrong: a letter was mistyped")
    return found


def parse_destination(address: str) -> bytes:
    """20 bytes of an address that may receive; :class:`InvalidAddress` for one nobody could move anything from."""
    return require_destination(parse_address(address))


def require_destination(address: bytes) -> bytes:
    """The address, unless what it receives is lost."""
    if int.from_bytes(address, "big") < _RESERVED_BELOW or address == _COIN_PLACEHOLDER:
        raise InvalidAddress("the address is nobody's: what it receives is lost")
    return address


def address_of(public_key: bytes) -> bytes:
    """The address of a compressed secp256k1 public key (33 bytes); :class:`InvalidAddress` if it is no point."""
    if not isinstance(public_key, bytes) or len(public_key) != 33:
        raise InvalidAddress("a compressed secp256k1 public key has 33 bytes")
    return _address_of(public_key)


@lru_cache(maxsize=4096)  # of the wallet's accounts, which come again and again
def _address_of(public_key: bytes) -> bytes:
    try:
        point = PublicKey(public_key).format(compressed=False)
    except ValueError:
        raise InvalidAddress("the public key is no point of the curve") from None
    return keccak(point[1:])[-ADDRESS_BYTES:]
