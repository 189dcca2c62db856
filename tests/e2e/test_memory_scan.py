"""The scan for secrets sees what it looks for."""

import base64
import hashlib
import secrets
import subprocess
import sys

import pytest

from support.memory import scan, spellings

HOLD = "import sys; held = {expression}; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def secret():
    """A number of 32 bytes that no other process holds yet."""
    return hashlib.sha256(b"keyquorum memory scan").digest()


def held(expression: str, secret: bytes):
    """What the scan finds in a process that computes ``expression`` from a masked secret, so that its source and
    arguments do not hold the secret themselves."""
    mask = secrets.token_bytes(32)
    masked = bytes(a ^ b for a, b in zip(secret, mask, strict=True))
    unmask = f"bytes(a ^ b for a, b in zip({masked!r}, {mask!r}))"
    code = HOLD.format(expression=f"(lambda s: {expression})({unmask})")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        found = scan([process.pid], {"secret": secret, "another": secrets.token_bytes(32)})
        process.communicate(b"")
    return found


@pytest.mark.parametrize(
    ("expression", "spelling"),
    [
        ("bytearray(s)", "raw big"),
        ("s[::-1]", "raw little"),
        ("s.hex()", "hex big"),
        ("s[::-1].hex().upper()", "HEX little"),
        ("str(int.from_bytes(s, 'big'))", "decimal"),
        ("int.from_bytes(s, 'big')", "Python integer"),
    ],
)
def test_a_held_secret_is_found(expression, spelling, secret):
    """Each spelling is seen in another process, and nothing is seen that is not there."""
    found = held(expression, secret)
    assert spelling in {sighting.spelling for sighting in found}
    assert {sighting.secret for sighting in found} == {"secret"}


@pytest.mark.parametrize("shift", range(3))
def test_base64_is_found_at_every_alignment(shift, secret):
    """A secret inside a longer encoded text is seen, wherever it begins."""
    encode = ("b64encode", "urlsafe_b64encode")[shift % 2]
    found = held(f"__import__('base64').{encode}(b'x' * {shift} + s + b'tail')", secret)
    assert f"base64 big shift {shift}" in {sighting.spelling for sighting in found}


def test_alignments_spell_what_a_longer_text_holds(secret):
    """The three alignments cover every place that a secret can have in an encoded text."""
    for shift in range(3):
        text = spellings(secret)[f"base64 big shift {shift}"]
        assert len(text) >= 12  # 72 bits
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert text in encode(b"abcdefgh"[:shift] + secret + b"rest")
