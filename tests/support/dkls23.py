"""DKLs23 for tests: nodes paired by a dealer, programs for every quorum, and parties that run altered code."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from unittest import mock

from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.protocols.dkls23 import online, pairing, presign, sign
from keyquorum_core_signer.protocols.dkls23.setup import PairSetup
from keyquorum_core_signer.protocols.keys import derive
from keyquorum_core_signer.protocols.rounds import PartyId, Rounds
from support.committee import context, run, shares_of
from support.simulator import Simulator, seeded_rng
from support.transfers import dealt_seeds

DIGEST = hashlib.sha256(b"pay").digest()
PATH = (0, 7)
SECOND_SESSION = {"session_id": b"\x44" * 32}


@cache
def dealt_setup(alice: int, bob: int, generation: int = 1) -> PairSetup:
    """``alice``'s half of her set-up with ``bob``, as pairing would make it."""
    low, high = sorted((alice, bob))
    ours, theirs = (dealt_seeds(generation, *pair) for pair in ((alice, bob), (bob, alice)))
    tag = f"{low} {high} {generation}".encode()
    return PairSetup(
        me=PartyId(alice),
        peer=PartyId(bob),
        generation=generation,
        id=hashlib.sha256(b"id" + tag).digest(),
        sender=ours[0],
        receiver=theirs[1],
        zero_seed=hashlib.sha256(b"zero" + tag).digest(),
    )


def setups_of(me: int, parties, generation: int = 1) -> dict[PartyId, PairSetup]:
    """One node's halves with all others."""
    return {PartyId(j): dealt_setup(me, j, generation) for j in parties if j != me}


def pair_programs(parties=(1, 2), generation=1, seed=0, **changes):
    """Both sides of a pairing, not yet run."""
    changes = {"key_id": "", "epoch": 0} | changes
    return {
        PartyId(me): pairing.pair(
            context(ECDSA, pairing.PROTOCOL, me, parties, 2, **changes),
            ECDSA,
            generation,
            seeded_rng("pair", seed, me),
        )
        for me in parties
    }


def sign_programs(shares, seed=0, *, digest=DIGEST, path=PATH, setups=None, **changes):
    """The cold path: one signer per share, not yet run. ``setups`` replaces those of single parties."""
    quorum = [share.party for share in shares]
    return {
        share.party: sign.sign(
            context(ECDSA, sign.PROTOCOL, share.party, quorum, share.public.threshold, **changes),
            ECDSA,
            share,
            digest,
            path,
            setups=(setups or {}).get(share.party, setups_of(share.party, quorum)),
            rng=seeded_rng("dkls23", seed, share.party),
        )
        for share in shares
    }


def presign_programs(shares, seed=0, *, path=PATH, setups=None, **changes):
    """Presigning by the holders of ``shares``, not yet run."""
    quorum = [share.party for share in shares]
    return {
        share.party: presign.presign(
            context(ECDSA, presign.PROTOCOL, share.party, quorum, share.public.threshold, **changes),
            ECDSA,
            share,
            path,
            setups=(setups or {}).get(share.party, setups_of(share.party, quorum)),
            rng=seeded_rng("dkls23", seed, share.party),
        )
        for share in shares
    }


def presigned(shares, seed=0, **options):
    """One fresh presignature per party."""
    simulator = run(ECDSA, presign_programs(shares, seed, **options), seed)
    assert not simulator.failures, simulator.failures
    return simulator.results


def finish_programs(presignatures, *, digest=DIGEST, path=PATH, **changes):
    """The online round of a 2-of-n key."""
    quorum = sorted(presignatures)
    return {
        me: online.finish(context(ECDSA, online.PROTOCOL, me, quorum, 2, **changes), ECDSA, presignature, path, digest)
        for me, presignature in presignatures.items()
    }


def signers(t=2, n=3, quorum=(1, 2, 3)):
    """Key shares of a quorum."""
    return shares_of(ECDSA, t, n, quorum)


def child_key(shares, path=PATH) -> bytes:
    """The public key that a path's signatures are for."""
    return derive(ECDSA, shares[0].public, path)[1].public_key.to_bytes()


def verify_elsewhere(public_key: bytes, digest: bytes, signature) -> None:
    """OpenSSL takes the signature, libsecp256k1 finds the key with the recovery id, and s is in the lower half."""
    r, s = (int.from_bytes(signature.r_s[at : at + 32], "big") for at in (0, 32))
    assert 0 < s <= ECDSA.group.order // 2
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))
    assert PublicKey.from_signature_and_message(signature.to_bytes(), digest, hasher=None).format() == public_key


def disguised(program: Rounds, *patches: tuple[object, str, object]) -> Rounds:
    """A party whose code is altered: each (module or class, name, replacement) holds while this program runs, no longer."""
    answer = None
    while True:
        with ExitStack() as stack:
            for owner, name, replacement in patches:
                stack.enter_context(mock.patch.object(owner, name, replacement))
            try:
                step = program.send(answer)
            except StopIteration as stop:
                return stop.value
        answer = yield step


def run_with(programs, seed=0, taps=None, **altered: Callable[[Rounds], Rounds]) -> Simulator:
    """Run programs, of which ``party_2=wrap`` passes through ``wrap`` first."""
    programs = dict(programs)
    for name, wrap in altered.items():
        party = PartyId(int(name.removeprefix("party_")))
        programs[party] = wrap(programs[party])
    return run(ECDSA, programs, seed, taps)
