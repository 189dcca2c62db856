"""A regtest node without a server."""

from collections.abc import Iterator

import pytest

from support.bitcoin_node import BitcoinNode, TaprootKey, node_without_server


@pytest.fixture
def regtest() -> Iterator[BitcoinNode]:
    """A chain of 120 blocks; new ones come only when a test mines them."""
    with node_without_server() as node:
        yield node


@pytest.fixture
def alice() -> TaprootKey:
    """Who pays."""
    return TaprootKey(1)


@pytest.fixture
def bob() -> TaprootKey:
    """Who is paid."""
    return TaprootKey(2)
