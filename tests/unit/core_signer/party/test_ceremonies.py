"""What a worker makes of a job, up to its first message."""

from dataclasses import replace

from keyquorum_core_signer.groups.suites import FROST_ED25519
from keyquorum_core_signer.party import ceremonies, jobs
from keyquorum_core_signer.protocols.keys import encode_share
from keyquorum_core_signer.store.envelope import ShareContext, seal
from keyquorum_protos.party.v1.envelope_pb2 import Envelope
from support.committee import shares_of
from support.intents import cell
from support.simulator import seeded_rng

KEY = jobs.ShareKey("user-1", "key-1", "eddsa_ed25519", 1, 1, "kek-1", b"wrapped", b"\x07" * 32)


def sign_job() -> jobs.SignJob:
    """Parties 1 and 2 are to sign; party 1's share is sealed under a known key."""
    (share,) = shares_of(FROST_ED25519, 2, 3, (1,))
    where = ShareContext("party-1", KEY.user_id, KEY.key_id, KEY.scheme, KEY.epoch, KEY.version, KEY.kek_id)
    seats = tuple(jobs.Seat(node.node_id, node.index, node.identity_key) for node in cell().roster.nodes[:2])
    sealed = seal(KEY.data_key, KEY.wrapped_key, where, encode_share(share))
    terms = jobs.SessionTerms(bytes(32), seats, 2, KEY.key_id, KEY.epoch, b"\x02" * 32)
    return jobs.SignJob(terms, jobs.Sealed(KEY, sealed), ((b"pay", ()),))


def first_message(job: jobs.SignJob) -> bytes:
    """What party 1's worker sends in round 1."""
    setup = jobs.WorkerSetup("party-1", b"\x01" * 32, cell().roster.dump())
    (outgoing,) = ceremonies.make_jobs(jobs.encode(setup))(jobs.encode(job)).session.start()
    return Envelope.FromString(outgoing.data).payload


def test_clones_of_a_machine_draw_other_nonces(monkeypatch):
    """Two workers whose generators give the same bytes commit to the same nonces in one session only."""
    job, sent = sign_job(), []
    for session_id in (b"\x01" * 32, b"\x01" * 32, b"\x02" * 32):
        monkeypatch.setattr(ceremonies.secrets, "token_bytes", seeded_rng("clone"))
        sent.append(first_message(replace(job, terms=replace(job.terms, session_id=session_id))))
    assert sent[0] == sent[1] != sent[2]
