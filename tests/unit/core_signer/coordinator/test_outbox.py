"""An outbox is bounded, keeps order, batches what waits, and knows who fills it."""

import asyncio

import pytest

from keyquorum_core_signer.coordinator.limits import BATCH_BYTES_MAX, LINK_STALL_S
from keyquorum_core_signer.coordinator.outbox import Outbox
from keyquorum_protos.party.v1 import party_pb2


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def relay(number, size=10):
    data = number.to_bytes(4, "big") + bytes(size)
    return party_pb2.LinkRequest(relay=party_pb2.Relay(node_id="party-1", channel_id=bytes(16), data=data))


def number_of(frame):
    return int.from_bytes(frame.relay.data[:4], "big")


def frames_of(message):
    return list(message.batch.frames) if message.HasField("batch") else [message]


async def test_a_lone_frame_travels_alone(clock):
    """What does not wait with others is not wrapped."""
    box = Outbox(clock)
    assert box.put(relay(7))
    assert await box.get() == relay(7)


async def test_what_waits_together_travels_together_and_in_order(clock):
    """One message for all frames that wait."""
    box = Outbox(clock)
    for i in range(50):
        assert box.put(relay(i))
    message = await box.get()
    assert [number_of(frame) for frame in frames_of(message)] == list(range(50))


async def test_batches_are_bounded(clock):
    """A batch ends before it is too large; a frame that is larger still travels alone; nothing is lost."""
    box = Outbox(clock)
    sizes = [100, BATCH_BYTES_MAX // 2, BATCH_BYTES_MAX // 2, 100, BATCH_BYTES_MAX * 2, 100]
    for i, size in enumerate(sizes):
        assert box.put(relay(i, size))
    seen = []
    while len(seen) < len(sizes):
        message = await box.get()
        frames = frames_of(message)
        assert len(frames) == 1 or message.ByteSize() <= BATCH_BYTES_MAX + 1000
        assert len(frames) > 1 or not message.HasField("batch")
        seen += [number_of(frame) for frame in frames]
    assert seen == list(range(len(sizes)))


async def test_it_never_holds_more_frames_or_bytes_than_its_bounds(clock):
    """What does not fit is refused, and fits again once something was taken."""
    box = Outbox(clock, frames_max=3)
    assert [box.put(relay(i)) for i in range(4)] == [True, True, True, False]
    await box.get()
    assert box.put(relay(4))
    box = Outbox(clock, bytes_max=2 * relay(0, 1000).ByteSize())
    assert [box.put(relay(i, 1000)) for i in range(3)] == [True, True, False]
    await box.get()
    assert box.put(relay(3, 1000))


async def test_the_loudest_origin_is_known(clock):
    """By bytes that still wait, not by those that were taken."""
    box = Outbox(clock)
    box.put(relay(0, 5000), "party-2")
    await box.get()
    box.put(relay(1, 10))
    box.put(relay(2, 100), "party-2")
    box.put(relay(3, 90), "party-3")
    box.put(relay(4, 90), "party-3")
    assert box.loudest() == "party-3"
    await box.get()
    assert box.loudest() == ""


async def test_a_stall_is_waiting_without_progress(clock):
    """Empty is not stalled, however long; full is, once nothing was taken for too long."""
    box = Outbox(clock)
    clock.now += 100
    assert not box.stalled()
    box.put(relay(0))
    box.put(relay(1))
    assert not box.stalled()
    clock.now += LINK_STALL_S + 0.1
    assert box.stalled()
    await box.get()
    assert not box.stalled()


async def test_a_reader_is_woken(clock):
    """A reader that waits gets the frame that comes."""
    box = Outbox(clock)
    reader = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.put(relay(3))
    assert number_of(await reader) == 3
