"""Resolve deploy/requirements/*.in into hashed locks for Python 3.11 to 3.13 on every platform.

The runtime lock is resolved second and constrained by the development lock, so that what is tested is what ships. No
package index appears in either: a lock that names a host would pin the builder's network.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path("deploy/requirements")


def compile_lock(name: str, *extra: str) -> None:
    """Resolve one file in place; versions in the old lock are kept unless told otherwise."""
    command = [
        str(Path(sys.executable).parent / "uv"), "pip", "compile", "--quiet",
        "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header",
        "--no-emit-index-url", "--no-emit-find-links",
        str(REQUIREMENTS / f"{name}.in"), "-o", str(REQUIREMENTS / f"{name}.txt"), *extra,
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    text = (ROOT / REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    if "://" in text:
        raise SystemExit(f"{name}.txt names a host: pin released versions only")


def main() -> None:
    """Both locks."""
    parser = argparse.ArgumentParser(description="resolve the hashed locks")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the ranges allow")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    compile_lock("dev", *upgrade)
    compile_lock("runtime", "--constraint", str(REQUIREMENTS / "dev.txt"), *upgrade)


if __name__ == "__main__":
    main()
