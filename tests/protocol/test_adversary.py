"""A party that changes each field of each message gets no signature and no key, and nobody else is blamed for it."""

import pytest

from keyquorum_core_signer.groups.suites import BIP340, FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.protocols.rounds import PartyId
from support.adversary import check, log, mutations, parse, places
from support.committee import SeededCertifier, keygen_programs, run, shares_of, sign_programs, signing_key

SUITES = [FROST_ED25519, FROST_SECP256K1, BIP340]
each_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.scheme)
MESSAGES = ((b"pay", ()), (b"pay again", (3,)))
OTHER_SESSION = {"session_id": b"\x44" * 32}


def valid_key(suite):
    """Everybody's statement is signed by everybody, and the share is the one of its public share."""

    def valid(party, result):
        share = result.share
        return suite.group.base_multiply(share.secret) == share.public.public_share(party) and all(
            SeededCertifier(party).verify(signer, result.statement, signature)
            for signer, signature in result.signatures
        )

    return valid


def valid_signatures(suite):
    """Every signature verifies under the key of its path."""
    public = shares_of(suite, 2, 3)[0].public

    def valid(_, signatures):
        return all(
            suite.verify(signing_key(suite, public, path), message, signature)
            for (message, path), signature in zip(MESSAGES, signatures, strict=True)
        )

    return valid


def keygen_session(suite, seed=0, **changes):
    """Fresh programs of a 2-of-3 key generation, the same every time."""
    return keygen_programs(suite, 2, (1, 2, 3), seed, **changes)


def sign_session(suite, seed=0, **changes):
    """Fresh programs of three signers of a 2-of-3 key, so that two honest ones can be set against each other."""
    return sign_programs(suite, shares_of(suite, 2, 3, (1, 2, 3)), MESSAGES, seed, **changes)


@each_suite
@pytest.mark.parametrize(
    ("session", "valid"), [(keygen_session, valid_key), (sign_session, valid_signatures)], ids=["dkg", "frost"]
)
def test_every_field_of_every_message(suite, session, valid):
    """Bit flips, zeros, bad points, oversizes, other sessions' and rounds' values, duplicates, equivocation."""
    me = PartyId(2)
    honest = log(run(suite, session(suite)))
    earlier = log(run(suite, session(suite, 7, **OTHER_SESSION)))
    count = 0
    for mutation in mutations(suite.group, me, honest, earlier):
        count += 1
        altered = set()
        simulator = run(suite, session(suite), seed=count, taps={me: mutation.tap(altered)})
        check(mutation, simulator, me, altered, valid(suite))
    fields = sum(
        len(list(places(parse(payload)))) for (sender, to, *_), payload in honest.items() if (sender, to) == (me, 1)
    )
    assert count > 20 * fields
