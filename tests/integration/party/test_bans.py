"""A party that cheats in a multiplication is found out once, and worked with no more: for any key, over restarts."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keyquorum_core_signer.intents.certificate import parse_certificate
from support.cell import Cell, make_cell
from support.hostile_coordinator import HostileCoordinator, raw_intent
from support.raw_orders import order

pytestmark = pytest.mark.asyncio(loop_scope="function")

SCHEME = "ecdsa_secp256k1"
TRAITOR = Path(__file__).parents[2] / "support/traitor"
PARALLEL = 8


@pytest.fixture(params=["extension", "multiplication"])
def crime(request: pytest.FixtureRequest) -> str:
    """Which message of party-3 is wrong."""
    return str(request.param)


@pytest_asyncio.fixture
async def cell(tmp_path: Path) -> AsyncIterator[Cell]:
    """Three parties, of which the third can be turned."""
    made = make_cell(tmp_path)
    shutil.copytree(TRAITOR, tmp_path / "traitor")
    made.parties["party-3"].environment = {"PYTHONPATH": str(tmp_path / "traitor")}
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def sign(coordinator: HostileCoordinator, key_id: str, quorum: tuple[str, ...], text: bytes) -> dict[str, str]:
    """Outcome per party: ``ok`` or the error's code."""
    intent = order(coordinator.cell, key_id, (hashlib.sha256(text).digest(), ()), scheme=SCHEME)
    results = await coordinator.run(quorum, *intent, deadline_ms=2000)
    return {node: result.error.code or "ok" for node, result in results.items()}


async def command(cell: Cell, *words: str, status: int = 0) -> str:
    """``keyquorum-signer pairs`` at party-1; what it said."""
    config = str(cell.parties["party-1"].config)
    running = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "keyquorum-signer"), "pairs", *words, "--config", config,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await running.communicate()
    assert running.returncode == status, said
    return said.decode()


async def test_a_cheat_is_banned_for_good_and_for_every_key(cell: Cell, tmp_path: Path, crime: str) -> None:
    """Sessions at once, of which the first to check finds the cheat: one verdict per victim, whatever runs in parallel;
    the others go on, other schemes with the banned do not, and a restart forgets nothing."""
    cheated = ("party-1", "party-3")
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate).key_id
        other_key = parse_certificate((await coordinator.create_key()).certificate).key_id
        assert set((await sign(coordinator, key_id, cheated, b"honest")).values()) == {"ok"}
        (tmp_path / "traitor/crime").write_text(crime)
        outcomes = await asyncio.gather(*(sign(coordinator, key_id, cheated, bytes([n])) for n in range(PARALLEL)))
        assert all("ok" not in outcome.values() for outcome in outcomes)
        assert [outcome["party-1"] for outcome in outcomes].count("protocol-abort") == 1
        assert cell.parties["party-1"].log().count("a peer is banned") == 1
        assert "party-3" in coordinator.links["party-1"].banned
        assert "party-3" not in coordinator.links["party-1"].paired
        assert set((await sign(coordinator, key_id, ("party-1", "party-2"), b"without it")).values()) == {"ok"}
    await cell.parties["party-1"].stop()
    listed = await command(cell, "list")
    assert "party-2  dkls23 set-up 1: living since" in listed
    assert "party-3  dkls23 set-up 1: destroyed since" in listed
    assert "party-3  BANNED from everything since" in listed
    (tmp_path / "traitor/crime").unlink()  # it repents, which helps nobody: its set-up is known in part
    await cell.parties["party-1"].start()
    async with HostileCoordinator(cell).connected() as coordinator:
        await asyncio.sleep(1.5)  # longer than it takes to pair, where pairing is wanted
        assert coordinator.links["party-1"].banned == {"party-3"}
        assert coordinator.links["party-1"].paired == {"party-2"}
        refused = await coordinator.run(cheated, *raw_intent(cell, other_key, b"another scheme"), deadline_ms=2000)
        assert refused["party-1"].error.code == "quorum-unavailable"
        assert "banned" in refused["party-1"].error.detail
        assert set((await sign(coordinator, key_id, ("party-1", "party-2"), b"still")).values()) == {"ok"}
    assert "the party is running" in await command(cell, "unban", "party-3", "--reason", "too early", status=1)
    await cell.parties["party-1"].stop()
    assert "not banned" in await command(cell, "unban", "party-2", "--reason", "never was", status=1)
    assert "may be worked with again" in await command(cell, "unban", "party-3", "--reason", "rebuilt")
    await cell.parties["party-1"].start()
    async with HostileCoordinator(cell).connected() as coordinator:
        await coordinator.paired(cell.nodes)
        assert set((await sign(coordinator, key_id, cheated, b"paired anew")).values()) == {"ok"}
