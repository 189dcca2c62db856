"""Turns in pairs: one after the other in each, in the order of asking."""

from keyquorum_core_signer.party.turns import Turns


async def test_one_after_the_other() -> None:
    """The second in a pair waits for the first; who waits in one of two pairs holds the place in the other."""
    turns = Turns()
    first, second = turns.queue(["a"]), turns.queue(["a", "b"])
    third, other = turns.queue(["b"]), turns.queue(["c"])
    assert [await turn.wait(0.01) for turn in (first, second, third, other)] == [True, False, False, True]
    first.give_up()
    assert [await turn.wait(0.01) for turn in (second, third)] == [True, False]
    second.give_up()
    second.give_up()
    assert await third.wait(0.01)


async def test_who_gives_up_waiting_is_passed_over() -> None:
    """A session that is called off while it waits does not hold up those behind it."""
    turns = Turns()
    first, second, third = (turns.queue(["a"]) for _ in range(3))
    second.give_up()
    first.give_up()
    assert await third.wait(0.01)
    assert not second.come.done()


async def test_what_is_taken_never_waits() -> None:
    """Whoever asks others to wait gets a turn at once, or none."""
    turns = Turns()
    first = turns.queue(["a"])
    assert turns.take(["b", "a"]) is None
    first.give_up()
    taken = turns.take(["b", "a"])
    assert taken is not None
    assert taken.come.done()
    assert turns.take(["b"]) is None
