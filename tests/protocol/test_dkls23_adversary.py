"""A party that changes each field of each message gets no signature out of DKLs23, and nobody else is blamed for it."""

from functools import cache
from itertools import islice

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.primitives import rvole
from keyquorum_core_signer.protocols.dkls23 import pairing
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.rounds import PartyId
from support.adversary import check, log, mutations, parse, places
from support.committee import run
from support.dkls23 import DIGEST, SECOND_SESSION, child_key, pair_programs, sign_programs, signers
from support.simulator import seeded_rng

ME = PartyId(2)
UNATTRIBUTED = {"signature", "sum of pk_i is the key"}  # what more than two parties cannot tell the maker of


@pytest.fixture
def remembering(monkeypatch):
    """Multiplications that were computed once are not computed again: with fixed randomness they are pure functions."""
    begin, multiply, finish = rvole.begin, rvole.multiply, rvole.Bob.finish

    @cache
    def begun(group, seeds, place, gadget):
        return begin(group, seeds, place, gadget, seeded_rng("begin", place))

    @cache
    def multiplied(seeds, place, gadget, message, inputs):
        return multiply(seeds, place, gadget, message, inputs=inputs, rng=seeded_rng("multiply", place))

    monkeypatch.setattr(rvole, "begin", lambda *arguments: begun(*arguments[:4]))
    monkeypatch.setattr(rvole, "multiply", lambda *arguments, inputs, rng: multiplied(*arguments, inputs))
    monkeypatch.setattr(rvole.Bob, "finish", cache(finish))


def nameless(simulator):
    """An abort that names nobody counts as one that blames nobody, but only in the steps that cannot tell."""
    for state in simulator.parties.values():
        failure = state.failure
        if isinstance(failure, ProtocolAbort) and not failure.culprits and len(simulator.parties) > 2:
            assert failure.step in UNATTRIBUTED
            state.failure = EchoMismatch(failure.step)
    return simulator


def valid_signature(public_key):
    def valid(_, signature):
        return ECDSA.verify(public_key, DIGEST, signature.r_s)

    return valid


def changed(programs, valid, chosen):
    """Each chosen mutation, once; the number of them."""
    honest = log(run(ECDSA, programs()))
    earlier = log(run(ECDSA, programs(seed=7, **SECOND_SESSION)))
    count, seen = 0, set()
    for mutation in chosen(mutations(ECDSA.group, ME, honest, earlier)):
        if (mutation.name, mutation.place, mutation.victims) in seen:
            continue  # with one peer, everybody and one peer only are the same
        seen.add((mutation.name, mutation.place, mutation.victims))
        count += 1
        altered = set()
        simulator = run(ECDSA, programs(), seed=count, taps={ME: mutation.tap(altered)})
        check(mutation, nameless(simulator), ME, altered, valid)
    fields = sum(
        len(list(places(parse(payload)))) for (sender, to, *_), payload in honest.items() if (sender, to) == (ME, 1)
    )
    return count, fields


def test_every_field_of_every_message(remembering):
    """A 2-of-3 key, two signers: flips, zeros, bad points, oversizes, other sessions' and rounds' values, duplicates."""
    shares = signers(quorum=(1, 2))
    count, fields = changed(
        lambda seed=0, **changes: sign_programs(shares, seed, **changes), valid_signature(child_key(shares)), iter
    )
    assert count > 10 * fields


def test_two_honest_signers_against_one(remembering):
    """A 2-of-3 key, three signers: every so many of the changes, towards both honest ones or towards one of them."""
    shares = signers()
    count, _ = changed(
        lambda seed=0, **changes: sign_programs(shares, seed, **changes),
        valid_signature(child_key(shares)),
        lambda every: islice(every, 0, None, 11),
    )
    assert count > 60


def test_every_field_of_pairing(monkeypatch):
    """Pairing, with 8 transfers in place of 128: the first pair of points and everything else of each message."""
    monkeypatch.setattr(pairing, "ROW_BYTES", 1)
    monkeypatch.setattr(pairing, "BASE_TRANSFERS", 8)

    def first_transfer(every):
        later = tuple(f"field 3.0.{k}" for k in range(1, 8)) + tuple(f"field 1.0.{k}" for k in range(1, 8))
        return (mutation for mutation in every if not mutation.name.partition(": ")[2].startswith(later))

    halves = run(ECDSA, pair_programs()).results

    def valid(party, setup):
        return setup.id == halves[party].id

    count, fields = changed(lambda seed=0, **changes: pair_programs(seed=seed, **changes), valid, first_transfer)
    assert count > 4 * fields
