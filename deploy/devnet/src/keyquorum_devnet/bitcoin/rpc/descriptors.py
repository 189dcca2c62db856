"""Output descriptors (BIP 380, BIP 385), as far as a single script is one: ``addr(…)`` and ``raw(…)``."""

import re

from embit.descriptor.checksum import add_checksum

from keyquorum_devnet.bitcoin.faults import INVALID_ADDRESS_OR_KEY, RpcFault
from keyquorum_devnet.bitcoin.scripts import InvalidAddress, Kind, address_of, kind_of, script_of

_DESCRIPTOR = re.compile(r"(?P<body>(?P<name>addr|raw)\((?P<of>[0-9a-zA-Z]*)\))(?:#(?P<checksum>.*))?")


def script_of_descriptor(text: str) -> bytes:
    """The script that a descriptor describes; :class:`RpcFault` -5. A checksum is checked where there is one."""
    match = _DESCRIPTOR.fullmatch(text)
    if match is None:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, f"'{text[:128]}' is not a valid descriptor function")
    expected = add_checksum(match["body"]).rpartition("#")[2]
    if match["checksum"] is not None and match["checksum"] != expected:
        reason = f"Provided checksum '{match['checksum'][:16]}' does not match computed checksum '{expected}'"
        raise RpcFault(INVALID_ADDRESS_OR_KEY, reason)
    try:
        return script_of(match["of"]) if match["name"] == "addr" else bytes.fromhex(match["of"])
    except InvalidAddress:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Address is not valid") from None
    except ValueError:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Raw script is not hex") from None


def descriptor_of(script: bytes) -> str:
    """What bitcoind infers from a script alone, with its checksum."""
    address = address_of(script)
    if kind_of(script) is Kind.P2TR:
        body = f"rawtr({script[2:].hex()})"
    else:
        body = f"raw({script.hex()})" if address is None else f"addr({address})"
    described: str = add_checksum(body)
    return described
