"""The control socket of a running stack."""

import asyncio
import stat

import pytest

from keyquorum_devnet.control import SOCKET_NAME, ControlError, _short_path, ask, listening


async def echo(command: str, name: str):
    """Answers what it was asked, and refuses what it must."""
    if command == "refuse":
        raise ControlError(f"no {name}")
    return {"did": command, "to": name}


@pytest.fixture
def state(tmp_path):
    """A folder whose path is longer than a socket address may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder


async def test_commands_are_answered(state):
    """One question, one answer, however deep the folder."""
    async with listening(state, echo):
        assert await ask(state, "kill", "party-2") == {"did": "kill", "to": "party-2"}
        with pytest.raises(ControlError, match="no party-9"):
            await ask(state, "refuse", "party-9")


async def test_only_the_owner_may_command(state):
    """Whoever can start and kill processes of a stack is the one who runs it."""
    async with listening(state, echo):
        assert stat.S_IMODE((state / SOCKET_NAME).stat().st_mode) == 0o600


async def test_nonsense_is_answered_and_does_no_harm(state):
    """A line that is not a command gets an error, and the next caller an answer."""
    async with listening(state, echo):
        with _short_path(state) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"[1]\n")
        assert b"not understood" in await reader.readline()
        writer.close()
        assert await ask(state, "status") == {"did": "status", "to": ""}


async def test_without_a_stack_the_answer_says_so(state):
    """No stack, and a stack that is gone, are told apart from a failure."""
    with pytest.raises(ControlError, match="no stack runs"):
        await ask(state, "status")
    async with listening(state, echo):
        pass
    with pytest.raises(ControlError, match="no stack runs"):
        await ask(state, "status")
