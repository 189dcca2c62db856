"""What a worker process does for a party: it opens a share, runs a protocol, and seals what comes out.

This module is the pool's job factory; it runs in the worker only. The share exists in the clear between
``Worker.open_share`` and the end of the session, in the protocol generator's frame, and nowhere else. Threshold ECDSA is
in :mod:`.ecdsa_ceremonies`.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from keyquorum_core_signer.groups.suites import suite_for
from keyquorum_core_signer.intents.certificate import build_certificate, encode_certificate
from keyquorum_core_signer.intents.intent import CreateKey, Intent, parse_intent
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import ecdsa_ceremonies, jobs
from keyquorum_core_signer.party.worker_context import Worker, peers_of
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.protocols.dkg.keygen import PROTOCOL as DKG
from keyquorum_core_signer.protocols.dkg.keygen import KeygenResult, keygen
from keyquorum_core_signer.protocols.frost.sign import PROTOCOL as FROST
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, encode_share
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.job import Job, JobOpener, JobRefused
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.runtime.session import Session
from keyquorum_core_signer.wire.codec import DecodeError
from keyquorum_core_signer.wire.identity import KEY_CERTIFICATE_TAG, IdentityKey, verify

# DKG has three rounds, FROST two; an honest peer sends at most two envelopes in each, and repeats none. 16 parties'
# commitments are 1 KiB, 16 nonce pairs too.
_LIMITS: Final = SessionLimits(payload_bytes_max=16 * 1024, rounds_max=3, envelopes_per_peer_max=12)


def make_jobs(setup: bytes) -> JobOpener:
    """The job factory: ``setup`` is an encoded :class:`~keyquorum_core_signer.party.jobs.WorkerSetup`."""
    told = jobs.decode(jobs.WorkerSetup, setup)
    worker = Worker(told.node_id, Roster.parse(told.roster_toml.encode()), IdentityKey.from_seed(told.identity_seed))

    def open_job(data: bytes) -> Job:
        try:
            job = jobs.decode_job(data)
        except (DecodeError, KeyError):
            raise JobRefused("internal", "the job does not decode") from None
        return _OPENERS[type(job)](worker, job)

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
        sealed = self.worker.seal(self.share_key, encode_share(value))
        return jobs.encode(jobs.PreparedShare(sealed, self.certifier.stated))

    def result(self, value: KeygenResult) -> bytes:
        """The certificate with everybody's signature."""
        node_at = self.worker.roster.node_at
        signatures = tuple((node_at(party).node_id, signature) for party, signature in value.signatures)
        return jobs.encode(jobs.MadeKey(value.statement, signatures))


def _signing(worker: Worker, job: jobs.SignJob) -> SigningJob:
    suite = suite_for(job.share.key.scheme)
    ctx = worker.context(job.terms, suite, FROST, worker.seats(job.terms.participants))
    share = worker.open_share(suite, job.share, ctx)
    # A cloned machine may draw the same bytes for two sessions, and a nonce in two of them reveals the share.
    rng = hedged(secrets.token_bytes, job.terms.session_id)
    program = sign(ctx, suite, share, job.messages, rng)
    peers = peers_of(job.terms.participants)
    return SigningJob(Session(ctx, program, codec_for(suite), worker.identity, peers, limits=_LIMITS))


def _key_generation(worker: Worker, job: jobs.CreateKeyJob) -> KeyGenerationJob:
    suite = suite_for(job.share_key.scheme)
    intent = parse_intent(job.intent)
    if not isinstance(intent.command, CreateKey):
        raise JobRefused("internal", "the intent makes no key")
    ctx = worker.context(job.terms, suite, DKG, worker.seats(job.terms.participants))
    certifier = KeyCertifier(worker, intent, ctx.binding)
    program = keygen(ctx, suite, certifier, secrets.token_bytes)
    peers = peers_of(job.terms.participants)
    session = Session(ctx, program, codec_for(suite), worker.identity, peers, limits=_LIMITS)
    return KeyGenerationJob(session, worker, certifier, job.share_key)


_OPENERS: Final[dict[type, Callable[[Worker, Any], Job]]] = {
    jobs.SignJob: _signing,
    jobs.CreateKeyJob: _key_generation,
    jobs.PairJob: ecdsa_ceremonies.pairing,
    jobs.EcdsaSignJob: ecdsa_ceremonies.signing,
    jobs.PresignJob: ecdsa_ceremonies.presigning,
    jobs.OnlineJob: ecdsa_ceremonies.online,
}
