"""Events keep their names, their bytes and their one place in the log."""

import pytest

from keyquorum_core_signer.store import events, pair_events
from keyquorum_core_signer.store.commands import NodeSignature, Spend

H = bytes(32)
SAMPLES: dict[str, events.Event] = {
    "operation-admitted": events.OperationAdmitted(
        "op_1", H, "sign", "default", "key_1", H, H, 5, (Spend("a", 2**255, 1, 1),)
    ),
    "operation-readmitted": events.OperationReadmitted("op_1", 3, ()),
    "operation-emitted": events.OperationEmitted("op_1"),
    "operation-released": events.OperationReleased("op_1", 2),
    "share-prepared": events.SharePrepared(
        "op_1", "key_1", 1, 1, "wal_1", "usr_1", "default", "eddsa_ed25519", "soft:a:1", b"s", H
    ),
    "epoch-activated": events.EpochActivated("key_1", 1, H, (NodeSignature("party-1", b"x"),)),
    "share-updated": events.ShareUpdated("key_1", 1, 2, "soft:a:2", H),
    "shares-deleted": events.SharesDeleted("op_1", "key_1", 1),
    "peer-banned": events.PeerBanned("op_1", "party-2", "key_1", "bad proof", H),
    "operations-pruned": events.OperationsPruned(7),
    "pair-setup-stored": pair_events.PairSetupStored("party-2", "dkls23", 1, H, "soft:a:1", H),
    "pair-setup-destroyed": pair_events.PairSetupDestroyed("party-2", "dkls23", 1, "stale"),
    "pair-checks-begun": pair_events.PairChecksBegun(H, (("party-2", "dkls23", H),)),
    "pair-checks-ended": pair_events.PairChecksEnded(H),
    "peer-condemned": pair_events.PeerCondemned("op_1", "party-2", "bad row", H, 1),
    "peer-pardoned": pair_events.PeerPardoned("party-2", "replaced", 2),
    "presignatures-kept": pair_events.PresignaturesKept("key_1", 1, (0, 1), ("a", "b"), "dkls23", ((H, H),)),
    "presignatures-burned": pair_events.PresignaturesBurned("op_1", H, "key_1", (H,)),
    "presignatures-voided": pair_events.PresignaturesVoided("restart", "", "", 0, (H,), 1),
}


def test_every_kind_has_a_sample() -> None:
    """The tests below leave no kind of event out."""
    assert SAMPLES.keys() == events.KINDS.keys()


@pytest.mark.parametrize("kind", events.KINDS)
def test_events_survive_the_log(kind: str) -> None:
    """What was written is what is replayed."""
    event = SAMPLES[kind]
    assert events.kind_of(event) == kind
    assert events.decode(kind, events.encode(event)) == event


@pytest.mark.parametrize("kind", events.KINDS)
def test_bytes_of_one_kind_are_no_other(kind: str) -> None:
    """A payload filed under another kind, cut or extended, is refused and not misread."""
    payload = events.encode(SAMPLES[kind])
    for other in events.KINDS:
        if other != kind:
            with pytest.raises(ValueError):
                events.decode(other, payload)
    for wrong in (payload[:-1], payload + b"\x00", b""):
        with pytest.raises(ValueError):
            events.decode(kind, wrong)


def test_names_are_distinct() -> None:
    """No two kinds of event can ever claim one name."""
    assert len({event.event_id for event in SAMPLES.values()}) == len(SAMPLES)
    assert len({event.event_id.split("/")[0] for event in SAMPLES.values()}) == len(SAMPLES)


def test_admissions_name_follows_from_initiator_and_nonce_alone() -> None:
    """The rule of one intent per (initiator, nonce) rests on this name being unique in the log."""
    one, other = bytes([1]) * 32, bytes([2]) * 32
    names = {events.admission_id(i, n) for i in (one, other) for n in (one, other)}
    assert len(names) == 4
    admitted = SAMPLES["operation-admitted"]
    assert isinstance(admitted, events.OperationAdmitted)
    assert admitted.event_id == events.admission_id(admitted.initiator, admitted.nonce)
