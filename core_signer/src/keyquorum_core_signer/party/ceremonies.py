"""What a worker process does for a party: it opens a share, runs a protocol, and seals what comes out.

This module is the pool's job factory; it runs in the worker only. The share exists in the clear between
``open_sealed`` and the end of the session, in the protocol generator's frame, and nowhere else.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyquorum_core_signer.groups.suites import Suite, suite_for
from keyquorum_core_signer.intents.certificate import build_certificate, encode_certificate
from keyquorum_core_signer.intents.intent import CreateKey, Intent, intent_hash, parse_intent
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.protocols.dkg.keygen import PROTOCOL as DKG
from keyquorum_core_signer.protocols.dkg.keygen import KeygenResult, keygen
from keyquorum_core_signer.protocols.frost.sign import PROTOCOL as FROST
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, decode_share, encode_share
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Context, PartyId
from keyquorum_core_signer.runtime.job import Job, JobOpener, JobRefused
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.runtime.session import Session
from keyquorum_core_signer.store.envelope import EnvelopeError, ShareContext, open_sealed, seal
from keyquorum_core_signer.wire.codec import DecodeError
from keyquorum_core_signer.wire.identity import KEY_CERTIFICATE_TAG, IdentityKey, verify

# DKG has three rounds, FROST two; an honest peer sends at most two envelopes in each, and repeats none.
_LIMITS = SessionLimits(payload_bytes_max=jobs.PAYLOAD_BYTES_MAX, rounds_max=3, envelopes_per_peer_max=12)


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker knows of its party."""

    node_id: str
    roster: Roster
    identity: IdentityKey = field(repr=False)


def make_jobs(setup: bytes) -> JobOpener:
    """The job factory: ``setup`` is an encoded :class:`~keyquorum_core_signer.party.jobs.WorkerSetup`."""
    told = jobs.decode_setup(setup)
    worker = Worker(told.node_id, Roster.parse(told.roster_toml.encode()), IdentityKey.from_seed(told.identity_seed))

    def open_job(data: bytes) -> Job:
        try:
            job = jobs.decode_job(data)
        except (DecodeError, KeyError):
            raise JobRefused("internal", "the job does not decode") from None
        return _signing(worker, job) if isinstance(job, jobs.SignJob) else _key_generation(worker, job)

    return open_job


@dataclass(frozen=True, slots=True)
class SigningJob:
    """FROST with a stored share."""

    session: Session[Any]

    def checkpoint(self, value: Any) -> bytes:  # noqa: ARG002 - the port's signature
        """Signing has none."""
        raise TypeError("a signing session has no checkpoint")

    def result(self, value: tuple[bytes, ...]) -> bytes:
        """Signatures, in the order of the messages."""
        return jobs.encode(jobs.MadeSignatures(tuple(value)))


class KeyCertifier:
    """States what key generation made, as the intent ordered it, and signs that with the node's identity key."""

    def __init__(self, worker: Worker, intent: Intent, digest: bytes) -> None:
        self._worker = worker
        self._intent = intent
        self._digest = digest
        self.stated = b""

    def statement(self, public: PublicKeyPackage, transcript_hash: bytes) -> bytes:
        """The key certificate's bytes; kept, because the stored share goes with them."""
        certificate = build_certificate(
            self._intent,
            self._digest,
            self._worker.roster,
            public_key=public.public_key.to_bytes(),
            chain_code=public.chain_code,
            public_shares=[point.to_bytes() for _, point in public.public_shares],
            transcript_hash=transcript_hash,
        )
        self.stated = encode_certificate(certificate)
        return self.stated

    def sign(self, statement: bytes) -> bytes:
        """The node's signature."""
        return self._worker.identity.sign(KEY_CERTIFICATE_TAG, statement)

    def verify(self, party: PartyId, statement: bytes, signature: bytes) -> bool:
        """Against the pinned identity key of the node at that index."""
        return verify(self._worker.roster.node_at(party).identity_key, KEY_CERTIFICATE_TAG, statement, signature)


@dataclass(frozen=True, slots=True)
class KeyGenerationJob:
    """Key generation: the share leaves sealed, in the checkpoint; the result is public."""

    session: Session[Any]
    worker: Worker
    certifier: KeyCertifier
    share_key: jobs.ShareKey

    def checkpoint(self, value: KeyShare) -> bytes:
        """The sealed share, and the statement that promises it."""
        key = self.share_key
        context = _share_context(self.worker.node_id, key)
        sealed = seal(key.data_key, key.wrapped_key, context, encode_share(value))
        return jobs.encode(jobs.PreparedShare(sealed, self.certifier.stated))

    def result(self, value: KeygenResult) -> bytes:
        """The certificate with everybody's signature."""
        node_at = self.worker.roster.node_at
        signatures = tuple((node_at(party).node_id, signature) for party, signature in value.signatures)
        return jobs.encode(jobs.MadeKey(value.statement, signatures))


def _signing(worker: Worker, job: jobs.SignJob) -> SigningJob:
    suite = suite_for(job.share_key.scheme)
    if not suite.signable:
        raise JobRefused("scheme-unavailable", f"no protocol signs {job.share_key.scheme} yet")
    context = _share_context(worker.node_id, job.share_key)
    try:
        share = decode_share(suite, open_sealed(job.share_key.data_key, context, job.sealed))
    except (EnvelopeError, DecodeError):
        raise JobRefused("internal", "the stored share does not open") from None
    seats = _seats(worker, job.participants)
    if share.party != seats[worker.node_id] or share.public.threshold != job.threshold:
        raise JobRefused("internal", "the stored share is not this party's")
    ctx = _context(worker, job, suite=suite, protocol=FROST, seats=seats, binding=job.intent_hash)
    # A cloned machine may draw the same bytes for two sessions, and a nonce in two of them reveals the share.
    rng = hedged(secrets.token_bytes, job.session_id)
    program = sign(ctx, suite, share, job.messages, rng)
    peers = _peers(job.participants)
    return SigningJob(Session(ctx, program, codec_for(suite), worker.identity, peers, limits=_LIMITS))


def _key_generation(worker: Worker, job: jobs.CreateKeyJob) -> KeyGenerationJob:
    suite = suite_for(job.share_key.scheme)
    intent = parse_intent(job.intent)
    if not isinstance(intent.command, CreateKey):
        raise JobRefused("internal", "the intent makes no key")
    digest = intent_hash(job.intent)
    seats = _seats(worker, job.participants)
    ctx = _context(worker, job, suite=suite, protocol=DKG, seats=seats, binding=digest)
    certifier = KeyCertifier(worker, intent, digest)
    program = keygen(ctx, suite, certifier, secrets.token_bytes)
    peers = _peers(job.participants)
    session = Session(ctx, program, codec_for(suite), worker.identity, peers, limits=_LIMITS)
    return KeyGenerationJob(session, worker, certifier, job.share_key)


def _seats(worker: Worker, participants: tuple[jobs.Seat, ...]) -> dict[str, PartyId]:
    """Node id to Shamir index; refuses seats that the worker's own roster does not confirm."""
    for seat in participants:
        node = worker.roster.find_node(seat.node_id)
        if node is None or (node.index, node.identity_key) != (seat.index, seat.identity_key):
            raise JobRefused("internal", f"{seat.node_id} is not seated as the roster says")
    return {seat.node_id: PartyId(seat.index) for seat in participants}


def _peers(participants: tuple[jobs.Seat, ...]) -> Mapping[PartyId, bytes]:
    return {PartyId(seat.index): seat.identity_key for seat in participants}


def _context(
    worker: Worker, job: jobs.Job, *, suite: Suite, protocol: str, seats: Mapping[str, PartyId], binding: bytes
) -> Context:
    return Context(
        cell_id=worker.roster.cell_id,
        protocol=protocol,
        suite=suite.context_string,
        session_id=job.session_id,
        me=seats[worker.node_id],
        parties=tuple(sorted(seats.values())),
        threshold=job.threshold,
        key_id=job.share_key.key_id,
        epoch=job.share_key.epoch,
        binding=binding,
    )


def _share_context(node_id: str, key: jobs.ShareKey) -> ShareContext:
    return ShareContext(
        party=node_id,
        user_id=key.user_id,
        key_id=key.key_id,
        scheme=key.scheme,
        epoch=key.epoch,
        version=key.version,
        kek_id=key.kek_id,
    )
