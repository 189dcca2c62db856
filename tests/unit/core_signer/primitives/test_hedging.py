"""Hedged randomness follows the generator, the circumstances and the call."""

from keyquorum_core_signer.primitives.hedging import hedged
from support.simulator import seeded_rng


def test_every_input_counts():
    """Another generator, circumstance, call or length gives unrelated bytes; the same ones give the same."""
    draws = [
        hedged(rng, *circumstances)(length)[:16]
        for rng in (bytes, lambda length: b"\x01" * length)
        for circumstances in ((), (b"session",), (b"sess", b"ion"))
        for length in (16, 32)
    ]
    stuck = hedged(bytes)
    draws += [stuck(32), stuck(32)][1:]
    assert len(set(draws)) == len(draws)
    assert hedged(seeded_rng(1), b"session")(64) == hedged(seeded_rng(1), b"session")(64)


def test_no_less_entropy_goes_in_than_comes_out():
    """The generator is asked for as many bytes as are given out, and never for fewer than 32."""
    asked = []

    def rng(length):
        asked.append(length)
        return bytes(length)

    assert [len(hedged(rng)(length)) for length in (1, 32, 64)] == [1, 32, 64]
    assert asked == [32, 32, 64]
