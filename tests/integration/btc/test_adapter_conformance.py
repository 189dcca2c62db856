"""The Bitcoin adapter passes the suite that every adapter passes, with either client, on Core's consensus code."""

import pytest

from keyquorum_plugin_api.testing import AdapterConformance

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestBitcoinAdapter(AdapterConformance):
    """``target`` is the fixture of this folder, once per client."""
