"""Only compressed, canonical points of secp256k1 get in."""

import pytest

from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from support.curves import P_SECP, Weierstrass

G = SECP256K1.generator.to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00", id="infinity in SEC 1"),
        pytest.param(bytes(33), id="zeros"),
        pytest.param(G[1:], id="x only"),
        pytest.param(G + b"\x00", id="longer"),
        pytest.param(b"\x04" + G[1:], id="uncompressed prefix"),
        pytest.param(b"\x04" + G[1:] + Weierstrass.decode(G).y.to_bytes(32, "big"), id="uncompressed"),
        pytest.param(b"\x06" + G[1:], id="hybrid prefix"),
        pytest.param(b"\x02" + (5).to_bytes(32, "big"), id="off the curve"),
        pytest.param(b"\x02" + (P_SECP + 1).to_bytes(32, "big"), id="x above the prime"),
        pytest.param(b"\x02" + b"\xff" * 32, id="x all ones"),
    ],
)
def test_malformed_points_are_refused(data):
    """Every encoding but 33 bytes with a canonical x on the curve."""
    with pytest.raises(InvalidEncoding):
        SECP256K1.decode_point(data)
