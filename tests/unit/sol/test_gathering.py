"""Many callers share requests, and neither an answer nor a failure goes to the wrong one."""

import asyncio
from collections.abc import Mapping

import pytest

from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_sol.gathering import UNDER_WAY_MAX, Gatherer


class Node:
    """Answers for numbers when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.away = False

    async def ask(self, keys: list[int]) -> Mapping[int, int]:
        self.asked.append(keys)
        await self.may_answer.wait()
        if self.away:
            raise ChainUnavailable("away")
        return {key: -key for key in keys}


async def test_callers_of_one_turn_share_a_request() -> None:
    """Each key once, each caller its own answer, in its order."""
    node = Node()
    gatherer = Gatherer(node.ask, keys_max=100)
    node.may_answer.set()
    found = await asyncio.gather(gatherer.get(1, 2), gatherer.get(2, 3), gatherer.get(3, 1))
    assert found == [[-1, -2], [-2, -3], [-3, -1]]
    assert node.asked == [[1, 2, 3]]
    await gatherer.close()


async def test_questions_wait_while_enough_are_under_way() -> None:
    """And leave together; an answer is never older than the question."""
    node = Node()
    gatherer = Gatherer(node.ask, keys_max=100)
    calls = []
    for number in range(UNDER_WAY_MAX + 20):
        calls.append(asyncio.create_task(gatherer.get(number % UNDER_WAY_MAX)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(node.asked) == UNDER_WAY_MAX
    node.may_answer.set()
    assert [values for (values,) in await asyncio.gather(*calls)] == [-(n % UNDER_WAY_MAX) for n in range(len(calls))]
    assert len(node.asked) == UNDER_WAY_MAX + 1
    await gatherer.close()


async def test_a_request_has_a_size() -> None:
    """What is too much goes in several."""
    node = Node()
    node.may_answer.set()
    gatherer = Gatherer(node.ask, keys_max=3)
    assert await gatherer.get(*range(8)) == [-number for number in range(8)]
    assert [len(keys) for keys in node.asked] == [3, 3, 2]
    await gatherer.close()


async def test_failure_is_everybodys_and_is_not_remembered() -> None:
    """The next question is asked anew."""
    node = Node()
    node.away = True
    node.may_answer.set()
    gatherer = Gatherer(node.ask, keys_max=10)
    found = await asyncio.gather(gatherer.get(1), gatherer.get(2), return_exceptions=True)
    assert [type(refusal) for refusal in found] == [ChainUnavailable, ChainUnavailable]
    node.away = False
    assert await gatherer.get(1) == [-1]
    await gatherer.close()


async def test_caller_that_goes_takes_nobody_along() -> None:
    """Others get their answer all the same."""
    node = Node()
    gatherer = Gatherer(node.ask, keys_max=10)
    leaving, staying = (asyncio.create_task(gatherer.get(1)) for _ in range(2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    node.may_answer.set()
    assert await staying == [-1]
    await gatherer.close()


async def test_closing_ends_every_call() -> None:
    """What is under way and what waits; afterwards nothing is asked."""
    node = Node()
    gatherer = Gatherer(node.ask, keys_max=1)
    calls = [asyncio.create_task(gatherer.get(number)) for number in range(UNDER_WAY_MAX + 3)]
    await asyncio.sleep(0.01)
    await gatherer.close()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(refusal) for refusal in found} == {ChainUnavailable}
    with pytest.raises(ChainUnavailable, match="closed"):
        await gatherer.get(1)
