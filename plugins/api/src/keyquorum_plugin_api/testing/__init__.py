"""The conformance suites, and what a plugin's tests need to run without a core signer.

Subclass :class:`CodecConformance` and :class:`AdapterConformance`, give each a fixture ``target``, run pytest (with
``asyncio_mode = "auto"``). Call ``pytest.register_assert_rewrite("keyquorum_plugin_api.testing")`` in a conftest.py for
readable failures. Nothing here imports pytest.
"""

from keyquorum_plugin_api.testing.adapter_conformance import AdapterConformance
from keyquorum_plugin_api.testing.codec_conformance import CodecConformance
from keyquorum_plugin_api.testing.context import MemoryReservations, RecordingLogger, SystemClock, local_context
from keyquorum_plugin_api.testing.evidence import Evidence, Suite
from keyquorum_plugin_api.testing.optional import (
    ConfigurableTarget,
    DocumentTarget,
    FeeTarget,
    ForgetfulTarget,
    RejectingTarget,
    ReorganisingTarget,
)
from keyquorum_plugin_api.testing.refusals import refused
from keyquorum_plugin_api.testing.signer import LocalAccount, LocalSigner
from keyquorum_plugin_api.testing.target import ChainTarget, CodecTarget

__all__ = [
    "AdapterConformance",
    "ChainTarget",
    "CodecConformance",
    "CodecTarget",
    "ConfigurableTarget",
    "DocumentTarget",
    "Evidence",
    "FeeTarget",
    "ForgetfulTarget",
    "LocalAccount",
    "LocalSigner",
    "MemoryReservations",
    "RecordingLogger",
    "RejectingTarget",
    "ReorganisingTarget",
    "Suite",
    "SystemClock",
    "local_context",
    "refused",
]
