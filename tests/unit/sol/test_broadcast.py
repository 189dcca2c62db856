"""The same bytes are sent again until they are settled or expired, and nothing else is ever sent."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from keyquorum_plugin_api.testing import RecordingLogger
from keyquorum_sol.broadcast import PENDING_MAX, Broadcaster
from keyquorum_sol.node import SolanaNode
from support.manual_clock import ManualClock
from support.scripted_rpc import Reply, ScriptedNode, error, result

RAW = b"signed"
TEXT = base64.b64encode(RAW).decode()


def statuses(*commitments: str | None) -> Reply:
    entries = [
        None if level is None else {"slot": 9, "confirmations": 0, "err": None, "confirmationStatus": level}
        for level in commitments
    ]
    return result({"context": {"slot": 200}, "value": entries})


class Repeating:
    """A broadcaster on a clock of its own."""

    def __init__(self, node: SolanaNode, script: ScriptedNode) -> None:
        self.clock = ManualClock()
        self.log = RecordingLogger()
        self.script = script
        self.broadcaster = Broadcaster(
            node, self.clock, self.log, interval_s=2.0, settled=frozenset({"confirmed", "finalized"})
        )

    async def turn(self, seconds: float = 2.0) -> int:
        """Let one interval pass; how often bytes were sent in it."""
        before = len(self.script.called("sendTransaction"))
        await self._idle()
        await self.clock.advance(seconds)
        await self._idle()
        return len(self.script.called("sendTransaction")) - before

    async def _idle(self) -> None:
        """Until the task sleeps again, or has nothing left to do."""
        async with asyncio.timeout(10):
            while not self.clock.sleepers and not (self.broadcaster._task is None or self.broadcaster._task.done()):
                await asyncio.sleep(0.001)


@pytest.fixture
async def repeating(node: SolanaNode, script: ScriptedNode) -> AsyncIterator[Repeating]:
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": 100}))
    script.says("sendTransaction", result("id"))
    made = Repeating(node, script)
    yield made
    await made.broadcaster.close()


async def test_dropped_transaction_is_sent_again_until_it_is_settled(repeating: Repeating) -> None:
    """Unchanged, without preflight; no more while it is included but unsettled, and again if a fork drops it."""
    repeating.script.says(
        "getSignatureStatuses", statuses(None), statuses("processed"), statuses(None), statuses("confirmed")
    )
    repeating.broadcaster.add("tx", RAW, 150)
    assert [await repeating.turn() for _ in range(3)] == [1, 0, 1]
    assert repeating.broadcaster.follows("tx")
    assert await repeating.turn() == 0
    assert not repeating.broadcaster.follows("tx")
    for text, config in repeating.script.called("sendTransaction"):
        assert text == TEXT
        assert config["skipPreflight"]


async def test_expired_transaction_is_let_go(repeating: Repeating) -> None:
    """At the last valid height it is still sent, past it no more."""
    repeating.script.says("getSignatureStatuses", statuses(None))
    repeating.broadcaster.add("tx", RAW, 100)
    assert await repeating.turn() == 1
    repeating.script.says("getEpochInfo", result({"absoluteSlot": 201, "blockHeight": 101}))
    assert await repeating.turn() == 0
    assert not repeating.broadcaster.follows("tx")


async def test_without_a_known_height_time_decides(repeating: Repeating) -> None:
    """Bytes that somebody else built are not repeated for ever."""
    repeating.script.says("getSignatureStatuses", statuses(None))
    repeating.broadcaster.add("tx", RAW, None)
    assert await repeating.turn(170) == 1
    assert await repeating.turn(20) == 0
    assert not repeating.broadcaster.follows("tx")


async def test_outage_and_refusal_do_not_end_it(repeating: Repeating) -> None:
    """They are logged, and the next interval tries again."""
    repeating.script.says("getSignatureStatuses", error(-32005, "behind"), statuses(None))
    repeating.script.says("sendTransaction", error(-32002, "no"), result("id"))
    repeating.broadcaster.add("tx", RAW, 150)
    assert [await repeating.turn() for _ in range(3)] == [0, 1, 1]
    assert {event for _, event, _ in repeating.log.records} == {
        "solana.rebroadcast_failed",
        "solana.rebroadcast_refused",
    }


async def test_it_is_bounded(repeating: Repeating) -> None:
    """What is over the limit is not repeated, and says so."""
    for number in range(PENDING_MAX + 1):
        repeating.broadcaster.add(f"tx{number}", RAW, 150)
    assert repeating.broadcaster.follows("tx0")
    assert not repeating.broadcaster.follows(f"tx{PENDING_MAX}")
    assert [event for _, event, _ in repeating.log.records] == ["solana.rebroadcast_full"]


async def test_closed_means_closed(repeating: Repeating) -> None:
    """Nothing is followed and nothing runs."""
    repeating.broadcaster.add("tx", RAW, 150)
    await repeating.broadcaster.close()
    repeating.broadcaster.add("tx", RAW, 150)
    assert not repeating.broadcaster.follows("tx")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "keyquorum-sol-rebroadcast"]
