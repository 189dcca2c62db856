"""Keys through a coordinator: all parties or none, one certificate, and who missed the last round catches up."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from integration.coordinator.harness import gateway_of, running, settled, states
from integration.coordinator.scripted import make_scripted_cell
from keyquorum_core_signer.coordinator import ceremony
from keyquorum_core_signer.intents.certificate import verify_certificate
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_protos.signer.v1 import signer_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2, wallet_pb2


async def test_a_key_is_made_by_all_and_registered(cell, gateway):
    """All three take part; the certificate is returned, verifies, and is found by its id and by its wallet."""
    events = await gateway.create(cell.intent(cell.create("key_1")))
    assert states(events) == [
        "KEY_SHARE",
        "PREPARE_SIGN",
        "SIGN_ROUND1",
        "SIGN_ROUND2",
        "SIGN_ROUND2",
        "SIGN_ROUND2",
        "VERIFY",
        "COMPLETE",
    ]
    certificate = events[-1].certificate
    assert verify_certificate(certificate, cell.roster).key_id == "key_1"
    found = await gateway.wallets.GetKey(wallet_pb2.GetKeyRequest(key_id="key_1"))
    assert found.certificate == certificate
    page = await gateway.wallets.ListKeys(wallet_pb2.ListKeysRequest(wallet_id="wal_of_key_1"))
    assert list(page.certificates) == [certificate]
    assert [len(party.started) for party in cell.parties.values()] == [1, 1, 1]


async def test_a_registered_key_survives_the_coordinator(cell):
    """The next coordinator on the same log signs with it."""
    async with running(cell) as first, gateway_of(cell, first) as client:
        await client.make_key()
    async with running(cell) as second, gateway_of(cell, second) as client:
        assert states(await client.sign(cell.intent(cell.sign("key_1"))))[-1] == "COMPLETE"


async def test_a_key_id_is_used_once(cell, gateway):
    """A second intent for the same key id is refused before any party is asked."""
    await gateway.make_key()
    events = await gateway.create(cell.intent(cell.create("key_1")))
    assert (states(events)[-1], events[-1].error.code) == ("FAILED", "operation-conflict")
    assert not events[-1].error.retriable
    assert [len(party.started) for party in cell.parties.values()] == [1, 1, 1]


async def test_an_unknown_node_is_refused(cell, gateway):
    """A committee that the roster does not know is not waited for."""
    other = make_scripted_cell_command(cell)
    events = await gateway.create(cell.intent(other))
    assert (states(events)[-1], events[-1].error.code) == ("FAILED", "intent-invalid")


def make_scripted_cell_command(cell):
    command = cell.create("key_1")
    return type(command)(
        key_id=command.key_id,
        wallet_id=command.wallet_id,
        user_id=command.user_id,
        scheme=command.scheme,
        threshold=2,
        node_ids=("party-1", "party-9"),
        policy=command.policy,
    )


async def test_a_party_down_means_no_key(cell, gateway, monkeypatch):
    """Every party of the committee is needed; the failure names who is missing."""
    monkeypatch.setattr(ceremony, "QUORUM_WAIT_S", 0.3)
    await cell.parties["party-2"].kill()
    events = await gateway.create(cell.intent(cell.create("key_1")))
    error = events[-1].error
    assert (error.code, error.retriable) == ("quorum-unavailable", True)
    assert "party-2: no link" in error.detail


async def test_a_party_lost_before_anything_is_stored_is_tried_again(cell, gateway):
    """Until shares may be stored the same intent makes the key in another session, once the party is back."""
    victim = cell.parties["party-2"]
    victim.script.die_after = 0
    order = asyncio.create_task(gateway.create(cell.intent(cell.create("key_1"))))
    while victim.server is not None or not victim.started:
        await asyncio.sleep(0.01)
    await victim.start()
    events = await order
    assert states(events)[-1] == "COMPLETE"
    assert "RECOVERY" in states(events)


async def test_a_party_lost_in_the_last_round_catches_up(cell, gateway, coordinator):
    """One party's certificate with all signatures makes the key exist; the laggard gets it when its link is back."""
    victim = cell.parties["party-2"]
    victim.script.withhold_result = True
    victim.script.die_after = 3
    cell.parties["party-3"].script.withhold_result = True
    events = await gateway.create(cell.intent(cell.create("key_1")))
    assert states(events)[-1] == "COMPLETE"
    verify_certificate(events[-1].certificate, cell.roster)
    for _ in range(200):
        if cell.parties["party-3"].activated:
            break
        await asyncio.sleep(0.01)
    assert cell.parties["party-3"].activated == ["key_1"], "still linked: told at once"
    victim.prepared = ["key_1", "key_unknown"]
    await victim.start()
    await settled(coordinator, *cell.node_ids)
    for _ in range(200):
        if victim.activated:
            break
        await asyncio.sleep(0.01)
    assert victim.activated == ["key_1"]
    victim.script.withhold_result = False
    cell.parties["party-3"].script.withhold_result = False
    for _ in range(3):
        assert states(await gateway.sign(cell.intent(cell.sign("key_1"))))[-1] == "COMPLETE"


async def test_a_certificate_that_arrives_after_a_loss_counts(cell, gateway):
    """After a loss in the last round the coordinator waits a moment for those that are left."""
    cell.parties["party-2"].script.die_after = 2
    for node_id in ("party-1", "party-3"):
        cell.parties[node_id].script.think_s = 0.1
    events = await gateway.create(cell.intent(cell.create("key_1")))
    # Party 2 dies before it has sent its last message, so nobody can have the whole certificate: no key.
    error = events[-1].error
    assert (states(events)[-1], error.retriable) == ("FAILED", False)
    assert "order another one" in error.detail
    assert not cell.parties["party-1"].activated


def unsigned(signed):
    changed = certificate_pb2.SignedKeyCertificate.FromString(signed.SerializeToString())
    del changed.signatures[-1]
    return changed


def forged(signed):
    changed = certificate_pb2.SignedKeyCertificate.FromString(signed.SerializeToString())
    changed.signatures[1].signature = bytes(64)
    return changed


def absent(_signed):
    return certificate_pb2.SignedKeyCertificate()


@pytest.mark.parametrize("lie", [unsigned, forged, absent])
async def test_one_sound_certificate_is_enough_and_liars_are_named(cell, gateway, lie):
    """What the others report does not undo a certificate that all have signed, but it is noticed."""
    cell.parties["party-3"].script.certificate = lie
    events = await gateway.create(cell.intent(cell.create("key_1")))
    assert states(events)[-1] == "COMPLETE"
    assert events[-1].detail == "party-3 did not report the key's certificate"


@pytest.mark.parametrize("lie", [unsigned, forged, absent])
async def test_no_sound_certificate_means_no_key(cell, gateway, lie):
    """Where nobody reports a certificate with all signatures the operation fails, names them, and nothing is stored."""
    for party in cell.parties.values():
        party.script.certificate = lie
    events = await gateway.create(cell.intent(cell.create("key_1")))
    error = events[-1].error
    assert (states(events)[-1], error.code, error.retriable) == ("FAILED", "protocol-abort", False)
    assert list(error.culprits) == list(cell.node_ids)
    page = await gateway.wallets.ListKeys(wallet_pb2.ListKeysRequest())
    assert not page.certificates


async def test_two_certificates_that_all_have_signed_register_neither(cell, gateway):
    """Unequal certificates prove that every party signed twice: no key, and all are named."""
    data = cell.intent(cell.create("key_1"))
    second = cell.certificate_of(data, Ed25519PrivateKey.generate())
    cell.parties["party-3"].script.certificate = lambda _signed: second
    events = await gateway.create(data)
    error = events[-1].error
    assert (states(events)[-1], error.code) == ("FAILED", "protocol-abort")
    assert list(error.culprits) == list(cell.node_ids)
    page = await gateway.wallets.ListKeys(wallet_pb2.ListKeysRequest())
    assert not page.certificates


@pytest.mark.parametrize("change", ["user_id", "threshold", "policy", "wallet_id"])
async def test_a_certificate_of_another_order_is_not_taken(cell, gateway, change):
    """However well signed, a certificate says what was ordered or is none."""
    data = cell.intent(cell.create("key_1"))
    command = cell.create("key_1")
    fields = {name: getattr(command, name) for name in command.__slots__}
    fields[change] = {
        "user_id": "mallory",
        "threshold": 3,
        "policy": type(command.policy)((bytes(32),)),
        "wallet_id": "wal_other",
    }[change]
    other = cell.certificate_of(cell.intent(type(command)(**fields)), Ed25519PrivateKey.generate())
    for party in cell.parties.values():
        party.script.certificate = lambda _signed: other
    events = await gateway.create(data)
    assert (states(events)[-1], events[-1].error.code) == ("FAILED", "protocol-abort")


async def test_a_refusal_before_anything_is_stored_is_passed_on(cell, gateway):
    """ "scheme-unavailable" from a party reaches the gateway as it is."""
    refusal = signer_pb2.OperationError(code="scheme-unavailable", detail="not yet", retriable=False)
    cell.parties["party-2"].script.error = refusal
    events = await gateway.create(cell.intent(cell.create("key_1")))
    assert (states(events)[-1], events[-1].error.code) == ("FAILED", "scheme-unavailable")
    assert events[-1].error.detail == "party-2: not yet"


async def test_five_parties_make_and_use_a_three_of_five_key(tmp_path):
    """Nothing is particular to three parties."""
    cell = make_scripted_cell(tmp_path, parties=5)
    await cell.start()
    try:
        async with running(cell) as coordinator, gateway_of(cell, coordinator) as gateway:
            await gateway.make_key(threshold=3)
            await cell.parties["party-2"].kill()
            await cell.parties["party-4"].kill()
            events = await gateway.sign(cell.intent(cell.sign("key_1")))
            assert states(events)[-1] == "COMPLETE"
            assert events[2].detail == "quorum: party-1, party-3, party-5"
    finally:
        await cell.stop()


def test_the_roster_file_is_the_one_that_was_made(tmp_path):
    """The scripted cell's roster survives its file."""
    cell = make_scripted_cell(tmp_path)
    assert Roster.load(tmp_path / "roster.toml") == cell.roster
