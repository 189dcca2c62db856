"""A larger committee: quorums of several pairs, sessions that share some of them, and turns that nobody waits for in a circle."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import combinations

import pytest
import pytest_asyncio
from coincurve import PublicKey

from keyquorum_core_signer.intents.certificate import parse_certificate
from support.cell import Cell, make_cell
from support.hostile_coordinator import HostileCoordinator
from support.raw_orders import order

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEME = "ecdsa_secp256k1"
PARTIES = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cell(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    """Four parties."""
    made = make_cell(tmp_path_factory.mktemp("cell"), PARTIES)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_any_three_of_four_sign_at_once(cell: Cell) -> None:
    """All four quorums together, twice over, each pair in two of them: every session ends with the right signature."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME, threshold=3)).certificate)

        async def sign(number: int, quorum: tuple[str, ...]) -> None:
            digest = hashlib.sha256(bytes([number])).digest()
            intent = order(cell, certificate.key_id, (digest, ()), scheme=SCHEME)
            results = await coordinator.run(quorum, *intent, deadline_ms=15_000)
            (signature,) = {signature for result in results.values() for signature in result.signatures}
            recovered = PublicKey.from_signature_and_message(signature, digest, hasher=None)
            assert recovered.format() == certificate.public_key

        quorums = 2 * list(combinations(cell.nodes, 3))
        await asyncio.gather(*(sign(number, quorum) for number, quorum in enumerate(quorums)))


async def test_fewer_than_the_threshold_sign_nothing(cell: Cell) -> None:
    """Two of a key that wants three are refused by both, whatever the coordinator orders."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME, threshold=3)).certificate)
        intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)
        results = await coordinator.run(("party-1", "party-2"), *intent, deadline_ms=2000)
        assert all(result.error.code and not result.signatures for result in results.values()), results
