"""The plugin author's guide, as text that a test can follow."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/plugin-author-guide.md"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def block(wanted: str, language: str = "sh") -> str:
    """The one block of the guide in which a text occurs."""
    (found,) = [text for info, text in _BLOCK.findall(GUIDE.read_text()) if info == language and wanted in text]
    return found


def environment(**more: str) -> dict[str, str]:
    """What the guide asks for: our commands on the path. Nothing is fetched, so wheels are built with what is here."""
    commands = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([commands, os.environ["PATH"]]),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say yes
        "PIP_NO_INDEX": "1",
        **more,
    }


def run(commands: str, folder: Path, *, within_s: float = 120, **more: str) -> str:
    """Shell text as the guide has it; its standard output."""
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout
