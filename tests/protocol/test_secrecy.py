"""No repr, exception or traceback of a protocol holds a secret, not even one that captures local variables."""

import traceback
from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import BIP340, FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.primitives.sealed import SealingKey
from keyquorum_core_signer.protocols.dkg.complaint import ShareComplaint
from keyquorum_core_signer.protocols.dkg.keygen import keygen
from keyquorum_core_signer.protocols.dkg.messages import KeygenCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.frost.sign import sign, variant_for
from keyquorum_core_signer.protocols.keys import encode_share
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, Inbox
from support.committee import SeededCertifier, context, keygen_programs, run, shares_of, sign_programs
from support.simulator import seeded_rng

SUITES = [FROST_ED25519, FROST_SECP256K1, BIP340]
each_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.scheme)


def forms(*secrets):
    """How a secret could show: decimal, hex, Python bytes, either byte order."""
    for secret in secrets:
        data = secret if isinstance(secret, bytes) else secret.to_bytes()
        yield from (data.hex(), data[::-1].hex(), repr(data)[2:-1], repr(data[::-1])[2:-1])
        yield from (str(int.from_bytes(data, order)) for order in ("big", "little"))


def assert_silent(text, *secrets):
    """None of the secrets shows in the text."""
    for form in forms(*secrets):
        assert form not in text


class Spy:
    """An rng that remembers what it gave away."""

    def __init__(self, *seed):
        self._rng, self.drawn = seeded_rng(*seed), []

    def __call__(self, length):
        self.drawn.append(self._rng(length))
        return self.drawn[-1]

    def __repr__(self):
        return "rng"


@each_suite
def test_the_search_sees(suite):
    """What is looked for would be found: an encoded share does hold its secret."""
    share = shares_of(suite, 2, 3)[0]
    with pytest.raises(AssertionError):
        assert_silent(encode_share(share).hex(), share.secret)
    with pytest.raises(AssertionError):
        assert_silent(repr({"secret": share.secret.to_bytes()}), share.secret)
    with pytest.raises(AssertionError):
        assert_silent(f"value={share.secret.value}", share.secret)


@each_suite
def test_reprs(suite):
    """Shares, nonces, checkpoints, exchanges, inboxes and complaints say what they are, not what they hide."""
    share = shares_of(suite, 2, 3)[0]
    nonces = variant_for(suite).draw_nonces(share, share.public, b"pay", bytes(32), seeded_rng(1))
    things = [
        share,
        share.secret,
        Checkpoint(share),
        Exchange(to_each={1: share.secret}),
        Inbox(private={1: share.secret}),
        ShareComplaint((1,), share.secret.to_bytes()),
        (share,),
        {"share": share},
    ]
    for thing in things:
        assert_silent(f"{thing!r} {thing}", share.secret)
    shown = repr(nonces)
    assert_silent(shown, *nonces.take())


@each_suite
def test_tracebacks_of_key_generation(suite):
    """An abort in round 2, when all secrets are alive, shows none of them, nor what was sealed under them."""
    rng = Spy(0, 1)
    program = keygen(context(suite, "dkg/v1", 1, (1, 2, 3), 2), suite, SeededCertifier(1), rng)

    def corrupt(packet):
        data = packet.payload
        return [replace(packet, payload=data[:-1] + bytes([data[-1] ^ 1]))] if packet.private else [packet]

    programs = keygen_programs(suite, 2, (1, 2, 3))
    programs[1] = program
    simulator = run(suite, programs, taps={3: corrupt})
    failure = simulator.failures[1]
    rendered = "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())
    assert "sealed share" in rendered
    assert "f_i = " in rendered
    polynomial = [suite.group.reduce_wide(rng.drawn[k]) for k in (0, 1)]
    secrets = [*polynomial, *rng.drawn[:3], rng.drawn[4]]  # the chain code contribution, drawn fourth, is public
    codec, sealing = codec_for(suite), SealingKey(rng.drawn[4])
    first = [packet for packet in simulator.sent if packet.round == 1 and packet.recipient == 1]
    assert len(first) == 2
    secrets += [sealing.shared(codec.decode(KeygenCommitment, packet.payload).sealing_key).value for packet in first]
    assert_silent(rendered, *secrets)
    assert_silent(f"{failure!r} {failure} {failure.args}", *secrets)


@each_suite
def test_tracebacks_of_signing(suite, monkeypatch):
    """A failure while shares are being made shows neither nonces nor the key share."""
    share = shares_of(suite, 2, 3, (1,))[0]
    rng, nonces, take = Spy("sign"), [], NoncePair.take

    def spied(pair):
        nonces.extend(take(pair))
        return tuple(nonces[-2:])

    monkeypatch.setattr(NoncePair, "take", spied)
    program = sign(context(suite, "frost/v1", 1, (1, 2), 2), suite, share, ((b"pay", ()),), rng)
    honest = sign_programs(suite, shares_of(suite, 2, 3, (1, 2)), ((b"pay", ()),))[2]
    next(program)
    program.send(Inbox({2: next(honest).to_all}))
    rendered = ""
    try:
        program.throw(RuntimeError("lost"))
    except RuntimeError as error:
        rendered = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "nonces = " in rendered
    assert len(nonces) == 2
    assert_silent(rendered, share.secret, *nonces, *rng.drawn)
