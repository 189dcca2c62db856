"""Threshold ECDSA in a worker process: pair set-ups, signing, presigning, and the online message. DKLs23.

A pair set-up and a presignature are secrets as a share is: they leave the worker sealed, and are opened only here.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.worker_context import Worker, peers_of
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.protocols.dkls23 import online as online_phase
from keyquorum_core_signer.protocols.dkls23 import pairing as pair_protocol
from keyquorum_core_signer.protocols.dkls23 import presign as presign_protocol
from keyquorum_core_signer.protocols.dkls23 import sign as sign_protocol
from keyquorum_core_signer.protocols.dkls23.batch import presign_all
from keyquorum_core_signer.protocols.dkls23.online import EcdsaSignature
from keyquorum_core_signer.protocols.dkls23.presignature import (
    Presignature,
    decode_presignature,
    encode_presignature,
)
from keyquorum_core_signer.protocols.dkls23.setup import PairSetup, decode_setup, encode_setup
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds
from keyquorum_core_signer.runtime.job import JobRefused
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.runtime.session import Session
from keyquorum_core_signer.store.envelope import EnvelopeError
from keyquorum_core_signer.wire.codec import DecodeError

# The largest message holds 16 multiplications of 50 KB; the most rounds are three, with two envelopes per peer in each.
_LIMITS: Final = SessionLimits(rounds_max=3, envelopes_per_peer_max=12)
_CODEC: Final = codec_for(ECDSA)


@dataclass(frozen=True, slots=True)
class PairingJob:
    """The checkpoint holds our half, sealed; the result says nothing new."""

    session: Session[Any]
    worker: Worker
    share_key: jobs.ShareKey

    def checkpoint(self, value: PairSetup) -> bytes:
        """Our half, sealed."""
        return jobs.encode(jobs.MadeHalf(value.id, self.worker.seal(self.share_key, encode_setup(value))))

    def result(self, value: PairSetup) -> bytes:
        """The id of the set-up that both have confirmed."""
        return value.id


@dataclass(frozen=True, slots=True)
class CheckingJob:
    """What goes through multiplications: before they are checked, a checkpoint names the pairs."""

    session: Session[Any]

    def checkpoint(self, value: presign_protocol.PendingChecks) -> bytes:
        """The pairs whose checks are about to run."""
        return jobs.encode(jobs.PendingPairs(tuple((int(peer), setup_id) for peer, setup_id in value.pairs)))

    def result(self, value: tuple[EcdsaSignature, ...]) -> bytes:
        """Signatures, in the order of the messages."""
        return encode_signatures(value)


@dataclass(frozen=True, slots=True)
class PresigningJob(CheckingJob):
    """As above; the result is sealed."""

    worker: Worker
    share_key: jobs.ShareKey

    def result(self, value: tuple[Presignature, ...]) -> bytes:  # type: ignore[override]
        """Each presignature's id and envelope; the objects are used up by this."""
        made = tuple(
            (presignature.terms.id, self.worker.seal(self.share_key, encode_presignature(presignature)))
            for presignature in value
        )
        return jobs.encode(jobs.MadePresignatures(made))


@dataclass(frozen=True, slots=True)
class OnlinePhaseJob:
    """One message; nothing is checked that a pair could be lost by."""

    session: Session[Any]

    def checkpoint(self, value: Any) -> bytes:  # noqa: ARG002 - the port's signature
        """It has none."""
        raise TypeError("the online phase has no checkpoint")

    def result(self, value: tuple[EcdsaSignature, ...]) -> bytes:
        """Signatures, in the order of the messages."""
        return encode_signatures(value)


def encode_signatures(signatures: tuple[EcdsaSignature, ...]) -> bytes:
    """As the host takes them: 65 bytes each."""
    return jobs.encode(jobs.MadeSignatures(tuple(signature.to_bytes() for signature in signatures)))


def pairing(worker: Worker, job: jobs.PairJob) -> PairingJob:
    """Make a set-up with one peer. Its randomness is mixed with our identity: clones must not share transfers."""
    ctx = _context(worker, job.terms, pair_protocol.PROTOCOL)
    program = pair_protocol.pair(ctx, ECDSA, job.generation, _rng(worker, ctx))
    return PairingJob(_session(worker, job.terms, ctx, program), worker, job.share_key)


def signing(worker: Worker, job: jobs.EcdsaSignJob) -> CheckingJob:
    """Sign in three rounds."""
    ctx = _context(worker, job.terms, sign_protocol.PROTOCOL)
    share = worker.open_share(ECDSA, job.share, ctx)
    setups = _open_halves(worker, job.halves)
    program = sign_protocol.sign_all(ctx, ECDSA, share, job.messages, setups=setups, rng=_rng(worker, ctx))
    return CheckingJob(_session(worker, job.terms, ctx, program))


def presigning(worker: Worker, job: jobs.PresignJob) -> PresigningJob:
    """Make presignatures in two rounds."""
    ctx = _context(worker, job.terms, presign_protocol.PROTOCOL)
    share = worker.open_share(ECDSA, job.share, ctx)
    setups = _open_halves(worker, job.halves)
    program = presign_all(ctx, ECDSA, share, (job.path,) * job.count, setups=setups, rng=_rng(worker, ctx))
    return PresigningJob(_session(worker, job.terms, ctx, program), worker, job.share_key)


def online(worker: Worker, job: jobs.OnlineJob) -> OnlinePhaseJob:
    """Sign in one round with presignatures that the host has burned."""
    ctx = _context(worker, job.terms, online_phase.PROTOCOL)
    uses = tuple((_open_presignature(worker, job.share_key, use), use.path, use.digest) for use in job.uses)
    program = online_phase.finish_all(ctx, ECDSA, uses)
    return OnlinePhaseJob(_session(worker, job.terms, ctx, program))


def _context(worker: Worker, terms: jobs.SessionTerms, protocol: str) -> Context:
    return worker.context(terms, ECDSA, protocol, worker.seats(terms.participants))


def _session(worker: Worker, terms: jobs.SessionTerms, ctx: Context, program: Rounds[Any]) -> Session[Any]:
    return Session(ctx, program, _CODEC, worker.identity, peers_of(terms.participants), limits=_LIMITS)


def _rng(worker: Worker, ctx: Context) -> Rng:
    """Fresh bytes, mixed with the session and with a secret of the node's."""
    return hedged(secrets.token_bytes, "keyquorum/node-secret/v1", ctx.session_id, worker.identity.expose_seed())


def _open_halves(worker: Worker, halves: tuple[jobs.PairHalf, ...]) -> dict[PartyId, PairSetup]:
    setups = {}
    for half in halves:
        try:
            setup = decode_setup(worker.open(half.sealed))
        except (EnvelopeError, DecodeError):
            raise JobRefused("internal", "a stored pair set-up does not open") from None
        if (setup.peer, setup.id) != (half.peer, half.setup_id):
            raise JobRefused("internal", "a stored pair set-up is not the one it is said to be")
        setups[setup.peer] = setup
    return setups


def _open_presignature(worker: Worker, key: jobs.ShareKey, use: jobs.PresignatureUse) -> Presignature:
    try:
        presignature = decode_presignature(ECDSA, worker.open(jobs.Sealed(key, use.sealed)))
    except (EnvelopeError, DecodeError):
        raise JobRefused("internal", "a stored presignature does not open") from None
    if presignature.terms.id != use.presignature_id:
        raise JobRefused("internal", "a stored presignature is not the one it is said to be")
    return presignature
