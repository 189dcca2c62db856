"""The bytes of a session and of stored shares stay what they are: nodes of one protocol version understand each other."""

import pytest

from support.snapshots import SUITES, snapshot
from support.vectors import load


@pytest.mark.parametrize("name", SUITES)
def test_wire_format(name):
    """Every message, stored share, transcript hash and signature of a seeded session."""
    assert snapshot(SUITES[name]) == load(name)
