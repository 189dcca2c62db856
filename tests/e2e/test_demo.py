"""``make demo`` ends by itself and leaves a report of what the chain confirmed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

DEMO_S_MAX = 110  # with a second stack beside it; alone it takes a fraction


async def test_the_demonstration_confirms_both_ways_to_initiate(tmp_path):
    """Exit code 0, and one confirmed transfer per initiation, with the fields that the report promises."""
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
    assert [row["initiation"] for row in rows] == ["gateway", "client"]
    assert len({row["wallet"] for row in rows}) == 2
    assert len({row["trace_id"] for row in rows}) == 2
    for row in rows:
        assert row["confirmed"] is True
        assert row["chain"].startswith("solana:")
        assert row["scheme"] == "eddsa_ed25519"
        assert row["address"]
        assert row["txid"]
        assert int(row["amount"]) > 0
        assert row["signing_ms"] > 0
        assert len(row["trace_id"]) == 32
