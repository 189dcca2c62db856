"""ECDSA keys at real parties: pairs make themselves, any two of three sign, and the recovery id says which key did."""

import asyncio
import hashlib
from itertools import combinations

import pytest
from coincurve import PublicKey

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_protos.party.v1 import party_pb2
from support.cell import Cell
from support.hostile_coordinator import HostileCoordinator, create_intent, withhold_from
from support.raw_orders import child_of, order

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEME = "ecdsa_secp256k1"


async def test_any_two_parties_sign(cell: Cell) -> None:
    """Over raw digests, at the key and below it, in one session each; libsecp256k1 recovers the child's key."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        messages = [(hashlib.sha256(bytes([k])).digest(), path) for k, path in enumerate(((), (0, 7), (1, 2**31 - 1)))]
        for quorum in combinations(cell.nodes, 2):
            intent = order(cell, certificate.key_id, *messages, scheme=SCHEME)
            results = await coordinator.run(quorum, *intent)
            signatures = {tuple(result.signatures) for result in results.values()}
            assert len(signatures) == 1, results
            for (message, path), signature in zip(messages, signatures.pop(), strict=True):
                recovered = PublicKey.from_signature_and_message(signature, message, hasher=None)
                assert recovered.format() == child_of(certificate, path)


async def test_sessions_at_once_take_turns(cell: Cell) -> None:
    """Sessions of one pair that start together all end with a signature: each waits for those before it."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)

        async def sign(number: int) -> set[tuple[bytes, ...]]:
            quorum = tuple(combinations(cell.nodes, 2))[number % 3]
            digest = hashlib.sha256(bytes([number])).digest()
            results = await coordinator.run(quorum, *order(cell, certificate.key_id, (digest, ()), scheme=SCHEME))
            return {tuple(result.signatures) for result in results.values()}

        for signatures in await asyncio.gather(*(sign(number) for number in range(12))):
            assert len(signatures) == 1
            assert () not in signatures


async def test_presignatures_that_do_not_fit_are_refused(cell: Cell) -> None:
    """For a raw digest, of another number than the messages, of another length: no session begins, and none is lost."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        for names in ([bytes(32)], [bytes(32)] * 2, [bytes(31)], [bytes(32)] * 17):
            intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)
            results = await coordinator.run(
                ("party-1", "party-2"),
                *intent,
                change=lambda _node, start, names=names: start.presignature_ids.extend(names),
                deadline_ms=1000,
            )
            assert {result.error.code for result in results.values()} == {"intent-invalid"}, results


@pytest.mark.parametrize("protocol", ["gg20", "gg18"])
async def test_protocols_that_are_not_there_are_refused(cell: Cell, protocol: str) -> None:
    """Before a key is made that nothing would sign with."""
    async with HostileCoordinator(cell).connected() as coordinator:
        intent = create_intent(cell, scheme=SCHEME, protocol=protocol)
        results = await coordinator.run(cell.nodes, *intent, deadline_ms=1000)
        assert {result.error.code for result in results.values()} == {"scheme-unavailable"}, results


async def test_one_party_told_to_use_a_presignature_and_the_other_not(cell: Cell) -> None:
    """They run different protocols: nobody is blamed, nobody is banned, and the pair signs again."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)

        def tell_one(node: str, start: party_pb2.StartSession) -> None:
            if node == "party-1":
                start.presignature_ids.append(bytes(32))

        results = await coordinator.run(("party-1", "party-2"), *intent, change=tell_one, deadline_ms=1000)
        assert all(result.error.code and not result.error.culprits for result in results.values())
        results = await coordinator.run(("party-1", "party-2"), *intent)
        assert all(result.signatures for result in results.values()), results
        assert not any(link.banned for link in coordinator.links.values())


async def test_a_pair_that_was_lost_is_made_anew_while_a_session_waits(cell: Cell) -> None:
    """A coordinator withholds messages in the middle of checks: both set-ups go, nobody is banned, and the next session signs
    with a new one, without being asked twice."""
    quorum = ("party-1", "party-2")
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        await coordinator.paired(cell.nodes)
        coordinator.hook = withhold_from("party-1", 2)  # its peer's first round, and no more
        intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)
        results = await coordinator.run(quorum, *intent, deadline_ms=1000)
        assert {result.error.code for result in results.values()} == {"deadline-exceeded"}, results
    assert "ended without a verdict" in cell.parties["party-1"].log()
    async with HostileCoordinator(cell).connected() as coordinator:
        intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)
        results = await coordinator.run(quorum, *intent, deadline_ms=9000)
        assert all(result.signatures for result in results.values()), results
        assert not any(link.banned for link in coordinator.links.values())


async def test_sessions_that_never_began_hold_nobody_up(cell: Cell) -> None:
    """A coordinator that starts sessions and hangs up at once leaves no turn taken behind."""
    async with HostileCoordinator(cell).connected() as coordinator:
        certificate = parse_certificate((await coordinator.create_key(scheme=SCHEME)).certificate)
        for number in range(5):
            digest = hashlib.sha256(bytes([number])).digest()
            coordinator.start(
                ("party-1", "party-2"), *order(cell, certificate.key_id, (digest, ()), scheme=SCHEME), deadline_ms=9000
            )
    async with HostileCoordinator(cell).connected() as coordinator:
        intent = order(cell, certificate.key_id, (bytes(range(32)), ()), scheme=SCHEME)
        results = await coordinator.run(("party-1", "party-2"), *intent)
        assert all(result.signatures for result in results.values()), results
