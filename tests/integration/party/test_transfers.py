"""Transfers at real parties: what the pinned codec finds must be what the initiator ordered, within the policy."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyquorum_core_signer.intents.certificate import parse_certificate
from keyquorum_core_signer.intents.effects import Effect, EffectKind
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_sol.codec import SolanaCodec
from support.cell import Cell
from support.hostile_coordinator import CHAIN, SOL, HostileCoordinator, explained_intent

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUORUM = ("party-1", "party-2")
METADATA = {
    "blockhash": "EETubP5AKHgjPAhzPAFcb8BAY1hMH639CWCFTqi3hq1k",
    "last_valid_block_height": "150",
    "compute_unit_limit": "450",
    "compute_unit_price": "1000",
}


def address(public_key: bytes) -> str:
    """The account's address."""
    return SolanaCodec().derive_address(public_key, CHAIN)


def transfer(public_key: bytes, amount: int, destination: str | None = None) -> UnsignedTransaction:
    """A transfer out of the key's account."""
    account = SignerAccount(address(public_key), public_key)
    somebody = destination or address(IdentityKey.generate().public)
    return SolanaCodec().build(TransferIntent(CHAIN, account, somebody, SOL, amount), METADATA)


def effects_of(unsigned: UnsignedTransaction) -> list[Effect]:
    """As intents carry them."""
    return [
        Effect(EffectKind(e.kind.value), e.asset, e.amount, e.source, e.destination, e.detail) for e in unsigned.effects
    ]


async def key_of(coordinator: HostileCoordinator, **policy: object) -> tuple[str, bytes]:
    """A fresh key: its id and its public key."""
    certificate = parse_certificate((await coordinator.create_key(**policy)).certificate)
    return certificate.key_id, certificate.public_key


def codes(results: dict[str, party_pb2.SessionResult]) -> set[str]:
    """The parties' error codes; "ok" for one that signed."""
    return {result.error.code or "ok" for result in results.values()}


async def order(
    coordinator: HostileCoordinator,
    key_id: str,
    unsigned: UnsignedTransaction,
    *,
    effects: list[Effect] | None = None,
    payload: bytes | None = None,
    messages: list[bytes] | None = None,
    quorum: tuple[str, ...] = QUORUM,
) -> dict[str, party_pb2.SessionResult]:
    """Have the initiator sign an intent that may not be what ``unsigned`` is, and run it."""
    intent = explained_intent(
        coordinator.cell,
        key_id,
        payload or unsigned.payload,
        messages or [request.message for request in unsigned.requests],
        effects or effects_of(unsigned),
    )
    return await coordinator.run(quorum, *intent, deadline_ms=1000)


async def test_a_transfer_is_signed(cell: Cell) -> None:
    """What is refused below differs from this in one thing each."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        unsigned = transfer(public_key, 1_000_000)
        results = await order(coordinator, key_id, unsigned)
        assert codes(results) == {"ok"}
        (signature,) = results["party-1"].signatures
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, unsigned.requests[0].message)


@pytest.mark.parametrize("what", ["amount", "destination", "kind", "fee", "fee left out", "order"])
async def test_effects_that_are_not_the_payloads_are_refused(cell: Cell, what: str) -> None:
    """An intent says what a payload does, and every party's own codec has to say the same."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        unsigned = transfer(public_key, 1_000_000)
        effects = effects_of(unsigned)
        at = next(i for i, effect in enumerate(effects) if effect.kind is EffectKind.TRANSFER)
        fee = next(i for i, effect in enumerate(effects) if effect.kind is EffectKind.FEE)
        match what:
            case "amount":
                effects[at] = replace(effects[at], amount=1)
            case "destination":
                effects[at] = replace(effects[at], destination=address(IdentityKey.generate().public))
            case "kind":
                effects[at] = replace(effects[at], kind=EffectKind.CHANGE, destination=effects[at].source)
            case "fee":
                effects[fee] = replace(effects[fee], amount=1)
            case "fee left out":
                del effects[fee]
            case "order":
                effects.reverse()
        assert codes(await order(coordinator, key_id, unsigned, effects=effects)) == {"intent-invalid"}


async def test_messages_that_are_not_the_payloads_are_refused(cell: Cell) -> None:
    """What is signed is what the codec found in the payload, not what the intent lists beside it."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        small, large = transfer(public_key, 1), transfer(public_key, 10**9)
        refused = await order(coordinator, key_id, small, messages=[large.requests[0].message])
        assert codes(refused) == {"intent-invalid"}


async def test_a_payload_of_somebody_elses_account_is_refused(cell: Cell) -> None:
    """A key signs for its own accounts alone."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, _ = await key_of(coordinator)
        _, other = await key_of(coordinator)
        assert codes(await order(coordinator, key_id, transfer(other, 1000))) == {"intent-invalid"}


async def test_a_payload_that_no_codec_explains_is_refused(cell: Cell) -> None:
    """Whatever the codec cannot name is not signed, even where raw messages would be."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        unsigned = transfer(public_key, 1000)
        assert codes(await order(coordinator, key_id, unsigned, payload=unsigned.payload + b"\0")) == {"intent-invalid"}


async def test_a_transaction_over_its_limit_is_refused(cell: Cell) -> None:
    """Amount and fee together are what leaves."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator, per_transaction=1_000_000)
        assert codes(await order(coordinator, key_id, transfer(public_key, 1_000_000))) == {"policy-denied"}
        assert codes(await order(coordinator, key_id, transfer(public_key, 900_000))) == {"ok"}


async def test_rotating_quorums_do_not_exceed_the_window(cell: Cell) -> None:
    """Each party lets its part through, so that all quorums together stay below the whole."""
    async with HostileCoordinator(cell).connected() as coordinator:
        limit = 10_000_000
        key_id, public_key = await key_of(coordinator, per_transaction=limit // 2, per_window=limit)
        signed = 0
        for turn in range(12):
            quorum = (("party-1", "party-2"), ("party-1", "party-3"), ("party-2", "party-3"))[turn % 3]
            amount = 1_500_000
            results = await order(coordinator, key_id, transfer(public_key, amount), quorum=quorum)
            signed += amount if codes(results) == {"ok"} else 0
        assert 0 < signed <= limit


async def test_what_did_not_get_signed_is_given_back(cell: Cell) -> None:
    """A session that ends before the last message left costs the window nothing."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator, per_transaction=4_000_000, per_window=10_000_000)
        coordinator.hook = lambda _sender, _recipient, _relay: ()
        for _ in range(3):
            intent = explained_intent(
                cell,
                key_id,
                (unsigned := transfer(public_key, 3_000_000)).payload,
                [unsigned.requests[0].message],
                effects_of(unsigned),
            )
            assert codes(await coordinator.run(QUORUM, *intent, deadline_ms=300)) == {"deadline-exceeded"}
    async with HostileCoordinator(cell).connected() as coordinator:
        assert codes(await order(coordinator, key_id, transfer(public_key, 3_000_000))) == {"ok"}
