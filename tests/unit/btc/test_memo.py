"""Texts in outputs: one encoding, and none that hides something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_btc.limits import MEMO_BYTES_MAX
from keyquorum_btc.memo import is_memo, memo_of, memo_script
from keyquorum_plugin_api.errors import InvalidPayload


@pytest.mark.parametrize(("length", "header"), [(1, "6a01"), (75, "6a4b"), (76, "6a4c4c"), (80, "6a4c50")])
def test_pushes_are_the_shortest(length, header):
    """Up to 75 bytes the length is the opcode."""
    assert memo_script("m" * length) == bytes.fromhex(header) + b"m" * length


@given(st.text(min_size=1, max_size=90))
def test_text_survives_or_is_refused(text):
    """Bytes are counted, not characters."""
    try:
        script = memo_script(text)
    except InvalidPayload:
        return
    assert is_memo(script)
    assert memo_of(script) == text
    assert len(text.encode()) <= MEMO_BYTES_MAX


@given(st.binary(max_size=90))
def test_any_other_script_is_refused(body):
    """Only what would be written again as it is has a text."""
    script = b"\x6a" + body
    try:
        text = memo_of(script)
    except InvalidPayload:
        return
    assert memo_script(text) == script


@pytest.mark.parametrize(
    "text", ["", "x" * 81, "ü" * 41, "\ud800", "a\x00", "a\tb", "\x7f", "\u202e", "\u200b", "\ufeff", 5]
)
def test_what_cannot_be_read_is_refused(text):
    """Wherever it stands."""
    with pytest.raises(InvalidPayload):
        memo_script(text)
