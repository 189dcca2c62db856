"""Frames between host and worker come out as they went in, and nothing else comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.runtime.events import Checkpoint, Failed, Finished, Progress
from keyquorum_core_signer.runtime.frames import (
    Frame,
    FrameError,
    FrameReader,
    Kind,
    pack,
    pack_delivery,
    pack_event,
    pack_ready,
    pack_setup,
    unpack_delivery,
    unpack_event,
    unpack_ready,
    unpack_setup,
)
from keyquorum_core_signer.runtime.hardening import Hardening
from keyquorum_core_signer.runtime.limits import CULPRITS_MAX, DETAIL_CHARS_MAX, FRAME_BYTES_MAX
from keyquorum_core_signer.runtime.session import Outgoing

PARTIES = st.integers(0, 2**16)
TEXTS = st.text(max_size=40)
EVENTS = st.one_of(
    st.builds(Outgoing, PARTIES, st.binary(max_size=50)),
    st.builds(Progress, PARTIES),
    st.builds(Checkpoint, st.binary(max_size=50)),
    st.builds(Finished, st.binary(max_size=50)),
    st.builds(Failed, TEXTS, TEXTS, st.lists(PARTIES, max_size=5).map(tuple), TEXTS, st.binary(max_size=50)),
)


@given(st.lists(st.tuples(st.integers(1, 2**64 - 1), EVENTS), max_size=5), st.integers(1, 40))
def test_events_survive_any_cut(events, step):
    """However a stream is cut, the events in it come out whole, in order, for their session."""
    data = b"".join(pack_event(number, event) for number, event in events)
    reader, frames = FrameReader(), []
    for at in range(0, len(data), step):
        frames += reader.feed(data[at : at + step])
    assert [(frame.number, unpack_event(frame)) for frame in frames] == events


@given(st.binary(max_size=60))
def test_garbage_is_no_event(data):
    """Bytes that are no stream of frames raise FrameError or wait for more; they never become another error."""
    try:
        for frame in FrameReader().feed(data):
            unpack_event(frame)
    except FrameError:
        pass


@given(PARTIES, st.binary(max_size=50))
def test_delivery_keeps_its_party(peer, data):
    """An envelope travels with the peer of its channel."""
    (frame,) = FrameReader().feed(pack_delivery(7, peer, data))
    assert (frame.kind, frame.number, unpack_delivery(frame.body)) == (Kind.DELIVER, 7, (peer, data))
    with pytest.raises(FrameError):
        unpack_delivery(b"\x00")


def test_setup_may_hold_any_bytes():
    """The set-up follows the factory's name whole, zero bytes included."""
    (frame,) = FrameReader().feed(pack_setup("a.b:c", b"\x00\x01\x00"))
    assert unpack_setup(frame) == ("a.b:c", b"\x00\x01\x00")
    for wrong in (Frame(Kind.OPEN, 0, b"a\x00"), Frame(Kind.SETUP, 0, b"a")):
        with pytest.raises(FrameError):
            unpack_setup(wrong)


@pytest.mark.parametrize("flags", [(True, False, True), (False, True, False)])
def test_hardening_is_reported_as_it_is(flags):
    """What a worker achieved arrives member by member."""
    (frame,) = FrameReader().feed(pack_ready(Hardening(*flags)))
    assert unpack_ready(frame.body) == Hardening(*flags)
    with pytest.raises(FrameError):
        unpack_ready(b"")


def test_frames_have_a_size():
    """Neither side makes, nor accepts, a frame over the cap, or one that is shorter than its own header."""
    with pytest.raises(FrameError, match="too large"):
        pack(Kind.OPEN, 1, bytes(FRAME_BYTES_MAX))
    for length in (FRAME_BYTES_MAX + 1, 8, 0):
        with pytest.raises(FrameError, match="out of range"):
            FrameReader().feed(length.to_bytes(4, "big") + bytes(9))


def test_failures_are_sentences():
    """An error's text and its names are cut to size on the way."""
    failure = Failed("c" * 10_000, "s" * 10_000, tuple(range(10_000)), "d" * 10_000)
    (frame,) = FrameReader().feed(pack_event(1, failure))
    arrived = unpack_event(frame)
    assert (len(arrived.detail), len(arrived.culprits)) == (DETAIL_CHARS_MAX, CULPRITS_MAX)


def test_frames_do_not_show_their_bodies():
    """A frame may hold a key or a share, and prints without."""
    assert "SECRET" not in repr(Frame(Kind.OPEN, 1, b"SECRET"))
    assert "SECRET" not in repr([Checkpoint(b"SECRET"), Finished(b"SECRET"), Failed("c", evidence=b"SECRET")])
