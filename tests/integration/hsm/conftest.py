"""A SoftHSM token per test."""

from pathlib import Path

import pytest

from support.softhsm import SoftToken, make_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = make_token(tmp_path / "hsm", "party-1")
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    return made
