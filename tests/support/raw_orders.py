"""Intents over raw digests, and the keys that sign them."""

import hashlib
import hmac

from coincurve import PublicKey

from keyquorum_core_signer.intents.certificate import KeyCertificate
from keyquorum_core_signer.intents.effects import MessageToSign
from keyquorum_core_signer.intents.intent import Sign
from keyquorum_protos.signer.v1 import intent_pb2
from support.cell import Cell
from support.hostile_coordinator import authorize, wrap

SCHEME = "schnorr_bip340"


def order(
    cell: Cell, key_id: str, *messages: tuple[bytes, tuple[int, ...]], scheme: str = SCHEME
) -> tuple[bytes, intent_pb2.Authorization]:
    """An intent over raw digests."""
    command = Sign(key_id, scheme, tuple(MessageToSign(message, path) for message, path in messages))
    data = wrap(cell, cell.initiator, command)
    return data, authorize(data, cell.initiator)


def child_of(certificate: KeyCertificate, path: tuple[int, ...]) -> bytes:
    """BIP-32's public derivation, in OpenSSL's HMAC and libsecp256k1: the internal key, 33 bytes."""
    key, chain_code = PublicKey(certificate.public_key), certificate.chain_code
    for index in path:
        digest = hmac.digest(chain_code, key.format() + index.to_bytes(4, "big"), hashlib.sha512)
        key, chain_code = key.add(digest[:32]), digest[32:]
    return key.format()
