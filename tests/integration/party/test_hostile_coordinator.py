"""What a compromised coordinator tries against real parties, and that it never gets a signature it should not."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import grpc
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyquorum_core_signer.intents.attestation import verify_attestation
from keyquorum_core_signer.intents.certificate import parse_certificate, verify_certificate
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import CreateKey, Sign, parse_intent
from keyquorum_core_signer.intents.roster import Node, Roster
from keyquorum_core_signer.wire.certificates import identity_certificate
from keyquorum_core_signer.wire.channel import ChannelError, PairwiseChannel, PinnedPeer
from keyquorum_core_signer.wire.identity import KEY_CERTIFICATE_TAG, IdentityKey
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from keyquorum_protos.wallet.v1 import certificate_pb2
from support.cell import Cell
from support.hostile_coordinator import (
    HostileCoordinator,
    authorize,
    channel_to,
    create_intent,
    raw_intent,
    wrap,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUORUM = ("party-1", "party-2")


def outcomes(results: dict[str, party_pb2.SessionResult]) -> set[str]:
    """The error codes of all parties; no party may have given a signature."""
    assert not any(result.signatures for result in results.values())
    return {result.error.code for result in results.values()}


async def key_of(coordinator: HostileCoordinator) -> tuple[str, bytes]:
    """A fresh key: its id and its public key."""
    certificate = parse_certificate((await coordinator.create_key()).certificate)
    return certificate.key_id, certificate.public_key


def verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Judged by OpenSSL, which made none of it."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("quorum", [("party-1", "party-2"), ("party-1", "party-3"), ("party-2", "party-3")])
async def test_an_honest_order_is_signed_by_any_quorum(cell: Cell, quorum: tuple[str, str]) -> None:
    """Whatever is refused below is refused by parties that do sign."""
    async with HostileCoordinator(cell).connected() as coordinator:
        key_id, public_key = await key_of(coordinator)
        results = await coordinator.run(quorum, *raw_intent(cell, key_id, b"pay the bearer"))
        for result in results.values():
            assert verifies(public_key, b"pay the bearer", result.signatures[0]), result


async def test_the_certificate_is_signed_by_every_pinned_identity(cell: Cell) -> None:
    """A key is what all parties say it is, checked against the roster alone."""
    async with HostileCoordinator(cell).connected() as coordinator:
        signed = await coordinator.create_key()
        assert verify_certificate(signed, cell.roster).node_ids == cell.nodes


class TestSubstitutions:
    """Putting something of its own in the place of what was ordered."""

    async def test_of_a_roster_key(self, cell: Cell) -> None:
        """An identity of the coordinator's own, under a party's name, opens no channel."""
        impostor = IdentityKey.generate()
        ends: dict[bytes, PairwiseChannel] = {}
        broken: list[str] = []
        coordinator = HostileCoordinator(cell)

        def intercept(sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
            if {sender, recipient} != {"party-1", "party-2"}:
                return ((recipient, relay),)
            if sender == "party-2":
                return ()
            node = cell.roster.node("party-1")
            end = ends.get(relay.channel_id)
            if end is None:
                pinned = PinnedPeer("party-1", node.identity_key, node.identity_certificate)
                end = ends[relay.channel_id] = PairwiseChannel.server(
                    impostor,
                    "party-2",
                    pinned,
                    cell_id=cell.roster.cell_id,
                    channel_id=relay.channel_id,
                    utc=datetime.now(UTC),
                    now=time.monotonic(),
                )
            try:
                end.receive(relay.data)
            except ChannelError as error:
                broken.append(str(error))
            answer = party_pb2.Relay(node_id="party-2", channel_id=relay.channel_id, data=end.drain())
            return (("party-1", answer),) if answer.data else ()

        coordinator.hook = intercept
        async with coordinator.connected(channels=False):
            async with asyncio.timeout(10):
                while "party-3" not in coordinator.links["party-1"].channels or not broken:
                    await asyncio.sleep(0.01)
            assert ends, "the impostor was never asked"
            assert "party-2" not in coordinator.links["party-1"].channels

    async def test_of_the_roster(self, cell: Cell) -> None:
        """A link that claims another roster is not opened."""
        async with channel_to(cell, "party-1", cell.coordinator) as channel:
            hello = party_pb2.LinkHello(
                coordinator_id="coordinator-1", cell_id=cell.roster.cell_id, roster_hash=bytes(32)
            )
            call = party_pb2_grpc.PartyServiceStub(channel).Link(iter_of(party_pb2.LinkRequest(hello=hello)))
            with pytest.raises(grpc.aio.AioRpcError, match="another roster"):
                await call.read()

    async def test_of_the_coordinator(self, cell: Cell) -> None:
        """A certificate that the roster does not pin gets no further than TLS."""
        async with channel_to(cell, "party-1", cell.stranger) as channel:
            call = party_pb2_grpc.PartyServiceStub(channel).Link(iter_of(), timeout=3)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_of_the_committee_of_a_key(self, cell: Cell) -> None:
        """A key is made by the whole committee that the intent names, in its order, or not at all."""
        data, authorization = create_intent(cell)
        async with HostileCoordinator(cell).connected() as coordinator:
            for committee in (QUORUM, ("party-2", "party-1", "party-3"), ("party-1", "party-1", "party-2")):
                nonces = [coordinator.nonce(node) for node in committee]
                results = await self._ordered(coordinator, committee, nonces, data, authorization)
                assert outcomes(results) == {"intent-invalid"}

    async def test_of_a_committee_in_the_intent(self, cell: Cell) -> None:
        """A committee without party-3, under the root key's signature on the real one, is nobody's order."""
        data, authorization = create_intent(cell)
        intent = parse_intent(data)
        assert isinstance(intent.command, CreateKey)
        smaller = CreateKey(
            key_id=intent.command.key_id,
            wallet_id=intent.command.wallet_id,
            user_id=intent.command.user_id,
            scheme=intent.command.scheme,
            threshold=2,
            node_ids=QUORUM,
            policy=intent.command.policy,
        )
        forged = wrap(cell, cell.root, smaller, nonce=intent.nonce, valid_until_ms=intent.valid_until_ms)
        async with HostileCoordinator(cell).connected() as coordinator:
            assert outcomes(await coordinator.run(QUORUM, forged, authorization)) == {"intent-invalid"}

    async def test_of_an_address_on_a_chain_without_limits(self, cell: Cell) -> None:
        """Solana payloads name no cluster: coins of a cluster that the policy is silent about would move under the limits
        of the one that it names, so nobody is shown an address to send them to."""
        mainnet = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            for node in QUORUM:
                assert (await coordinator.attest(node, key_id)).signature.signature
                answer = await coordinator.attest(node, key_id, chain=mainnet)
                assert answer.error.code == "policy-denied"
                assert not answer.attestation
                assert not answer.signature.signature

    async def test_of_an_address(self, cell: Cell) -> None:
        """An attested address cannot be exchanged for another, nor shown for another key or path."""
        async with HostileCoordinator(cell).connected() as coordinator:
            signed = await coordinator.create_key()
            other = await coordinator.create_key()
            certificate = verify_certificate(signed, cell.roster)
            answers = [await coordinator.attest(node, certificate.key_id, (7,)) for node in QUORUM]
            assert answers[0].attestation == answers[1].attestation
            honest = certificate_pb2.SignedAddressAttestation(
                attestation=answers[0].attestation, signatures=[answer.signature for answer in answers]
            )
            attestation = verify_attestation(honest, certificate, cell.roster)
            assert attestation.path == (7,)

            message = certificate_pb2.AddressAttestation.FromString(honest.attestation)
            message.address = "9" * len(message.address)
            honest.attestation, kept = message.SerializeToString(deterministic=True), honest.attestation
            with pytest.raises(IntentError):
                verify_attestation(honest, certificate, cell.roster)
            honest.attestation = kept
            with pytest.raises(IntentError):
                verify_attestation(honest, verify_certificate(other, cell.roster), cell.roster)
            del honest.signatures[1]
            with pytest.raises(IntentError):
                verify_attestation(honest, certificate, cell.roster)

    @pytest.mark.parametrize("signer", ["initiator's old signature", "the coordinator's own key"])
    async def test_of_a_digest(self, cell: Cell, signer: str) -> None:
        """Other bytes to sign are another intent, and nobody that the policy names has signed it."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            data, authorization = raw_intent(cell, key_id, b"pay alice")
            forged = data.replace(b"pay alice", b"pay mallo")
            assert forged != data
            if signer == "the coordinator's own key":
                own = IdentityKey.generate()
                intent = parse_intent(forged)
                forged = wrap(cell, own, intent.command)
                authorization = authorize(forged, own)
            assert outcomes(await coordinator.run(QUORUM, forged, authorization)) <= {"intent-invalid", "policy-denied"}

    async def test_of_the_digest_for_one_party_only(self, cell: Cell) -> None:
        """Two intents that the initiator did sign, one per party, never meet in one session."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            first, second = raw_intent(cell, key_id, b"message one"), raw_intent(cell, key_id, b"message two")

            def change(node: str, order: party_pb2.StartSession) -> None:
                if node == "party-2":
                    order.intent, _ = second
                    order.authorization.CopyFrom(second[1])

            results = await coordinator.run(QUORUM, *first, change=change, deadline_ms=1000)
            assert outcomes(results) <= {"deadline-exceeded", "protocol-abort"}

    async def test_of_the_intent_under_one_operation_id(self, cell: Cell) -> None:
        """(initiator, nonce) is one intent for ever, even if the initiator itself signs two."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, public_key = await key_of(coordinator)
            nonce = secrets.token_bytes(32)
            first = raw_intent(cell, key_id, b"the one", nonce=nonce)
            second = raw_intent(cell, key_id, b"the other", nonce=nonce)
            results = await coordinator.run(QUORUM, *first)
            assert verifies(public_key, b"the one", results["party-1"].signatures[0])
            assert outcomes(await coordinator.run(QUORUM, *second)) == {"operation-conflict"}

    async def test_of_the_key(self, cell: Cell) -> None:
        """An order for one key does not move another, and a key nobody made does not exist."""
        async with HostileCoordinator(cell).connected() as coordinator:
            (key_id, _), (other, _) = await key_of(coordinator), await key_of(coordinator)
            data, authorization = raw_intent(cell, key_id, b"message")
            forged = data.replace(key_id.encode(), other.encode())
            assert outcomes(await coordinator.run(QUORUM, forged, authorization)) == {"intent-invalid"}
            unknown = raw_intent(cell, f"key_{secrets.token_hex(16)}", b"message")
            assert outcomes(await coordinator.run(QUORUM, *unknown)) == {"key-not-found"}

    async def test_of_the_session_id(self, cell: Cell) -> None:
        """Parties that were told different nonces are in different sessions, and neither ends in a signature."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)

            def change(node: str, order: party_pb2.StartSession) -> None:
                if node == "party-2":
                    order.participants[0].nonce = secrets.token_bytes(32)

            results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"m"), change=change, deadline_ms=1000)
            assert outcomes(results) == {"deadline-exceeded"}

    async def test_of_a_party_by_one_that_holds_no_share(self, cell: Cell) -> None:
        """A participant that is no node of the roster, or fewer than the threshold, is refused at once."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)

            def stranger(_node: str, order: party_pb2.StartSession) -> None:
                order.participants[1].node_id = "party-9"

            intent = raw_intent(cell, key_id, b"m")
            assert outcomes(await coordinator.run(QUORUM, *intent, change=stranger)) == {"intent-invalid"}
            assert outcomes(await coordinator.run(("party-1",), *intent)) == {"intent-invalid"}

    async def test_of_a_certificate(self, cell: Cell) -> None:
        """A key certificate that the coordinator made up activates nothing."""
        async with HostileCoordinator(cell).connected() as coordinator:
            signed = await coordinator.create_key()
            message = certificate_pb2.KeyCertificate.FromString(signed.certificate)
            message.policy.initiator_keys[0] = IdentityKey.generate().public
            forged = certificate_pb2.SignedKeyCertificate(certificate=message.SerializeToString(deterministic=True))
            own = IdentityKey.generate()
            for node in cell.nodes:
                entry = certificate_pb2.NodeSignature(node_id=node)
                entry.signature = own.sign(KEY_CERTIFICATE_TAG, forged.certificate)
                forged.signatures.append(entry)
            activate = party_pb2.ActivateKey(certificate=forged)
            coordinator.send("party-1", party_pb2.LinkRequest(activate=activate))
            async with asyncio.timeout(5):
                answer = await coordinator.activated.get()
            assert not answer.active

    @staticmethod
    async def _ordered(
        coordinator: HostileCoordinator,
        committee: tuple[str, ...],
        nonces: list[bytes],
        data: bytes,
        authorization: object,
    ) -> dict[str, party_pb2.SessionResult]:
        def change(_node: str, order: party_pb2.StartSession) -> None:
            del order.participants[:]
            for member, nonce in zip(committee, nonces, strict=True):
                order.participants.add(node_id=member, nonce=nonce)

        distinct = tuple(dict.fromkeys(committee))
        return await coordinator.run(distinct, data, authorization, change=change)  # type: ignore[arg-type]


class TestDelivery:
    """Replaying, reordering, withholding, altering and misdirecting what it relays."""

    async def test_replaying_an_order_with_its_old_nonces(self, cell: Cell) -> None:
        """A nonce enters one session; the same order again is refused before anything secret is touched."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, public_key = await key_of(coordinator)
            intent = raw_intent(cell, key_id, b"once")
            nonces = [coordinator.nonce(node) for node in QUORUM]
            results = await coordinator.run(QUORUM, *intent, nonces=nonces)
            assert verifies(public_key, b"once", results["party-1"].signatures[0])
            assert outcomes(await coordinator.run(QUORUM, *intent, nonces=nonces)) == {"intent-invalid"}

    async def test_replaying_frames_of_an_old_session(self, cell: Cell) -> None:
        """Old records do not decrypt again; the channel dies, is made anew, and nothing was signed by them."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, public_key = await key_of(coordinator)
            await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"first"))
            old = [(to, relay) for sender, to, relay in coordinator.relayed if sender == "party-1" and to == "party-2"]
            futures = coordinator.start(QUORUM, *raw_intent(cell, key_id, b"second"), deadline_ms=1000)
            for recipient, relay in old:
                coordinator.send(recipient, party_pb2.LinkRequest(relay=relay))
            for future in futures.values():
                for signature in (await future).signatures:
                    assert verifies(public_key, b"second", signature)

    async def test_reordering_records(self, cell: Cell) -> None:
        """Two records of a channel in the wrong order are an error, not two messages."""
        held: list[tuple[str, party_pb2.Relay]] = []
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)

            def swap(sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
                if (sender, recipient) != ("party-1", "party-2"):
                    return ((recipient, relay),)
                held.append((recipient, relay))
                if len(held) < 2:
                    return ()
                swapped = tuple(reversed(held))
                held.clear()
                return swapped

            coordinator.hook = swap
            first = coordinator.start(QUORUM, *raw_intent(cell, key_id, b"a"), deadline_ms=1500)
            second = coordinator.start(QUORUM, *raw_intent(cell, key_id, b"b"), deadline_ms=1500)
            results = {f"{i}": await future for i, future in enumerate((*first.values(), *second.values()))}
            outcomes(results)

    async def test_withholding_the_last_message(self, cell: Cell) -> None:
        """A party that waits in vain ends with its deadline, not for ever, and without a signature."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            coordinator.hook = lambda _sender, _recipient, _relay: ()
            results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"m"), deadline_ms=700)
            assert outcomes(results) == {"deadline-exceeded"}

    @pytest.mark.parametrize("position", [0, 5, -1])
    async def test_altering_a_record(self, cell: Cell, position: int) -> None:
        """A flipped bit anywhere in a record costs the session, and gives no signature."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)

            def flip(_sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
                altered = bytearray(relay.data)
                altered[position] ^= 1
                relay.data = bytes(altered)
                return ((recipient, relay),)

            coordinator.hook = flip
            results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"m"), deadline_ms=700)
            outcomes(results)

    async def test_misdirecting_a_record(self, cell: Cell) -> None:
        """What was sealed for one party is noise to another, whatever sender the relay names."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)

            def misdirect(sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
                relay.node_id = "party-3"
                return ((recipient, relay),) if sender == "party-1" else (("party-3", relay),)

            coordinator.hook = misdirect
            results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"m"), deadline_ms=700)
            assert outcomes(results) == {"deadline-exceeded"}

    async def test_a_channel_that_was_broken_is_made_anew(self, cell: Cell) -> None:
        """After all that, an honest order on the same links is signed."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, public_key = await key_of(coordinator)
            for _, recipient, relay in list(coordinator.relayed):
                coordinator.send(recipient, party_pb2.LinkRequest(relay=relay))
            async with asyncio.timeout(20):
                while True:
                    results = await coordinator.run(QUORUM, *raw_intent(cell, key_id, b"m"), deadline_ms=1000)
                    if all(result.signatures for result in results.values()):
                        break
            assert verifies(public_key, b"m", results["party-2"].signatures[0])


class TestAuthority:
    """Orders that are genuine, but not from somebody who may give them, or not any more."""

    async def test_an_expired_intent(self, cell: Cell) -> None:
        """Nobody takes part in an intent after its end."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            late = raw_intent(cell, key_id, b"m", valid_until_ms=int(time.time() * 1000) - 1)
            assert outcomes(await coordinator.run(QUORUM, *late)) == {"policy-denied"}

    async def test_an_intent_that_expires_while_messages_are_withheld(self, cell: Cell) -> None:
        """The validity is asked for again before the last message leaves."""
        released = asyncio.Event()
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            held: list[tuple[str, party_pb2.Relay]] = []

            def hold(_sender: str, recipient: str, relay: party_pb2.Relay) -> Iterable[tuple[str, party_pb2.Relay]]:
                if released.is_set():
                    return ((recipient, relay),)
                held.append((recipient, relay))
                return ()

            coordinator.hook = hold
            soon = raw_intent(cell, key_id, b"m", valid_until_ms=int(time.time() * 1000) + 700)
            futures = coordinator.start(QUORUM, *soon, deadline_ms=5000)
            await asyncio.sleep(0.9)
            released.set()
            for recipient, relay in held:
                coordinator.send(recipient, party_pb2.LinkRequest(relay=relay))
            assert outcomes({node: await future for node, future in futures.items()}) == {"policy-denied"}

    async def test_a_root_key_that_is_no_initiator(self, cell: Cell) -> None:
        """Who may order keys may not therefore sign with them."""
        async with HostileCoordinator(cell).connected() as coordinator:
            key_id, _ = await key_of(coordinator)
            command = parse_intent(raw_intent(cell, key_id, b"m")[0]).command
            assert isinstance(command, Sign)
            data = wrap(cell, cell.root, command)
            assert outcomes(await coordinator.run(QUORUM, data, authorize(data, cell.root))) == {"policy-denied"}

    async def test_an_initiator_that_is_no_root_key(self, cell: Cell) -> None:
        """Who may sign with a key may not therefore order another."""
        async with HostileCoordinator(cell).connected() as coordinator:
            command = parse_intent(create_intent(cell)[0]).command
            data = wrap(cell, cell.initiator, command)
            results = await coordinator.run(cell.nodes, data, authorize(data, cell.initiator))
            assert outcomes(results) == {"policy-denied"}

    async def test_raw_messages_where_the_policy_does_not_allow_them(self, cell: Cell) -> None:
        """Bytes that no codec explains are signed only for keys made for that."""
        async with HostileCoordinator(cell).connected() as coordinator:
            certificate = parse_certificate((await coordinator.create_key(allow_raw=False)).certificate)
            results = await coordinator.run(QUORUM, *raw_intent(cell, certificate.key_id, b"m"))
            assert outcomes(results) == {"policy-denied"}


async def test_a_roster_with_another_identity_has_another_hash(cell: Cell) -> None:
    """So that whoever pins one notices the other."""
    first, *rest = cell.roster.nodes
    identity = IdentityKey.generate()
    certificate = identity_certificate(identity, first.node_id, datetime.now(UTC))
    forged = Node(first.node_id, first.index, identity.public, certificate, first.transport_certificate, first.address)
    roster = Roster(cell.roster.cell_id, (forged, *rest), tenants=cell.roster.tenants)
    assert roster.roster_hash != cell.roster.roster_hash


async def iter_of(*frames: party_pb2.LinkRequest) -> AsyncIterator[party_pb2.LinkRequest]:
    """A request stream that stays open."""
    for frame in frames:
        yield frame
    await asyncio.sleep(10)
