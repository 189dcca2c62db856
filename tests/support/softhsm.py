"""SoftHSM tokens for tests, made by scripts/softhsm.py."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SoftToken:
    """A fresh token; processes that use it need SOFTHSM2_CONF set to ``config``."""

    module: Path
    config: Path
    label: str
    pin_file: Path

    @property
    def uri(self) -> str:
        """The key-encryption key on the token."""
        return f"pkcs11:token={self.label};object=kek"

    @property
    def files(self) -> Path:
        """Where SoftHSM keeps the token."""
        return self.config.parent / "tokens"

    def pin(self) -> str:
        """The user PIN."""
        return self.pin_file.read_text().strip()


def make_token(folder: Path, label: str) -> SoftToken:
    """Make a token below ``folder``, bringing SoftHSM if there is none."""
    command = [sys.executable, str(ROOT / "scripts" / "softhsm.py"), "token", "--dir", str(folder), "--label", label]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return SoftToken(Path(made["module"]), Path(made["config"]), made["token"], Path(made["pin_file"]))
