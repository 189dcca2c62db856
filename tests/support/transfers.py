"""Oblivious transfer for tests: base keys dealt at once, and parties of a multiplication that cheat in the known ways."""

from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from keyquorum_core_signer.primitives import rvole
from keyquorum_core_signer.primitives.ot import extension
from keyquorum_core_signer.primitives.ot.extension import BASE_TRANSFERS, ReceiverSeeds, SenderSeeds, bits_of
from support.simulator import seeded_rng

PLACE = b"\x05" * 32
GADGET = b"\x06" * 32


def dealt_seeds(*seed):
    """Both sides of the base transfers, as an honest dealer would give them."""
    rng = seeded_rng("seeds", *seed)
    delta = rng(extension.ROW_BYTES)
    pairs = tuple((rng(32), rng(32)) for _ in range(BASE_TRANSFERS))
    keys = tuple(pair[bit] for pair, bit in zip(pairs, bits_of(delta), strict=True))
    return SenderSeeds(delta, keys), ReceiverSeeds(pairs)


def bad_column(seeds, column):
    """A dishonest receiver's seeds: under them, other choices stand in one column of U than in all others."""
    pairs = list(seeds.pairs)
    pairs[column] = (pairs[column][0], bytes(32))
    return replace(seeds, pairs=tuple(pairs))


@contextmanager
def recorded_places():
    """The place of each answer that is made or read meanwhile."""
    places, honest = [], rvole._answer_place

    def recording(*arguments):
        places.append(honest(*arguments))
        return places[-1]

    with mock.patch.object(rvole, "_answer_place", recording):
        yield places


def cheating_multiply(transfer, guess, error=1):
    """An Alice that uses ``a_1 + error`` in one transfer, and makes up for it in mu as if beta were ``guess`` there."""

    def multiply(seeds, place, gadget, message, *, inputs, rng):
        group, packed = inputs[0].group, []
        pack = rvole._pack

        def altered(values):
            values = list(values)
            if not packed:  # a~
                at = transfer * 3
                values[at] = (values[at] + error) % group.order
                packed.append(pack(values))
                return packed[0]
            theta, _ = rvole._theta(group, answer[0], packed[0])
            values[transfer] = (values[transfer] + guess * theta * error) % group.order
            return pack(values)

        with recorded_places() as answer, mock.patch.object(rvole, "_pack", altered):
            return honest(seeds, place, gadget, message, inputs=inputs, rng=rng)

    honest = rvole.multiply
    return multiply
