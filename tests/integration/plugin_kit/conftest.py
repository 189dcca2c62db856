"""The toy plugin, written once, and its ledger; and the toy chain in memory that gateways under test have."""

import pytest

from support.fake_distributions import import_toychain
from support.toy_plugin import importable, ledger, write_plugin

import_toychain()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The toy plugin, importable."""
    with importable(write_plugin(tmp_path_factory.mktemp("plugin"))) as made:
        yield made


@pytest.fixture(scope="module")
def ledger_url(plugin):
    """Its ledger, which makes blocks on request."""
    with ledger(plugin.folder) as url:
        yield url
