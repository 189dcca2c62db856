"""The Solana codec passes the suite that every codec passes."""

import pytest

from keyquorum_plugin_api.testing import CodecConformance
from support.solana_target import SolanaCodecTarget


class TestSolanaCodec(CodecConformance):
    @pytest.fixture
    def target(self) -> SolanaCodecTarget:
        return SolanaCodecTarget()
