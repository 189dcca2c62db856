"""RVOLE: shares of products for all inputs, and an Alice that is not the same everywhere is caught or guessed right."""

from collections import Counter
from dataclasses import replace
from unittest import mock

import pytest

from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives import rvole
from keyquorum_core_signer.primitives.ot import extension
from keyquorum_core_signer.primitives.ot.extension import InconsistentExtension, bits_of
from keyquorum_core_signer.primitives.rvole import InconsistentInputs
from support.simulator import seeded_rng
from support.transfers import GADGET, PLACE, cheating_multiply, dealt_seeds, recorded_places

SENDER, RECEIVER = dealt_seeds(1)
q = SECP256K1.order


def begun(seed=0, place=PLACE):
    return rvole.begin(SECP256K1, RECEIVER, place, GADGET, seeded_rng("bob", seed))


def answered(message, inputs=(5, 6), place=PLACE, multiply=rvole.multiply, gadget=GADGET):
    scalars = tuple(map(SECP256K1.scalar, inputs))
    return multiply(SENDER, place, gadget, message, inputs=scalars, rng=seeded_rng("alice", inputs))


EDGES = [(0, 0), (0, 1), (1, 0), (1, 1), (q - 1, 1), (q - 1, q - 1), (q // 2, q // 2 + 1), (0, q - 1)]
RANDOM = [tuple(SECP256K1.reduce_wide(seeded_rng("inputs", k, i)(64)).value for i in (0, 1)) for k in range(12)]


@pytest.mark.parametrize("inputs", EDGES + RANDOM)
def test_shares_of_the_products(inputs):
    """c_k + d_k = a_k * b."""
    bob, first = begun(inputs)
    c, second = answered(first, inputs)
    d = bob.finish(second)
    assert [x + y for x, y in zip(c, d, strict=True)] == [SECP256K1.scalar(a) * bob.b for a in inputs]


def test_shares_and_b_are_spread_over_the_field():
    """No share, mask or b is small or repeats; their top bits are as often one as zero."""
    values, tops = [], Counter()
    for k in range(40):
        bob, first = begun(k)
        c, second = answered(first, (0, 1))
        d = bob.finish(second)
        masked = int.from_bytes(second.masked[:32], "little")
        for value in (bob.b.value, c[0].value, c[1].value, d[0].value, second.eta.value, masked):
            values.append(value)
            tops[value >> 255] += 1
    assert len(set(values)) == len(values)
    assert min(values) > 1 << 240
    assert 80 < tops[1] < 160


def test_b_hangs_on_each_choice():
    """b is the sum of the gadget's elements that Bob chose, and the gadget is 512 different scalars."""
    bob, _ = begun()
    g = rvole._gadget(SECP256K1, GADGET)
    assert len(set(g)) == 512
    chosen = sum(int(g_j) for g_j, bit in zip(g, bits_of(bob.received.choices), strict=True) if bit)
    assert bob.b.value == chosen % q
    assert rvole._gadget(SECP256K1, bytes(32)) != g


def alter(message, field):
    value = getattr(message, field)
    if field == "eta":
        return replace(message, eta=value + SECP256K1.scalar(1))
    at = len(value) // 3
    return replace(message, **{field: value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]})


@pytest.mark.parametrize("field", ["nonce", "masked", "eta", "mu"])
def test_any_altered_field_is_refused(field):
    """The nonce, a~, eta or mu."""
    bob, first = begun()
    _, second = answered(first)
    with pytest.raises(InconsistentInputs):
        bob.finish(alter(second, field))


@pytest.mark.parametrize("value", [q, q + 1, 2**256 - 1])
def test_a_masked_input_is_below_the_order(value):
    """Another representative of the same scalar is refused, even where Bob would not have looked."""
    bob, first = begun()
    _, second = answered(first)
    for transfer in range(4):
        at = transfer * 96
        masked = second.masked[:at] + value.to_bytes(32, "little") + second.masked[at + 32 :]
        with pytest.raises(InconsistentInputs, match="order"):
            bob.finish(replace(second, masked=masked))


@pytest.mark.parametrize("transfer", [0, 1, 2, 3, 510, 511])
@pytest.mark.parametrize("right", [True, False])
def test_selective_failure(transfer, right):
    """An Alice that errs in one transfer must guess Bob's bit there: right, and nothing is noticed; wrong, and it is."""
    bob, first = begun()
    beta = bits_of(bob.received.choices)[transfer]
    guess = beta if right else 1 - beta
    c, second = answered(first, multiply=cheating_multiply(transfer, guess))
    if not right:
        with pytest.raises(InconsistentInputs):
            bob.finish(second)
        return
    d = bob.finish(second)
    off = c[0] + d[0] - SECP256K1.scalar(5) * bob.b
    assert off.value == beta * int(rvole._gadget(SECP256K1, GADGET)[transfer])


@pytest.mark.parametrize("which", range(4))
def test_coefficients_come_after_the_masked_inputs(which):
    """An Alice that knew theta beforehand would balance her error with the check input and need no guess at all."""
    bob, first = begun()
    transfer = [j for j, bit in enumerate(bits_of(bob.received.choices)) if bit][which]
    pack, calls = rvole._pack, []

    def balanced(values):
        calls.append(len(values))
        if len(calls) > 1:
            return pack(values)
        theta, _ = rvole._theta(SECP256K1, answer[0], pack(values))
        values = list(values)
        values[3 * transfer] = (values[3 * transfer] + 1) % q
        values[3 * transfer + 2] = (values[3 * transfer + 2] - theta) % q
        return pack(values)

    with recorded_places() as answer, mock.patch.object(rvole, "_pack", balanced):
        _, second = answered(first)
    with pytest.raises(InconsistentInputs):
        bob.finish(second)


def test_the_check_input_does_not_repeat():
    """With a generator that repeats itself, eta - theta * a is still another for each of Bob's messages and inputs.

    Three etas over one check input, under three thetas, would be three equations for the two inputs.
    """
    found = set()
    for seed in range(3):
        for inputs in ((5, 6), (5, 7)):
            _, first = begun(seed)
            scalars = tuple(map(SECP256K1.scalar, inputs))
            with recorded_places() as answer:
                _, second = rvole.multiply(SENDER, PLACE, GADGET, first, inputs=scalars, rng=bytes)
            theta = rvole._theta(SECP256K1, answer[0], second.masked)
            found.add((second.eta.value - int(theta[0]) * inputs[0] - int(theta[1]) * inputs[1]) % q)
    assert len(found) == 6


def chosen_by_bob(x):
    """Bob's message with choices of his own making and always one nonce, as only a dishonest Bob sends it."""
    draws = [x, bytes(32)]
    _, message = extension.receive(RECEIVER, PLACE, lambda _: draws.pop())
    return message


def test_two_answers_in_one_place_do_not_add_up():
    """A session that runs twice, by a cloned machine or a mistake, against a Bob who turns all of his choices over.

    His rows change places then, so that masks which hang on rows alone would cancel out and leave twice the inputs.
    """
    first, second = (answered(chosen_by_bob(x))[1].masked for x in (bytes(80), b"\xff" * 80))
    for k, a in enumerate((5, 6)):
        halves = (int.from_bytes(masked[32 * k : 32 * k + 32], "little") for masked in (first, second))
        assert sum(halves) % q != 2 * a


def test_two_answers_to_one_message_do_not_differ_by_the_inputs():
    """As before, but Bob says the same twice and Alice's input, a nonce, is another: how far apart is not shown."""
    message = chosen_by_bob(bytes(80))
    first, second = (answered(message, inputs)[1].masked for inputs in ((5, 6), (8, 6)))
    assert (int.from_bytes(second[:32], "little") - int.from_bytes(first[:32], "little")) % q != 3


def test_messages_of_other_places_are_refused():
    """Either message of another session, direction or pair."""
    bob, first = begun()
    _, elsewhere = begun(place=b"\x09" * 32)
    with pytest.raises(InconsistentExtension):
        answered(elsewhere)
    _, other = answered(elsewhere, place=b"\x09" * 32)
    with pytest.raises(InconsistentInputs):
        bob.finish(other)
    _, again = begun(1)
    with pytest.raises(InconsistentInputs):
        bob.finish(answered(again)[1])
    assert answered(first)[1] != other


def test_reprs():
    """Bob shows neither choices nor b."""
    bob, _ = begun()
    assert str(bob.b.value) not in repr(bob)
    assert "received" not in repr(bob)
