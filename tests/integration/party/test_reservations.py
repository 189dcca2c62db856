"""What stands reserved at real parties when sessions are broken off, repeated and saved up."""

import asyncio
import copy
from collections import Counter
from collections.abc import Iterable

import pytest

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_core_signer.intents.effects import Effect, EffectKind
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.signer.v1 import intent_pb2
from keyquorum_sol.codec import SolanaCodec
from support.cell import Cell
from support.hostile_coordinator import CHAIN, SOL, HostileCoordinator, RelayHook, explained_intent, forward

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUORUM = ("party-1", "party-2")
LIMIT = 10_000_000  # of which each of the three parties lets half through
MOST = 4_000_000
METADATA = {
    "blockhash": "EETubP5AKHgjPAhzPAFcb8BAY1hMH639CWCFTqi3hq1k",
    "last_valid_block_height": "150",
    "compute_unit_limit": "450",
    "compute_unit_price": "1000",
}


async def key_of(coordinator: HostileCoordinator, **policy: object) -> tuple[str, bytes]:
    """A fresh key under the limit: its id and its public key."""
    signed = await coordinator.create_key(per_transaction=LIMIT // 2, per_window=LIMIT, **policy)
    certificate = parse_certificate(signed.certificate)
    return certificate.key_id, certificate.public_key


def payment(cell: Cell, key_id: str, public_key: bytes) -> tuple[bytes, intent_pb2.Authorization]:
    """An intent for nearly all that a party lets through per window."""
    codec = SolanaCodec()
    account = SignerAccount(codec.derive_address(public_key, CHAIN), public_key)
    somebody = codec.derive_address(IdentityKey.generate().public, CHAIN)
    unsigned = codec.build(TransferIntent(CHAIN, account, somebody, SOL, MOST), METADATA)
    effects = [
        Effect(EffectKind(e.kind.value), e.asset, e.amount, e.source, e.destination, e.detail) for e in unsigned.effects
    ]
    return explained_intent(cell, key_id, unsigned.payload, [request.message for request in unsigned.requests], effects)


def codes(results: dict[str, party_pb2.SessionResult]) -> set[str]:
    """The parties' error codes; "ok" for one that signed."""
    return {result.error.code or "ok" for result in results.values()}


def first_round_only() -> RelayHook:
    """Hands on one frame of each party and keeps the others."""
    counted: Counter[str] = Counter()

    def hook(sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
        counted[sender] += 1
        return ((recipient, relay),) if counted[sender] == 1 else ()

    return hook


async def test_windows_are_not_saved_up(cell: Cell) -> None:
    """Orders whose last messages were withheld in past windows do not all get signed within one."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator, window_s=3)
        saved = payment(cell, key_id, public_key)
        coordinator.hook = first_round_only()
        assert codes(await coordinator.run(QUORUM, *saved, deadline_ms=500)) == {"deadline-exceeded"}
    await asyncio.sleep(3)
    async with HostileCoordinator(cell).connected() as coordinator:
        assert codes(await coordinator.run(QUORUM, *payment(cell, key_id, public_key))) == {"ok"}
        assert codes(await coordinator.run(QUORUM, *saved)) == {"policy-denied"}


@pytest.mark.parametrize("how", ["abort", "link"])
async def test_a_session_that_is_broken_off_gives_its_reservation_back(cell: Cell, how: str) -> None:
    """A coordinator that aborts, or dies, before a last message costs the window nothing."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        coordinator.hook = lambda _sender, _recipient, _relay: ()
        coordinator.start(QUORUM, *payment(cell, key_id, public_key))
        route = max(route for _, route in coordinator.results)
        async with asyncio.timeout(5):
            while {node for node, at, _ in coordinator.progress if at == route} < set(QUORUM):
                await asyncio.sleep(0.01)
        if how == "abort":
            for node in QUORUM:
                coordinator.send(node, party_pb2.LinkRequest(abort=party_pb2.AbortSession(route=route)))
            await asyncio.sleep(0.2)
    async with HostileCoordinator(cell).connected() as coordinator:
        assert codes(await coordinator.run(QUORUM, *payment(cell, key_id, public_key))) == {"ok"}


async def test_a_session_too_short_to_be_admitted_gives_its_reservation_back(cell: Cell) -> None:
    """Deadlines that pass during the admission leave nothing behind, wherever they strike."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        for deadline_ms in (0, 1, 2, 3, 4, 5, 6, 8):
            results = await coordinator.run(QUORUM, *payment(cell, key_id, public_key), deadline_ms=deadline_ms)
            if codes(results) != {"deadline-exceeded"}:
                break  # fast enough to sign, or to have been refused for what a faster one spent
        else:
            assert codes(await coordinator.run(QUORUM, *payment(cell, key_id, public_key))) == {"ok"}


async def test_one_of_two_sessions_that_ends_does_not_take_the_others_reservation(cell: Cell) -> None:
    """A second session of an operation that is broken off leaves the first one's last message its right to go."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        order = payment(cell, key_id, public_key)
        held: list[tuple[str, party_pb2.Relay]] = []

        def keep(_sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
            held.append((recipient, relay))
            return ()

        coordinator.hook = keep
        first = coordinator.start(QUORUM, *order)
        await asyncio.sleep(0.3)
        second = await coordinator.run(QUORUM, *order, deadline_ms=300)
        assert codes(second) == {"deadline-exceeded"}
        coordinator.hook = forward
        for recipient, relay in held:
            coordinator.send(recipient, party_pb2.LinkRequest(relay=relay))
        assert codes({node: await result for node, result in first.items()}) == {"ok"}


async def test_a_strangers_payload_does_not_reach_the_codec(cell: Cell) -> None:
    """Who may not order anything of a key is refused before the trusted codec reads what came."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, _ = await key_of(coordinator)
        stranger = copy.copy(cell)
        stranger.initiator = IdentityKey.generate()
        effect = Effect(EffectKind.MESSAGE, "", 0, "", "", "no transaction at all")
        order = explained_intent(stranger, key_id, b"no transaction at all", [b"message"], [effect])
        assert codes(await coordinator.run(QUORUM, *order)) == {"policy-denied"}
