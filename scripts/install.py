"""Make .venv what the lock and the packages' metadata say. Standard library only; does nothing when it already is.

Plain pip, in two steps because pip refuses hashes together with ``-e``: the hashed lock with the build backend in it,
then our packages without their dependencies.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "keyquorum.stamp"
LOCK = ROOT / "deploy/requirements/dev.txt"
PACKAGES = ("protos", "plugins/api", "plugins/*", "gateway", "core_signer", "deploy/devnet")


def distributions() -> list[Path]:
    """Folders of our packages; a chain plugin joins by being there."""
    found = {path.parent for pattern in PACKAGES for path in ROOT.glob(f"{pattern}/pyproject.toml")}
    return sorted(found)


def wanted() -> str:
    """What the environment is made from, as a hash: interpreter, place, lock, metadata."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}\0{ROOT}\0".encode())
    for path in [LOCK, *(folder / "pyproject.toml" for folder in distributions())]:
        data = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def is_made(stamp: str) -> bool:
    """Whether an earlier run finished with the same inputs."""
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8") == stamp and (VENV / "bin/python").exists()


def pip(*arguments: str) -> None:
    """Run the environment's own pip; its output is shown only when it fails."""
    command = [str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-8000:]}\nset-up failed: pip {arguments[0]} exited {done.returncode}")


def same_interpreter() -> bool:
    """Whether .venv was made by this minor version of Python and works."""
    python = VENV / "bin/python"
    if not python.exists():
        return False
    probe = [str(python), "-c", "import sys, pip; print(sys.version_info[:2])"]
    answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == str(sys.version_info[:2])


def make(stamp: str) -> None:
    """Create or bring up to date; the stamp is written last, so that an interrupted run is repeated."""
    began = time.monotonic()
    if not same_interpreter():
        shutil.rmtree(VENV, ignore_errors=True)
        print("set-up: creating .venv", flush=True)
        venv.create(VENV, with_pip=True, symlinks=True)
    STAMP.unlink(missing_ok=True)
    print("set-up: installing the locked dependencies (hashes checked)", flush=True)
    pip("install", "--quiet", "--require-hashes", "-r", str(LOCK))
    print("set-up: installing the Keyquorum packages", flush=True)
    editable = [argument for folder in distributions() for argument in ("-e", str(folder))]
    pip("install", "--quiet", "--no-deps", "--no-build-isolation", *editable)
    STAMP.write_text(stamp, encoding="utf-8")
    print(f"set-up: done in {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """One set-up at a time; a second one waits and then finds nothing to do."""
    stamp = wanted()
    if is_made(stamp):
        return
    with (ROOT / "Makefile").open("rb") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not is_made(stamp):
            make(stamp)


if __name__ == "__main__":
    main()
