"""Taproot keys at real parties: any two of three sign for the output key, and for no other."""

import hashlib
from itertools import combinations

import pytest
from coincurve import PublicKeyXOnly

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_protos.signer.v1 import intent_pb2
from support.cell import Cell
from support.hostile_coordinator import HostileCoordinator, authorize
from support.raw_orders import child_of, order

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEME = "schnorr_bip340"


def output_key(internal: bytes) -> PublicKeyXOnly:
    """BIP-341's, without a script."""
    tag = hashlib.sha256(b"TapTweak").digest()
    key = PublicKeyXOnly(internal[1:])
    key.tweak_add(hashlib.sha256(tag + tag + internal[1:]).digest())
    return key


async def test_any_two_parties_sign_for_taproot_outputs(cell: Cell) -> None:
    """Over raw digests, at the key and below it, in one session each; libsecp256k1 knows the output keys only."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        messages = [(hashlib.sha256(bytes([k])).digest(), path) for k, path in enumerate(((), (0, 7), (1, 2**31 - 1)))]
        for quorum in combinations(cell.nodes, 2):
            results = await coordinator.run(quorum, *order(cell, certificate.key_id, *messages))
            signatures = {tuple(result.signatures) for result in results.values()}
            assert len(signatures) == 1, results
            for (message, path), signature in zip(messages, signatures.pop(), strict=True):
                internal = child_of(certificate, path)
                assert output_key(internal).verify(signature, message)
                assert not PublicKeyXOnly(internal[1:]).verify(signature, message)


async def test_what_is_no_digest_is_refused(cell: Cell) -> None:
    """A message of another length than 32 bytes, and a Taproot key under another scheme's name."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        command = intent_pb2.Intent.FromString(order(cell, certificate.key_id, (bytes(32), ()))[0])
        command.sign.messages[0].message = bytes(31)
        short = command.SerializeToString(deterministic=True)
        refused = [
            (short, authorize(short, cell.initiator)),
            order(cell, certificate.key_id, (bytes(32), ()), scheme="eddsa_ed25519"),
        ]
        for intent in refused:
            results = await coordinator.run(("party-1", "party-2"), *intent, deadline_ms=1000)
            assert {result.error.code for result in results.values()} == {"intent-invalid"}, results
