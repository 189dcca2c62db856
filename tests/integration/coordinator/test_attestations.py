"""Addresses: enough parties say the same, or there is none."""

import asyncio
import time

import grpc
import pytest

from integration.coordinator.harness import refusal, settled
from integration.coordinator.scripted import CHAIN
from keyquorum_core_signer.intents.attestation import verify_attestation
from keyquorum_core_signer.intents.certificate import verify_certificate
from keyquorum_core_signer.wire.identity import ADDRESS_TAG
from keyquorum_protos.signer.v1 import signer_pb2
from keyquorum_protos.wallet.v1 import wallet_pb2


@pytest.fixture(autouse=True)
async def key(gateway):
    await gateway.make_key()


def request(**changes):
    fields = {"key_id": "key_1", "path": [], "chain": CHAIN, "codec": "solana"}
    return wallet_pb2.AttestAddressRequest(**(fields | changes))


async def attest(gateway, **changes):
    response = await gateway.wallets.AttestAddress(request(**changes), timeout=10)
    return response.attestation


async def test_enough_parties_attest(cell, gateway):
    """The attestation verifies against the certificate and the pinned roster."""
    signed = await attest(gateway)
    certificate = verify_certificate(cell.certificates["key_1"], cell.roster)
    assert verify_attestation(signed, certificate, cell.roster).address == "address-of-key_1"
    assert len(signed.signatures) >= 2


async def test_one_party_less_is_enough(cell, gateway, coordinator):
    """A party that is down, silent or refuses is not needed."""
    await cell.parties["party-3"].kill()
    await attest(gateway)
    await cell.parties["party-3"].start()
    await settled(coordinator, *cell.node_ids)
    cell.parties["party-2"].script.silent = True
    await attest(gateway)


async def test_a_forger_is_not_counted(cell, gateway):
    """A signature that does not verify, or another's, is no attestation."""

    def other_name(answer):
        answer.signature.node_id = "party-1"

    def bad_signature(answer):
        answer.signature.signature = bytes(64)

    for forge in (other_name, bad_signature):
        cell.parties["party-2"].script.attestation = forge
        signed = await attest(gateway)
        assert {signature.node_id for signature in signed.signatures} == {"party-1", "party-3"}


async def test_another_address_is_not_mixed_in(cell, gateway):
    """A party that attests another address, well signed, is outvoted; two different ones are none."""

    def lie(answer):
        answer.attestation = answer.attestation.replace(b"address-of-key_1", b"address-of-mallo")
        answer.signature.signature = cell.identities[answer.signature.node_id].sign(ADDRESS_TAG, answer.attestation)

    cell.parties["party-2"].script.attestation = lie
    assert b"mallo" not in (await attest(gateway)).attestation
    cell.parties["party-3"].script.silent = True
    code, reason, _ = await refusal(gateway.wallets.AttestAddress(request(), timeout=10))
    assert code is not grpc.StatusCode.OK
    assert reason in ("deadline-exceeded", "attestation-refused")


async def test_an_answer_to_another_question_is_not_taken(cell, gateway):
    """A statement about another path, however well signed, is refused and its signers are named."""

    def other_path(answer):
        asked = answer.route
        party = cell.parties[answer.signature.node_id]
        question = wallet_pb2.AttestAddressRequest(key_id="key_1", path=[9], chain=CHAIN, codec="solana")
        party.link.attest(question, answer)
        answer.route = asked

    for party in cell.parties.values():
        party.script.attestation = other_path
    code, reason, _ = await refusal(gateway.wallets.AttestAddress(request(), timeout=10))
    assert (code, reason) == (grpc.StatusCode.INTERNAL, "attestation-refused")


@pytest.mark.parametrize(
    ("reported", "status"),
    [
        ("scheme-unavailable", grpc.StatusCode.INVALID_ARGUMENT),
        ("intent-invalid", grpc.StatusCode.INVALID_ARGUMENT),
        ("key-not-found", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_the_parties_refuse_is_passed_on(cell, gateway, reported, status):
    """The most specific thing that they say reaches the gateway."""
    for party in cell.parties.values():
        party.script.error = signer_pb2.OperationError(code=reported, detail="because")
    code, reason, _ = await refusal(gateway.wallets.AttestAddress(request(), timeout=10))
    assert (code, reason) == (status, reported)


async def test_too_few_parties_fail_at_once(cell, gateway, coordinator):
    """Nobody is waited for who is not linked."""
    await cell.parties["party-1"].kill()
    await cell.parties["party-2"].kill()
    while any(coordinator.committee.members[n].link.up for n in ("party-1", "party-2")):
        await asyncio.sleep(0.01)
    began = time.monotonic()
    code, reason, retriable = await refusal(gateway.wallets.AttestAddress(request(), timeout=10))
    assert (code, reason, retriable) == (grpc.StatusCode.FAILED_PRECONDITION, "quorum-unavailable", True)
    assert time.monotonic() - began < 1


async def test_a_party_lost_while_asked_is_not_waited_for(cell, gateway):
    """A loss counts as an answer."""
    for party in cell.parties.values():
        party.script.silent = True
    call = asyncio.create_task(refusal(gateway.wallets.AttestAddress(request(), timeout=10)))
    await asyncio.sleep(0.1)
    await cell.parties["party-1"].kill()
    await cell.parties["party-2"].kill()
    code, reason, _ = await call
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "quorum-unavailable")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"key_id": "key_9"}, grpc.StatusCode.NOT_FOUND),
        ({"path": [2**31]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"path": [0] * 20}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"chain": "solana"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"codec": "../codec"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_nonsense_is_refused_before_anybody_is_asked(gateway, changes, status):
    """Paths, chains and names have their forms."""
    code, _, _ = await refusal(gateway.wallets.AttestAddress(request(**changes), timeout=10))
    assert code is status
