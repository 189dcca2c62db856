"""The Ethereum codec passes the suite that every codec passes."""

import pytest

from keyquorum_plugin_api.testing import CodecConformance
from support.ethereum_target import EthereumCodecTarget


class TestEthereumCodec(CodecConformance):
    @pytest.fixture
    def target(self) -> EthereumCodecTarget:
        return EthereumCodecTarget()
