"""Proves that each countermeasure is guarded by a test: take it out, and the test must fail.

Entries are in ``tests/protocol/countermeasures*.toml``. For each one the sources are copied to a temporary folder, the
patch is applied there, and the named tests run with the copy first on the path of every interpreter; they must *fail*
(not break: pytest's exit code for a failed test). Before that, all named tests must pass on an unpatched copy.

    python tests/proof/countermeasures.py [--sample] [--only TEXT] [--jobs N]
"""

# ruff: noqa: T201 - it reports on standard output

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENTRIES = "tests/protocol/countermeasures*.toml"
SOURCES = ("core_signer/src", "protos/src", "plugins/api/src", "plugins/sol/src", "gateway/src")
PASSED, FAILED = 0, 1  # pytest's exit codes; all others mean that the tests did not run to their end
TIMED_OUT = "timed out"
SECONDS_MAX = 600  # per run of pytest; a test that hangs without its countermeasure has failed


class InvalidEntry(ValueError):
    """Proves that an entry does not describe a patch of these sources."""


@dataclass(frozen=True)
class Patch:
    """A text that occurs exactly once in a file, and what replaces it."""

    file: str
    find: str
    replace: str

    def apply(self, root: Path) -> None:
        """Patch the copy under ``root``."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.find) != 1:
            raise InvalidEntry(f"{self.file}: the text to find occurs {text.count(self.find)} times")
        path.write_text(text.replace(self.find, self.replace))


@dataclass(frozen=True)
class Countermeasure:
    """One entry."""

    name: str
    attack: str
    tests: tuple[str, ...]
    patches: tuple[Patch, ...]
    sample: bool


def load(pattern: str = ENTRIES) -> list[Countermeasure]:
    """All entries, each checked for what it must say."""
    entries = [
        _entry(path, raw)
        for path in sorted(ROOT.glob(pattern))
        for raw in tomllib.loads(path.read_text())["countermeasure"]
    ]
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise InvalidEntry("two entries have one name")
    return entries


def _entry(path: Path, raw: dict[str, Any]) -> Countermeasure:
    """An entry has one patch in its own keys, or several under ``patch``."""
    where = f"{path.name}: {raw.get('name')}"
    patch_keys, other_keys = {"file", "find", "replace"}, {"name", "attack", "test", "sample"}
    own = {key: value for key, value in raw.items() if key in patch_keys}
    raw_patches = raw.get("patch", [own])
    unknown = set(raw) - other_keys - ({"patch"} if "patch" in raw else patch_keys)
    if unknown or not all(raw.get(key) for key in ("name", "attack", "test")):
        raise InvalidEntry(f"{where}: needs name, attack, test and a patch, and nothing else")
    if any(set(patch) != patch_keys for patch in raw_patches) or not raw_patches:
        raise InvalidEntry(f"{where}: a patch has file, find and replace")
    patches = tuple(Patch(**patch) for patch in raw_patches)
    for patch in patches:
        if not any(patch.file.startswith(f"{source}/") for source in SOURCES):
            raise InvalidEntry(f"{where}: {patch.file} is not in a package that is copied")
    tests = (raw["test"],) if isinstance(raw["test"], str) else tuple(raw["test"])
    return Countermeasure(raw["name"], raw["attack"], tests, patches, raw.get("sample", False))


@contextmanager
def _copied(patches: Sequence[Patch] = ()) -> Iterator[dict[str, str]]:
    """The environment of interpreters that import a patched copy of the sources."""
    with tempfile.TemporaryDirectory(prefix="keyquorum-countermeasure-") as folder:
        root = Path(folder)
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, root / source, ignore=shutil.ignore_patterns("__pycache__"))
        for patch in patches:
            patch.apply(root)
        path = os.pathsep.join(str(root / source) for source in SOURCES)
        yield os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "KEYQUORUM_PROOF_COPY": str(root)}


def _pytest(tests: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output; a run beyond ``SECONDS_MAX`` counts as a failed test."""
    # schemathesis alone doubles the time that pytest takes to start
    command = [sys.executable, "-m", "pytest", "-p", "no:schemathesis", "-q", "-rf", "--tb=line", *tests]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED, TIMED_OUT
    return done.returncode, done.stdout + done.stderr


def _imports_the_copy(environment: dict[str, str]) -> bool:
    """Whether an interpreter with this environment takes the package from the copy and not from the repository."""
    program = "import keyquorum_core_signer as package; print(package.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    return Path(found.strip()).is_relative_to(environment["KEYQUORUM_PROOF_COPY"])


def _belongs(line: str, test: str) -> bool:
    """Whether a line of pytest's summary is about ``test`` or one of its parametrisations."""
    return line.startswith((f"{test}[", f"{test} ")) or line == test


def _violation(entry: Countermeasure) -> str | None:
    """What is wrong with an entry, or ``None`` if each of its tests fails without the countermeasure."""
    try:
        with _copied(entry.patches) as environment:
            code, output = _pytest(entry.tests, environment)
            if code not in (PASSED, FAILED):
                return f"the tests did not run without the countermeasure (exit code {code})\n{output[-2000:]}"
            failed = [line.removeprefix("FAILED ") for line in output.splitlines() if line.startswith("FAILED ")]
            passed = [test for test in entry.tests if not any(_belongs(node, test) for node in failed)]
            if passed and output != TIMED_OUT:
                return f"{', '.join(passed)}: passed without the countermeasure"
    except InvalidEntry as error:
        return str(error)
    return None


def prove(*, sample: bool = False, only: str = "", jobs: int | None = None) -> list[dict[str, object]]:
    """Run the entries, printing progress; one row {name, cases, violations} as ``build/proof.json`` holds them."""
    entries = [entry for entry in load() if (entry.sample or not sample) and only in entry.name]
    violations: dict[str, str] = {}
    started = time.monotonic()
    with _copied() as environment:
        if not _imports_the_copy(environment):
            raise RuntimeError("tests would import the repository's sources instead of the copy")
        tests = sorted({test for entry in entries for test in entry.tests})
        code, output = _pytest(tests, environment)
    if code != PASSED:
        print(output[-4000:])
        violations["unpatched"] = "the tests do not pass with every countermeasure in place"
    else:
        print(f"{len(tests)} tests pass with all countermeasures in place")
        with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
            outcomes = zip(entries, pool.map(_violation, entries), strict=True)
            for number, (entry, violation) in enumerate(outcomes, 1):
                print(
                    f"[{number}/{len(entries)}] {'GUARDED' if violation is None else 'VIOLATED'}  {entry.name}",
                    flush=True,
                )
                if violation is not None:
                    violations[entry.name] = violation
    for name, violation in violations.items():
        print(f"{name}: {violation}")
    print(f"{len(entries)} countermeasures, {len(violations)} violations, {time.monotonic() - started:.0f} s")
    return [{"name": "countermeasures", "cases": len(entries), "violations": len(violations)}]


def main() -> int:
    """Exit code 0 if every countermeasure is guarded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="only the entries that run in `make test`")
    parser.add_argument("--only", default="", metavar="TEXT", help="only entries whose name contains TEXT")
    parser.add_argument("--jobs", type=int, help="runs of pytest at once; by default one per core")
    options = parser.parse_args()
    rows = prove(sample=options.sample, only=options.only, jobs=options.jobs)
    return 1 if any(row["violations"] for row in rows) or not rows[0]["cases"] else 0


if __name__ == "__main__":
    sys.exit(main())
