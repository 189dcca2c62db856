"""Keyquorum's REST gateway and operator command line. Holds no share and trusts no adapter and no coordinator."""
