"""``make demo`` ends by itself and leaves a report of what the chains confirmed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from keyquorum_devnet.engines import BITCOIN, ETHEREUM, SOLANA

DEMO_S_MAX = 110  # with a second stack beside it; alone it takes a fraction


async def test_the_demonstration_confirms_transfers_on_their_chains(tmp_path):
    """Exit code 0, and one confirmed transfer per chain and way to initiate, with the fields that the report promises."""
    report = tmp_path / "demo.json"
    command = [str(Path(sys.executable).parent / "keyquorum-devnet"), "demo", "--report", str(report)]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(report.read_text())
    assert [(row["chain"], row["initiation"], row["scheme"]) for row in rows] == [
        (SOLANA.chain, "gateway", "eddsa_ed25519"),
        (SOLANA.chain, "client", "eddsa_ed25519"),
        (SOLANA.chain, "gateway", "eddsa_ed25519"),
        (BITCOIN.chain, "gateway", "schnorr_bip340"),
        (ETHEREUM.chain, "gateway", "ecdsa_secp256k1"),
    ]
    native, of_the_client, token, taproot, ether = rows
    assert [row["asset"] for row in (native, of_the_client, taproot, ether)] == [
        SOLANA.asset,
        SOLANA.asset,
        BITCOIN.asset,
        ETHEREUM.asset,
    ]
    assert token["asset"].startswith(f"{SOLANA.chain}/token:")
    for field in ("wallet", "address", "txid", "trace_id"):
        assert len({row[field] for row in rows}) == len(rows)
    for row in rows:
        assert row["confirmed"] is True
        assert int(row["amount"]) > 0
        assert row["signing_ms"] > 0
        assert len(row["trace_id"]) == 32
    assert taproot["address"].startswith("bcrt1p")
    assert "signature verified by Bitcoin Core's script interpreter" in done.stdout
    assert "signature verified by anvil" in done.stdout
