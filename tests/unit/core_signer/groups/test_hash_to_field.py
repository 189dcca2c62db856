"""RFC 9380, appendix K.1: expand_message_xmd with SHA-256."""

import pytest

from keyquorum_core_signer.groups.hash_to_field import expand_message_xmd

DST = b"QUUX-V01-CS02-with-expander-SHA256-128"


@pytest.mark.parametrize(
    ("message", "length", "expected"),
    [
        (b"", 32, "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"),
        (b"abc", 32, "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615"),
        (
            b"",
            128,
            (
                "af84c27ccfd45d41914fdff5df25293e221afc53d8ad2ac06d5e3e29485dadbe"
                "e0d121587713a3e0dd4d5e69e93eb7cd4f5df4cd103e188cf60cb02edc3edf18"
                "eda8576c412b18ffb658e3dd6ec849469b979d444cf7b26911a08e63cf31f9dc"
                "c541708d3491184472c2c29bb749d4286b004ceb5ee6b9a7fa5b646c993f0ced"
            ),
        ),
    ],
)
def test_published_figures(message, length, expected):
    """One block and several."""
    assert expand_message_xmd(message, DST, length).hex() == expected


def test_limits():
    """Neither the tag nor the output may exceed what one byte counts."""
    for dst, length in ((b"x" * 256, 32), (b"x", 255 * 32 + 1), (b"x", 0)):
        with pytest.raises(ValueError):
            expand_message_xmd(b"", dst, length)
