"""The transfer extension: right rows for honest parties, and every inconsistent message refused but for lucky guesses."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.primitives.ot import extension
from keyquorum_core_signer.primitives.ot.extension import ROW_BYTES, InconsistentExtension, bits_of
from support.simulator import seeded_rng
from support.transfers import PLACE, bad_column, dealt_seeds

SENDER, RECEIVER = dealt_seeds(1)
DELTA = bits_of(SENDER.delta)


def extended(place=PLACE, seed=0, seeds=RECEIVER):
    return extension.receive(seeds, place, seeded_rng("extension", seed))


def flip(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_the_receiver_has_the_row_of_each_choice():
    """512 transfers, both kinds of choice, and rows that differ by Delta at the sender."""
    received, message = extended()
    sent = extension.send(SENDER, PLACE, message)
    choices = bits_of(received.choices)
    assert len(choices) == 512
    assert 180 < sum(choices) < 332
    for j, choice in enumerate(choices):
        at = slice(j * ROW_BYTES, (j + 1) * ROW_BYTES)
        assert received.rows[at] == (sent.zeros, sent.ones)[choice][at]
        assert bytes(a ^ b for a, b in zip(sent.zeros[at], sent.ones[at], strict=True)) == SENDER.delta


def test_hashed_rows_show_no_difference():
    """What the sender uses of its rows is unrelated between transfers and places."""
    _, message = extended()
    sent = extension.send(SENDER, PLACE, message)
    hashes = extension.hashed(sent.zeros, PLACE, 48)
    pieces = [hashes[at : at + 48] for at in range(0, len(hashes), 48)]
    assert len(set(pieces)) == 512
    assert extension.hashed(sent.zeros, b"\x09" * 32, 48)[:48] != pieces[0]
    rows = extension.hashed(bytes(len(sent.zeros)), PLACE, 16)
    assert len({rows[at : at + 16] for at in range(0, len(rows), 16)}) == 512  # the position is hashed


@pytest.mark.parametrize("field", ["nonce", "u", "x_hat", "t_hat"])
def test_any_altered_field_is_refused(field):
    """One bit of any field, wherever it is: the random matrix hangs on all of U and on the nonce."""
    _, message = extended()
    data = getattr(message, field)
    for at in {0, len(data) // 2, len(data) - 1}:
        with pytest.raises(InconsistentExtension):
            extension.send(SENDER, PLACE, replace(message, **{field: flip(data, at)}))


def test_messages_of_other_places_and_pairs_are_refused():
    """A replay from another session, direction or pair."""
    _, message = extended(b"\x09" * 32)
    with pytest.raises(InconsistentExtension):
        extension.send(SENDER, PLACE, message)
    _, message = extended(seeds=dealt_seeds(2)[1])
    with pytest.raises(InconsistentExtension):
        extension.send(SENDER, PLACE, message)


@pytest.mark.parametrize("column", [0, 1, 2, 3, 63, 64, 126, 127])
def test_one_bad_column_is_a_guess_of_one_bit_of_delta(column):
    """Other choices in one column of U are refused where Delta has a one, and do nothing at all where it has a zero."""
    received, message = extended(seeds=bad_column(RECEIVER, column))
    if DELTA[column]:
        with pytest.raises(InconsistentExtension):
            extension.send(SENDER, PLACE, message)
    else:
        sent = extension.send(SENDER, PLACE, message)
        choice = bits_of(received.choices)[0]
        assert received.rows[:ROW_BYTES] == (sent.zeros, sent.ones)[choice][:ROW_BYTES]


def test_many_bad_columns_are_refused():
    """Whoever needs more than a few bits of Delta is found out."""
    seeds = RECEIVER
    for column in range(40):
        seeds = bad_column(seeds, column)
    with pytest.raises(InconsistentExtension):
        extension.send(SENDER, PLACE, extended(seeds=seeds)[1])


def drawing(*draws):
    """A generator that gives what the test says: nonce, then choices and masking choices."""
    remaining = iter(draws)
    return lambda _: next(remaining)


def test_the_answer_to_the_check_is_masked():
    """What R shows of the choices is hidden by choices that are thrown away: in each of its bits."""
    answers = [
        extension.receive(RECEIVER, PLACE, drawing(bytes(32), bytes(64) + mask))[1].x_hat
        for mask in (bytes(16), b"\xff" * 16, bytes(range(16)))
    ]
    assert answers == [bytes(16), b"\xff" * 16, bytes(range(16))]  # no choice is one, so only the masks show


def test_the_nonce_renews_the_streams():
    """Two extensions in one place by mistake, with the same choices, share no stream and no row."""
    one, two = (extension.receive(RECEIVER, PLACE, drawing(bytes([k]) * 32, bytes(80))) for k in (0, 1))
    for data in zip((one[1].u, one[0].rows), (two[1].u, two[0].rows), strict=True):
        differing = sum((a ^ b).bit_count() for a, b in zip(*data, strict=True))
        assert 0.45 < differing / (8 * len(data[0])) < 0.55


def test_reprs():
    """Seeds and rows do not show."""
    received, message = extended()
    sent = extension.send(SENDER, PLACE, message)
    for thing in (SENDER, RECEIVER, received, sent):
        assert repr(thing) == f"{type(thing).__name__}()"
