"""Addresses and the scripts that they stand for: P2PKH, P2SH (base58check), P2WPKH, P2WSH (BIP173), P2TR (BIP350).

Witness programs of version 2 and above, and of version 1 with another length than 32 bytes, have no rules yet: whatever
is paid to them, anybody may take. BIP350 asks senders to allow them; a custodian does not. Nor does it pay to a P2TR key
that is no point of the curve: nobody could ever move those coins.
"""

from functools import lru_cache

from embit import base58, bech32
from embit.script import Script

from keyquorum_btc.network import Network, require_network
from keyquorum_btc.taproot import SCRIPT_PREFIX, internal_key_of, output_script, require_point
from keyquorum_plugin_api.errors import InvalidAddress

ADDRESS_CHARS_MAX = 90  # BIP173
KEPT_MAX = 4096  # addresses and scripts, under 300 bytes each

_OP_1 = 0x51
_PROGRAM_BYTES = {0: (20, 32), 1: (32,)}
_HASH_BYTES = 20


def parse_destination(address: str, chain: str) -> bytes:
    """The scriptPubKey of an address on that network; :class:`InvalidAddress` for any other text.

    Bech32 is taken in lower or in upper case, never mixed (BIP173); base58 has one spelling.
    """
    require_network(chain)
    if not isinstance(address, str) or not 0 < len(address) <= ADDRESS_CHARS_MAX or not address.isascii():
        raise InvalidAddress("not a Bitcoin address")
    return _payable_script(address, chain)


@lru_cache(KEPT_MAX)  # bech32 is the library's pure Python, and an account's own address is in each of its payloads
def _payable_script(address: str, chain: str) -> bytes:
    script = _script(address, require_network(chain))
    require_payable(script)
    return script


def _kind(script: bytes) -> str:
    kind = Script(script).script_type()
    if kind is None:
        raise InvalidAddress("no address stands for this script")
    return str(kind)


def _bech32(network: Network, encoding: int, version: int, program: bytes) -> str:
    data = [version, *bech32.convertbits(program, 8, 5)]
    return str(bech32.bech32_encode(encoding, network.hrp, data))


def _script(address: str, network: Network) -> bytes:
    if address.lower().startswith(f"{network.hrp}1"):
        return _witness_script(address, network)
    return _hash_script(address, network)


def canonical_address(address: str, chain: str) -> str:
    """The address in the one spelling that effects use: bech32 in lower case."""
    return address_of_script(parse_destination(address, chain), chain)


@lru_cache(KEPT_MAX)
def address_of_script(script: bytes, chain: str) -> str:
    """The address of a scriptPubKey; :class:`InvalidAddress` for a script that no address stands for."""
    network = require_network(chain)
    match _kind(script):
        case "p2pkh":
            return str(base58.encode_check(bytes([network.p2pkh]) + script[3:-2]))
        case "p2sh":
            return str(base58.encode_check(bytes([network.p2sh]) + script[2:-1]))
        case "p2tr":
            return _bech32(network, bech32.Encoding.BECH32M, 1, script[2:])
        case _:
            return _bech32(network, bech32.Encoding.BECH32, 0, script[2:])


def require_payable(script: bytes) -> None:
    """:class:`InvalidAddress` for a script that no address stands for, or that nobody could ever spend from."""
    if _kind(script) == "p2tr":
        require_point(script[len(SCRIPT_PREFIX) :])


def address_of(public_key: bytes, chain: str) -> str:
    """The P2TR address of an internal key (33 bytes, compressed), tweaked for an output without a script."""
    return address_of_script(output_script(internal_key_of(public_key)), chain)


def _witness_script(address: str, network: Network) -> bytes:
    version, program = bech32.decode(network.hrp, address)
    if version is None:
        raise InvalidAddress("not a Bitcoin address: checksum, length or case")
    if len(program) not in _PROGRAM_BYTES.get(version, ()):
        raise InvalidAddress("the network gives this kind of output no rules: whoever comes first could take the coins")
    return bytes([_OP_1 + version - 1 if version else 0, len(program), *program])


def _hash_script(address: str, network: Network) -> bytes:
    try:
        decoded = base58.decode_check(address)
    except Exception:  # noqa: BLE001 - whatever the library makes of such a text
        raise InvalidAddress("not an address of this network") from None
    if len(decoded) != 1 + _HASH_BYTES:
        raise InvalidAddress("not an address of this network")
    if decoded[0] == network.p2pkh:
        return b"\x76\xa9\x14" + bytes(decoded[1:]) + b"\x88\xac"
    if decoded[0] == network.p2sh:
        return b"\xa9\x14" + bytes(decoded[1:]) + b"\x87"
    raise InvalidAddress("the address belongs to another network")
