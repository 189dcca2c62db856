"""Choosing the maker of the key-encryption key, and saying what it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import structlog

from keyquorum_core_signer.config import SecretFileError, read_secret
from keyquorum_core_signer.hsm.open import open_kek, pin_text
from keyquorum_core_signer.hsm.ports import KekSetupError
from keyquorum_core_signer.hsm.soft import SCRYPT_N_MIN, create_soft_kek


@dataclass(frozen=True)
class Settings:
    """A party's configuration of a soft KEK."""

    passphrase_file: Path
    salt_file: Path
    kind: Literal["soft"] = "soft"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    passphrase_file = tmp_path / "passphrase"
    passphrase_file.write_text("correct horse battery staple\n")
    passphrase_file.chmod(0o600)
    create_soft_kek(tmp_path / "salt", b"correct horse battery staple", scrypt_n=SCRYPT_N_MIN)
    return Settings(passphrase_file, tmp_path / "salt")


async def test_soft_kek_is_announced_as_no_hsm(settings: Settings) -> None:
    """The start-up log says plainly that a soft KEK is not an HSM, and shows no secret."""
    with structlog.testing.capture_logs() as logs:
        kek = await open_kek(settings, read_secret)
    await kek.close()
    (entry,) = logs
    assert entry["log_level"] == "warning"
    assert "NOT in an HSM" in entry["event"]
    assert "horse" not in str(entry)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
async def test_exposed_passphrase_file_is_refused(settings: Settings, mode: int) -> None:
    """A passphrase that group or world can read is not used."""
    settings.passphrase_file.chmod(mode)
    with pytest.raises(SecretFileError, match="chmod 600"):
        await open_kek(settings, read_secret)


def test_unreadable_pin_is_not_quoted() -> None:
    """A PIN file with bytes that are no text is refused without showing them."""
    with pytest.raises(KekSetupError) as caught:
        pin_text(b"12\xff34")
    assert "12" not in str(caught.value)
    assert caught.value.__cause__ is None
