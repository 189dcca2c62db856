"""What two parties send each other, byte for byte, in one seeded session: ``python tests/support/snapshots.py`` writes
it to tests/vectors after a change of the format that is meant, which also needs a new protocol version."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from keyquorum_core_signer.groups.suites import BIP340, FROST_ED25519, FROST_SECP256K1, Suite
from keyquorum_core_signer.protocols.keys import encode_share
from support.committee import keygen_programs, run, sign_programs
from support.vectors import FOLDER

SUITES = {"wire_ed25519": FROST_ED25519, "wire_secp256k1": FROST_SECP256K1, "wire_bip340": BIP340}


def snapshot(suite: Suite) -> dict:
    """A 2-of-2 key generation, the shares it stores, and a signature with them."""
    generation = run(suite, keygen_programs(suite, 2, (1, 2)))
    shares = [generation.results[party].share for party in (1, 2)]
    signing = run(suite, sign_programs(suite, shares, ((b"pay", (0, 7)),)))
    return {
        "source": "Keyquorum's own wire format, protocols dkg/v1 and frost/v1; written by tests/support/snapshots.py",
        "suite": suite.context_string,
        "dkg/v1": _packets(generation),
        "stored_shares": [encode_share(share).hex() for share in shares],
        "transcript_hash": generation.results[1].transcript_hash.hex(),
        "frost/v1": _packets(signing),
        "signature": signing.results[1][0].hex(),
    }


def _packets(simulator) -> list[dict]:
    ordered = sorted(simulator.sent, key=lambda packet: (packet.round, packet.sender, packet.private))
    return [
        {"round": packet.round, "sender": packet.sender, "private": packet.private, "payload": packet.payload.hex()}
        for packet in ordered
    ]


if __name__ == "__main__":
    for name, suite in SUITES.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(snapshot(suite), indent=2) + "\n")
