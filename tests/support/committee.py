"""A committee for protocol tests: contexts, identities that certify, keys made by the protocol or dealt at once."""

from functools import cache

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from keyquorum_core_signer.groups.suites import Bip340, Suite
from keyquorum_core_signer.primitives import shamir, vss
from keyquorum_core_signer.protocols.dkg.keygen import keygen
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.frost.tweaks import taproot_key
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, derive
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Context, PartyId
from support.simulator import Simulator, seeded_rng

COMMITTEES = [(2, 2), (2, 3), (3, 5), (5, 9)]  # (t, n)


class SeededCertifier:
    """Ed25519 identities that anybody can recompute from the party's index."""

    def __init__(self, me: int) -> None:
        self._me = me

    def statement(self, public: PublicKeyPackage, transcript_hash: bytes) -> bytes:
        return b"key " + public.public_key.to_bytes() + public.chain_code + transcript_hash

    def sign(self, statement: bytes) -> bytes:
        return _identity(self._me).sign(statement).signature

    def verify(self, party: int, statement: bytes, signature: bytes) -> bool:
        try:
            _identity(party).verify_key.verify(statement, signature)
        except (BadSignatureError, ValueError, TypeError):
            return False
        return True


@cache
def _identity(party: int) -> SigningKey:
    return SigningKey(bytes([party]) * 32)


def context(suite: Suite, protocol: str, me: int, parties, threshold: int, **changes) -> Context:
    """One party's view of a session; ``changes`` replace single fields."""
    values = {
        "cell_id": "cell-test",
        "protocol": protocol,
        "suite": suite.context_string,
        "session_id": bytes(31) + b"\x01",
        "me": PartyId(me),
        "parties": tuple(map(PartyId, parties)),
        "threshold": threshold,
        "key_id": "key-1",
        "epoch": 1,
        "binding": b"\x02" * 32,
    }
    return Context(**(values | changes))


def keygen_programs(suite: Suite, threshold: int, parties, seed=0, **changes):
    """One key generation per party, not yet run."""
    return {
        PartyId(me): keygen(
            context(suite, "dkg/v1", me, parties, threshold, **changes),
            suite,
            SeededCertifier(me),
            seeded_rng(seed, me),
        )
        for me in parties
    }


def sign_programs(suite: Suite, shares, messages, seed=0, **changes):
    """One signer per share, not yet run; ``shares`` are the signers'."""
    parties = [share.party for share in shares]
    return {
        share.party: sign(
            context(suite, "frost/v1", share.party, parties, share.public.threshold, **changes),
            suite,
            share,
            messages,
            seeded_rng("sign", seed, share.party),
        )
        for share in shares
    }


def signing_key(suite: Suite, public: PublicKeyPackage, path) -> bytes:
    """The key that signatures for a path verify under: the child, or the Taproot output of the child."""
    child = derive(suite, public, path)[1].public_key
    return (taproot_key(suite, child).Q if isinstance(suite, Bip340) else child).to_bytes()


def run(suite: Suite, programs, seed=0, taps=None) -> Simulator:
    """Run programs of one suite through its codec."""
    return Simulator(codec_for(suite), programs, seed, taps).run()


@cache
def generated(suite: Suite, threshold: int, n: int):
    """The result of one key generation per party; made once."""
    simulator = run(suite, keygen_programs(suite, threshold, range(1, n + 1)))
    assert not simulator.failures, simulator.failures
    return simulator.results


def shares_of(suite: Suite, threshold: int, n: int, signers=None):
    """Key shares of ``signers``, by default the last ``threshold`` parties."""
    results = generated(suite, threshold, n)
    chosen = signers if signers is not None else sorted(results)[-threshold:]
    return [results[PartyId(party)].share for party in chosen]


def dealt(suite: Suite, coefficients, n: int, chain_code: bytes = bytes(32)) -> list[KeyShare]:
    """The shares of a polynomial chosen by the test: what a dealer who knows the key would hand out."""
    commitment = vss.commit(coefficients)
    parties = [PartyId(i) for i in range(1, n + 1)]
    public = PublicKeyPackage(
        commitment[0], chain_code, tuple((i, vss.public_share(commitment, i)) for i in parties), len(coefficients)
    )
    return [KeyShare(i, shamir.evaluate(coefficients, i), public, "key-1", 1) for i in parties]


def reconstruct(shares):
    """The secret key, from at least ``threshold`` shares: what no party ever does."""
    group = shares[0].secret.group
    indices = [share.party for share in shares]
    weighted = (shamir.lagrange(group, share.party, indices) * share.secret for share in shares)
    return sum(weighted, group.zero())
