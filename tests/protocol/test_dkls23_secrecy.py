"""No repr, exception or traceback of DKLs23 holds a secret, not even one that captures local variables."""

import traceback

import pytest

from keyquorum_core_signer.groups.ciphersuite import Scalar
from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.primitives.ot.extension import packed
from keyquorum_core_signer.protocols.dkls23.presign import PendingChecks
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, Inbox, PartyId
from support.committee import run
from support.dkls23 import dealt_setup, pair_programs, presign_programs, presigned, sign_programs, signers


def forms(secret):
    """How a secret could show: decimal, hex, Python bytes, either byte order."""
    data = secret if isinstance(secret, bytes) else secret.to_bytes()
    yield from (data.hex(), data[::-1].hex(), repr(data)[2:-1], repr(data[::-1])[2:-1])
    yield from (str(int.from_bytes(data, order)) for order in ("big", "little"))


def assert_silent(text, *secrets):
    """None of the secrets shows in the text."""
    for secret in secrets:
        for form in forms(secret):
            assert form not in text


def secrets_of(setup):
    """All of a set-up that must never show."""
    keys = [*setup.sender.keys, *(key for pair in setup.receiver.pairs for key in pair)]
    return [setup.sender.delta, setup.zero_seed, *keys]


def test_the_search_sees():
    """What is looked for would be found."""
    setup = dealt_setup(1, 2)
    with pytest.raises(AssertionError):
        assert_silent(repr(setup.sender.delta), *secrets_of(setup))
    with pytest.raises(AssertionError):
        assert_silent(f"{signers()[0].secret.value}", signers()[0].secret)


def test_reprs():
    """Set-ups, presignatures and what carries them say what they are, not what they hide."""
    setup = dealt_setup(1, 2)
    for thing in (setup, Checkpoint(setup), {2: setup}, PendingChecks(((PartyId(2), setup.id),))):
        assert_silent(f"{thing!r} {thing}", *secrets_of(setup))
    presignature = presigned(signers(quorum=(1, 2)))[1]
    shown = f"{presignature!r} {presignature}"
    assert_silent(shown, *presignature.take())


def rendered(program):
    """The traceback of a failure where the program stands, local variables and all."""
    try:
        program.throw(RuntimeError("lost"))
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError("the program went on")


def scalars_in(program):
    """The secret scalars in the frame of the innermost generator."""
    while program.gi_yieldfrom is not None and program.gi_yieldfrom.gi_yieldfrom is not None:
        program = program.gi_yieldfrom
    local = program.gi_frame.f_locals
    found = [value for value in local.values() if isinstance(value, Scalar)]
    found += [bob.b for bob in local.get("bobs", {}).values()]
    return found + [scalar for pair in local.get("c", {}).values() for scalar in pair]


def stepped(steps):
    """Party 1 of a presigning, waiting in its second exchange; party 2 in lock step with it."""
    programs = presign_programs(signers(quorum=(1, 2)))
    one, two = programs[PartyId(1)], programs[PartyId(2)]
    sent = {1: next(one), 2: next(two)}
    for _ in range(steps):
        answers = {
            me: Inbox({other: sent[other].to_all}, {other: sent[other].to_each[me]}) for me, other in ((1, 2), (2, 1))
        }
        for me, program in ((1, one), (2, two)):
            sent[me] = program.send(answers[me])
            while isinstance(sent[me], Checkpoint):
                sent[me] = program.send(None)
    assert isinstance(sent[1], Exchange)
    return one


@pytest.mark.parametrize(("steps", "secrets"), [(0, 3), (1, 7)])
def test_tracebacks_of_presigning(steps, secrets):
    """A failure while nonces, shares, products and set-ups are alive shows none of them."""
    program = stepped(steps)
    found = scalars_in(program)
    assert len(found) >= secrets
    text = rendered(program)
    assert "bobs = " in text
    assert_silent(text, *found, signers()[0].secret, *secrets_of(dealt_setup(1, 2)))


def test_aborts_of_presigning():
    """The exception of a ban, its evidence and its traceback hold nothing of the pair or the session."""

    def tap(packet):
        if packet.round != 2 or not packet.private:
            return [packet]
        data = packet.payload
        return [type(packet)(packet.sender, packet.recipient, 2, True, data[:-1] + bytes([data[-1] ^ 1]))]

    failure = run(ECDSA, sign_programs(signers(quorum=(1, 2))), taps={2: tap}).failures[1]
    text = "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())
    assert "bobs = " in text
    share = signers()[0]
    assert_silent(text + repr(failure) + str(failure.args), share.secret, *secrets_of(dealt_setup(1, 2)))


def test_tracebacks_of_pairing():
    """A failure in the second exchange of pairing shows neither Delta nor a key of the transfers."""
    programs = pair_programs()
    one, two = programs[PartyId(1)], programs[PartyId(2)]
    first = {1: next(one), 2: next(two)}
    one.send(Inbox({}, {2: first[2].to_each[1]}))
    local = one.gi_frame.f_locals
    secrets = [local["contribution"].value, *(key for pair in local["receiver"].pairs for key in pair)]
    secrets.append(packed(local["receiving"].choices))
    text = rendered(one)
    assert "receiving = " in text
    assert_silent(text, *secrets, *local["receiving"].exponents)
