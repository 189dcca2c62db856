"""A party that is killed in the middle: keys end in the old state or the new one, limits hold, files stay private."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_protos.party.v1 import party_pb2
from support.cell import Cell
from support.hostile_coordinator import HostileCoordinator, create_intent, raw_intent, withhold_from

pytestmark = pytest.mark.asyncio(loop_scope="module")


def workers_of(pid: int) -> list[int]:
    """The session workers among a party's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "worker_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.parametrize("end", ["crash", "loss"])
async def test_a_party_that_missed_the_last_round_catches_up(cell: Cell, end: str) -> None:
    """Its share is durable before it signs the certificate, so all signatures make the key usable, after a crash too."""
    victim = cell.parties["party-3"]
    async with HostileCoordinator(cell).connected() as coordinator:
        data, authorization = create_intent(cell)
        await coordinator.paired(cell.nodes)
        # key generation: a commitment, then an opening and a sealed share, then the signature
        coordinator.hook = withhold_from("party-3", 3)
        running = coordinator.start(cell.nodes, data, authorization, deadline_ms=4000)
        signed = (await running["party-1"]).certificate
        assert signed.certificate
        key_id = parse_certificate(signed.certificate).key_id
        if end == "crash":
            await victim.stop(signal.SIGKILL)
        else:
            assert (await running["party-3"]).error.code == "deadline-exceeded"
    if end == "crash":
        await victim.start()
    async with HostileCoordinator(cell).connected() as coordinator:
        assert key_id in (await coordinator.links["party-3"].hello).prepared_key_ids
        order = raw_intent(cell, key_id, b"too early")
        refused = await coordinator.run(("party-1", "party-3"), *order, deadline_ms=500)
        assert refused["party-3"].error.code == "key-not-found"
        for _ in range(2):  # a replay changes nothing
            activate = party_pb2.LinkRequest(activate=party_pb2.ActivateKey(certificate=signed))
            coordinator.send("party-3", activate)
            async with asyncio.timeout(5):
                assert (await coordinator.activated.get()).active
        results = await coordinator.run(("party-1", "party-3"), *raw_intent(cell, key_id, b"caught up"))
        assert all(result.signatures for result in results.values()), results


async def test_a_certificate_of_a_broken_key_generation_activates_nothing(cell: Cell) -> None:
    """Two generations under one key id: whichever share was stored first, no other certificate goes with it."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id = f"key_{'7' * 32}"
        data, authorization = create_intent(cell, key_id=key_id)
        coordinator.hook = withhold_from("party-3", 2)  # it never gets to store a share
        results = await coordinator.run(cell.nodes, data, authorization, deadline_ms=1500)
        assert not any(result.HasField("certificate") for result in results.values())
    async with HostileCoordinator(cell).connected() as coordinator:
        again, again_authorization = create_intent(cell, key_id=key_id)
        results = await coordinator.run(cell.nodes, again, again_authorization, deadline_ms=1500)
        assert not any(result.HasField("certificate") for result in results.values())
        results = await coordinator.run(cell.nodes[:2], *raw_intent(cell, key_id, b"never"), deadline_ms=500)
        assert {result.error.code for result in results.values()} == {"key-not-found"}


async def test_a_worker_that_is_killed_costs_its_session_and_nothing_else(cell: Cell) -> None:
    """The session says so at once, and the next one is signed."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id = parse_certificate((await coordinator.create_key()).certificate).key_id
        order = raw_intent(cell, key_id, b"m")
        coordinator.hook = lambda _sender, _recipient, _relay: ()
        before = len(coordinator.relayed)
        running = coordinator.start(cell.nodes[:2], *order, deadline_ms=30_000)
        async with asyncio.timeout(20):
            while not any(sender == "party-1" for sender, *_ in coordinator.relayed[before:]):
                await asyncio.sleep(0.01)
        process = cell.parties["party-1"].process
        assert process is not None
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        async with asyncio.timeout(20):  # at once, and in any case long before the session's own deadline
            assert (await running["party-1"]).error.code == "overloaded"
    async with HostileCoordinator(cell).connected() as coordinator:
        async with asyncio.timeout(15):
            while True:
                results = await coordinator.run(cell.nodes[:2], *order, deadline_ms=1000)
                if all(result.signatures for result in results.values()):
                    break


async def test_files_are_the_partys_own(cell: Cell) -> None:
    """Everything that a party writes, and every secret that it reads, is closed to other users."""
    public = {"roster.toml", "party.toml", "transport.pem", "party.log"}
    for party in cell.parties.values():
        found = {file.name: file.stat().st_mode for file in party.folder.iterdir() if file.name not in public}
        assert {"shares.db", "shares.db-wal", "shares.db.audit-key", "identity.key", "passphrase"} <= found.keys()
        assert not {name for name, mode in found.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)}
