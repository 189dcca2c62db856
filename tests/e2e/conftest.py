"""One stack for all end-to-end tests of a run; they share it, so they stay in one worker."""

from pathlib import Path

import pytest

from keyquorum_devnet.solana.genesis import CHAIN_ID
from support.stack import RunningStack

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Everything in this folder is marked."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A running stack, as ``make run`` starts it, but that a test can look into its memory and kill its processes."""
    running = RunningStack(tmp_path_factory.mktemp("stack"), "--no-restart", "--inspectable", "--no-rate-limits")
    yield running.start()
    assert running.stop() == 0, running.output


@pytest.fixture
async def customer(stack):
    """A customer of the stack."""
    async with stack.customer() as found:
        yield found


@pytest.fixture
def chain():
    """The chain's CAIP-2 id."""
    return CHAIN_ID
