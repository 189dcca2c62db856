"""The plugin that ``keyquorum plugins new toy`` writes, imported without being installed, and its ledger as a process."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

from keyquorum_gateway.cli import main
from support.guide import environment

MODULES = ("keyquorum_toy", "targets", "ledger")


@dataclass(frozen=True)
class ToyPlugin:
    """The source, as it was written."""

    folder: Path

    def module(self, name: str) -> ModuleType:
        """``keyquorum_toy.codec`` and the like, or ``targets``."""
        return importlib.import_module(name)


def write_plugin(into: Path, name: str = "toy") -> Path:
    """The source's folder."""
    done = CliRunner().invoke(main, ["plugins", "new", name, "--into", str(into)])
    assert done.exit_code == 0, done.output
    return into / f"keyquorum-{name}"


@contextmanager
def importable(folder: Path) -> Iterator[ToyPlugin]:
    """Make its package and its test targets importable, for as long as this lasts."""
    paths = [str(folder / "src"), str(folder / "tests"), str(folder)]
    sys.path[:0] = paths
    importlib.invalidate_caches()
    try:
        yield ToyPlugin(folder)
    finally:
        for path in paths:
            sys.path.remove(path)
        for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
            del sys.modules[name]


@contextmanager
def ledger(folder: Path, block_s: float = 0) -> Iterator[str]:
    """Where the toy ledger serves; it makes blocks on request alone, unless told otherwise."""
    command = [sys.executable, "-m", "ledger", "--port", "0", "--chain", "toy:local", "--block-s", str(block_s)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(PYTHONPATH="src"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()
            process.wait(10)
