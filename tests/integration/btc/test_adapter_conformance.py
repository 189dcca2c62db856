"""The Bitcoin adapter passes the suite that every adapter passes, with either client, on Core's consensus code."""

from keyquorum_plugin_api.testing import AdapterConformance


class TestBitcoinAdapter(AdapterConformance):
    """``target`` is the fixture of this folder, once per client."""
