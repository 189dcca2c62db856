"""A generator that repeats itself, as in two clones of one machine: what a peer makes of it, and what stops it."""

import pytest

from keyquorum_core_signer.groups.suites import FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, NonceCommitment
from keyquorum_core_signer.protocols.frost.rfc9591 import prepare
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.rounds import Inbox, PartyId
from support.committee import context, dealt
from support.simulator import seeded_rng

each_suite = pytest.mark.parametrize("suite", [FROST_ED25519, FROST_SECP256K1], ids=lambda suite: suite.scheme)
VICTIM, PEER = PartyId(1), PartyId(2)


def solve(rows):
    """The unknowns of as many linear equations over a group's scalars: rows of coefficients and a right side."""
    rows = [list(row) for row in rows]
    for k in range(len(rows)):
        pivot = rows[k][k].inverse()
        rows[k] = [value * pivot for value in rows[k]]
        for other in range(len(rows)):
            if other != k:
                factor = rows[other][k]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[k], strict=True)]
    return [row[-1] for row in rows]


def extract(suite, share, rng_of):
    """What a peer takes for the victim's share after three sessions of one message, were the nonces the same in all.

    z = d + rho * e + (lambda * c) * s has three unknowns, and the peer's own commitments change rho and c.
    """
    group, rows = suite.group, []
    for k in range(3):
        session_id = bytes([k]) * 32
        ctx = context(suite, "frost/v1", VICTIM, (VICTIM, PEER), 2, session_id=session_id)
        program = sign(ctx, suite, share, ((b"pay", ()),), rng_of(session_id))
        honest = next(program).to_all.commitments[0]
        own = NonceCommitment(group.base_multiply(group.scalar(k + 2)), group.generator)
        z = program.send(Inbox({PEER: FrostCommitments((own,))})).to_all.shares[0]
        package = prepare(suite, share.public.public_key, b"pay", {VICTIM: honest, PEER: own})
        weight = lagrange(group, VICTIM, (VICTIM, PEER)) * package.challenge
        rows.append((group.scalar(1), package.binding_factors[VICTIM], weight, z))
    return solve(rows)[2]


@each_suite
def test_repeated_nonces_give_the_share_away(suite):
    """RFC 9591 hedges against a known generator, not against one that repeats: the share comes out."""
    share = dealt(suite, [suite.group.scalar(2**200 + 9), suite.group.scalar(2**210 + 7)], 2)[0]
    assert extract(suite, share, lambda _: seeded_rng("clone")) == share.secret


@each_suite
def test_hedged_nonces_do_not_repeat(suite):
    """With the session in them, the same bytes of the generator make other nonces."""
    share = dealt(suite, [suite.group.scalar(2**200 + 9), suite.group.scalar(2**210 + 7)], 2)[0]
    assert extract(suite, share, lambda session_id: hedged(seeded_rng("clone"), session_id)) != share.secret
