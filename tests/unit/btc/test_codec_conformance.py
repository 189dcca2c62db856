"""The Bitcoin codec passes the suite that every codec passes."""

import pytest

from keyquorum_plugin_api.testing import CodecConformance
from support.bitcoin_codec_target import BitcoinCodecTarget


class TestBitcoinCodec(CodecConformance):
    @pytest.fixture
    def target(self) -> BitcoinCodecTarget:
        return BitcoinCodecTarget()
