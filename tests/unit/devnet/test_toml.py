"""TOML that we write is read back as it was meant."""

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from keyquorum_devnet.toml import dumps

TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=12)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_is_written_is_read_back(table):
    """Any nesting of tables, lists and texts survives."""
    assert tomllib.loads(dumps(table)) == table


def test_a_configuration_reads_well():
    """Plain keys come first, tables follow, and paths are text."""
    text = dumps(
        {"node_id": "party-1", "store": {"path": Path("store.db")}, "codecs": [{"name": "solana", "workers": 1}]}
    )
    assert text == ('node_id = "party-1"\ncodecs = [{ name = "solana", workers = 1 }]\n\n[store]\npath = "store.db"\n')
