"""The bytes of DKLs23's messages, set-ups and presignatures stay what they are, and so do its parameters."""

import hashlib
import json
import sys
from pathlib import Path

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.primitives import rvole
from keyquorum_core_signer.primitives.ot import extension
from keyquorum_core_signer.protocols.dkls23.presignature import encode_presignature
from keyquorum_core_signer.protocols.dkls23.setup import encode_setup
from support.committee import dealt, run
from support.dkls23 import finish_programs, pair_programs, presign_programs
from support.vectors import FOLDER, load

NAME = "wire_dkls23"


def hashes(simulator):
    """Each packet's place, length and SHA-256; the largest have 60 KB."""
    ordered = sorted(simulator.sent, key=lambda packet: (packet.round, packet.sender, packet.private))
    return [
        f"{packet.round} {packet.sender} {packet.private} {len(packet.payload)} {sha256(packet.payload)}"
        for packet in ordered
    ]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def snapshot():
    """A pairing, a presigning on it and a signature, all seeded."""
    group = ECDSA.group
    shares = dealt(ECDSA, [group.scalar(2**200 + 9), group.scalar(2**210 + 7)], 2)
    pairing = run(ECDSA, pair_programs())
    setups = {me: {3 - me: half} for me, half in pairing.results.items()}
    presigning = run(ECDSA, presign_programs(shares, setups=setups))
    again = run(ECDSA, presign_programs(shares, setups=setups)).results
    signing = run(ECDSA, finish_programs(presigning.results))
    return {
        "source": "Keyquorum's own wire format, DKLs23; written by tests/protocol/test_dkls23_wire.py",
        "dkls23-pair/v1": hashes(pairing),
        "dkls23-presign/v1": hashes(presigning),
        "dkls23-online/v1": hashes(signing),
        "stored_setup": sha256(encode_setup(pairing.results[1])),
        "stored_presignature": encode_presignature(again[1]).hex(),
        "signature": signing.results[1].to_bytes().hex(),
    }


def test_wire_format():
    """Every message, stored set-up, presignature and signature of seeded sessions."""
    assert snapshot() == load(NAME)


def test_parameters():
    """512 transfers, two inputs, one check input of 256 bits, 128 rows and columns: fixed in code, and never negotiated."""
    assert (extension.TRANSFERS, extension.BASE_TRANSFERS, extension.CHECK_ROWS) == (512, 128, 128)
    assert (rvole.INPUTS, rvole.CHECKS) == (2, 1)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / f"{NAME}.json"
    path.write_text(json.dumps(snapshot(), indent=2) + "\n", encoding="utf-8")
