"""What parties are given to sign: a body, and what the body itself does not say, the signer and the chain.

    kind 1 ‖ chain id 8 ‖ signer 20 ‖ body

An unsigned transaction names its chain and no sender; a message names neither. Kinds are the byte that tells the three
apart in Ethereum's own formats: 0x02 the unsigned serialization of EIP-1559, 0x45 the text of EIP-191, 0x01 the document of
EIP-712 in the one spelling of :mod:`.typed_data`. Chain id and signer are part of what is decoded, checked against the body
wherever the body has an opinion, and against the accounts of the key.
"""

from dataclasses import dataclass
from enum import Enum

from keyquorum_eth.addresses import ADDRESS_BYTES
from keyquorum_eth.limits import DOCUMENT_BYTES_MAX, MESSAGE_BYTES_MAX, TRANSFER_BYTES_MAX
from keyquorum_plugin_api.errors import InvalidPayload

_CHAIN_BYTES = 8
_BODY_AT = 1 + _CHAIN_BYTES + ADDRESS_BYTES


class Kind(Enum):
    """What the body is."""

    TRANSACTION = b"\x02"
    MESSAGE = b"\x45"
    DOCUMENT = b"\x01"


_BYTES_MAX = {
    Kind.TRANSACTION: TRANSFER_BYTES_MAX,
    Kind.MESSAGE: MESSAGE_BYTES_MAX,
    Kind.DOCUMENT: DOCUMENT_BYTES_MAX,
}


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload, taken apart."""

    kind: Kind
    chain_id: int
    signer: bytes
    body: bytes

    def encode(self) -> bytes:
        """The bytes."""
        return self.kind.value + self.chain_id.to_bytes(_CHAIN_BYTES, "big") + self.signer + self.body

    @classmethod
    def decode(cls, payload: bytes) -> "Payload":
        """The parts; :class:`InvalidPayload` for bytes that have no such parts."""
        try:
            kind = Kind(payload[:1])
        except ValueError:
            raise InvalidPayload("the payload is of no known kind") from None
        if not _BODY_AT < len(payload) <= _BODY_AT + _BYTES_MAX[kind]:
            raise InvalidPayload("the payload is too short or too long")
        chain_id = int.from_bytes(payload[1 : 1 + _CHAIN_BYTES], "big")
        return cls(kind, chain_id, payload[1 + _CHAIN_BYTES : _BODY_AT], payload[_BODY_AT:])
