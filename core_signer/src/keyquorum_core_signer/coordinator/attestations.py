"""Attested addresses: at least ``t`` parties derive an address on their own, and sign the same statement."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.coordinator.committee import Committee
from keyquorum_core_signer.coordinator.failures import (
    ATTESTATION_REFUSED,
    BUSY,
    DEADLINE_EXCEEDED,
    INTENT_INVALID,
    KEY_NOT_FOUND,
    QUORUM_UNAVAILABLE,
    Failure,
    OperationFailed,
    most_specific,
)
from keyquorum_core_signer.coordinator.limits import ATTESTATIONS_MAX
from keyquorum_core_signer.coordinator.registry import KeyRegistry, RegisteredKey
from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.attestation import assemble_attestation, parse_attestation, verify_attestation
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.wire.identity import ADDRESS_TAG
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2


@dataclass(frozen=True, slots=True)
class AddressQuery:
    """Which address is asked for."""

    key_id: str
    path: tuple[int, ...]
    chain: str
    codec: str


class Attestor:
    """Asks all parties of a key at once and returns as soon as enough of them say the same."""

    def __init__(self, committee: Committee, registry: KeyRegistry, roster: Roster, *, attest_s: float) -> None:
        self._committee = committee
        self._registry = registry
        self._roster = roster
        self._attest_s = attest_s
        self._running = 0

    async def attest(
        self, query: AddressQuery, *, time_left_s: float | None = None
    ) -> certificate_pb2.SignedAddressAttestation:
        """An attestation that verifies; raises OperationFailed with the most specific thing that any party said."""
        key = self._find_key(query)
        if self._running >= ATTESTATIONS_MAX:
            raise OperationFailed(Failure(BUSY, f"{ATTESTATIONS_MAX} attestations are under way", retriable=True))
        self._running += 1
        try:
            return await self._gather(
                query, key, self._attest_s if time_left_s is None else min(self._attest_s, time_left_s)
            )
        finally:
            self._running -= 1

    def _find_key(self, query: AddressQuery) -> RegisteredKey:
        try:
            fields.path(query.path, "path")
            fields.caip2(query.chain, "chain")
            fields.name(query.codec, "codec")
        except IntentError as error:
            raise OperationFailed(Failure(INTENT_INVALID, error.detail)) from None
        key = self._registry.find(query.key_id)
        if key is None:
            raise OperationFailed(Failure(KEY_NOT_FOUND, "no certificate of this key is registered here"))
        return key

    async def _gather(
        self, query: AddressQuery, key: RegisteredKey, limit_s: float
    ) -> certificate_pb2.SignedAddressAttestation:
        members = [self._committee.members.get(node_id) for node_id in key.certificate.node_ids]
        links = [member.link for member in members if member is not None and member.link.up]
        collection = _Collection(query, key, self._roster, len(links))
        route = self._committee.new_route()
        frame = party_pb2.LinkRequest(
            attest=party_pb2.AttestAddress(
                route=route, key_id=query.key_id, path=query.path, chain=query.chain, codec=query.codec
            )
        )
        try:
            for link in links:
                link.open_route(route, collection)
            for link in links:
                if not link.send(frame):
                    link.drop("it takes no frames")
                    collection.on_lost(link.node_id, "it takes no frames")
            async with asyncio.timeout(limit_s):
                return await collection.result
        except TimeoutError:
            raise OperationFailed(collection.late()) from None
        finally:
            for link in links:
                link.close_route(route)


class _Collection:
    """The sink of one query's answers. Statements are counted as the exact bytes that were signed."""

    def __init__(self, query: AddressQuery, key: RegisteredKey, roster: Roster, asked: int) -> None:
        self._query = query
        self._key = key
        self._roster = roster
        self._awaited = asked
        self._signatures: dict[bytes, dict[str, bytes]] = defaultdict(dict)
        self._failures: list[Failure] = []
        self.result: Final[asyncio.Future[certificate_pb2.SignedAddressAttestation]] = (
            asyncio.get_running_loop().create_future()
        )
        self._end_if_hopeless()

    def on_progress(self, node_id: str, round_number: int) -> None:
        """Not an answer to a query: ignored."""

    def on_result(self, node_id: str, result: party_pb2.SessionResult) -> None:
        """Not an answer to a query: ignored."""

    def on_attested(self, node_id: str, attested: party_pb2.Attested) -> None:
        """A party attested an address, or refused to."""
        if self.result.done():
            return
        self._awaited -= 1
        if attested.HasField("error"):
            self._failures.append(Failure.from_party(attested.error, self._key.certificate.node_ids))
        elif self._is_answer(node_id, attested):
            self._signatures[attested.attestation][node_id] = attested.signature.signature
        else:
            refused = Failure(ATTESTATION_REFUSED, f"{node_id} does not attest what was asked for", culprits=(node_id,))
            self._failures.append(refused)
        self._end_if_enough(attested.attestation)
        self._end_if_hopeless()

    def on_lost(self, node_id: str, reason: str) -> None:
        """A party's link ended before it answered."""
        self._awaited -= 1
        self._failures.append(Failure(QUORUM_UNAVAILABLE, f"{node_id} was lost: {reason}", retriable=True))
        self._end_if_hopeless()

    def late(self) -> Failure:
        """Why there is no attestation when time is over."""
        return most_specific(self._failures) or Failure(
            DEADLINE_EXCEEDED, f"{self._awaited} parties did not answer in time", retriable=True
        )

    def _is_answer(self, node_id: str, attested: party_pb2.Attested) -> bool:
        if attested.signature.node_id != node_id:
            return False
        if not self._roster.verify(node_id, ADDRESS_TAG, attested.attestation, attested.signature.signature):
            return False
        try:
            attestation = parse_attestation(attested.attestation)
        except IntentError:
            return False
        asked = (self._query.key_id, self._query.path, self._query.chain, self._query.codec)
        return (attestation.key_id, attestation.path, attestation.chain, attestation.codec.name) == asked

    def _end_if_enough(self, statement: bytes) -> None:
        signatures = self._signatures.get(statement, {})
        if self.result.done() or len(signatures) < self._key.certificate.threshold:
            return
        signed = assemble_attestation(statement, signatures)
        try:
            verify_attestation(signed, self._key.certificate, self._roster)
        except IntentError as error:
            self._failures.append(Failure(ATTESTATION_REFUSED, error.detail, culprits=tuple(sorted(signatures))))
            del self._signatures[statement]
        else:
            self.result.set_result(signed)

    def _end_if_hopeless(self) -> None:
        """Fail where even if all that are still awaited said what most have said, it would not be enough."""
        if self.result.done():
            return
        most = max((len(signatures) for signatures in self._signatures.values()), default=0)
        needed = self._key.certificate.threshold
        if most + self._awaited >= needed:
            return
        worst = most_specific(self._failures)
        if worst is None and self._signatures:
            worst = Failure(ATTESTATION_REFUSED, "the parties do not attest the same: do they pin the same codec?")
        elif worst is None:
            detail = f"{needed} parties are needed, {self._awaited} can be reached"
            worst = Failure(QUORUM_UNAVAILABLE, detail, retriable=True)
        self.result.set_exception(OperationFailed(worst))
