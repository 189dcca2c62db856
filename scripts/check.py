"""Run every check and every test, and close with one line that counts them all.

Arguments that are not options of this script narrow or steer pytest: ``scripts/check.py tests/unit -k roster``.
"""

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
REPORT = ROOT / "build/test/pytest.xml"
FAILURES_SHOWN_BYTES = 16_000
WORKERS_MAX = 4  # each holds an interpreter with every library; a whole stack runs beside them
PYTEST_NO_TESTS = 5

CHECKS: dict[str, list[str]] = {  # the slow one first: two run at a time
    "types (mypy)": [str(TOOLS / "mypy")],
    "style (ruff check)": [str(TOOLS / "ruff"), "check", "--quiet", "."],
    "format (ruff format)": [str(TOOLS / "ruff"), "format", "--check", "--quiet", "."],
    "import arrows (lint-imports)": [str(TOOLS / "lint-imports"), "--no-cache"],
    "protos (buf lint)": [str(TOOLS / "buf"), "lint"],
    "generated code": [sys.executable, "scripts/protos.py", "--check"],
}


@dataclass(slots=True)
class Tally:
    """What the closing line counts."""

    passed: int = 0
    failed: int = 0
    skips: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The closing line."""
        return f"{self.passed} passed, {self.failed} failed, {len(self.skips)} skipped"


def run_check(name: str) -> tuple[str, int, str, float]:
    """One check: its name, exit code, output and seconds."""
    began = time.monotonic()
    done = subprocess.run(
        CHECKS[name],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return name, done.returncode, done.stdout, time.monotonic() - began


def run_checks(tally: Tally) -> None:
    """All checks; the output of those that fail."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, code, output, seconds in pool.map(run_check, CHECKS):
            print(f"{'ok' if code == 0 else 'FAILED':6} {name} ({seconds:.1f} s)", flush=True)
            if code:
                tally.failed += 1
                print(output[-FAILURES_SHOWN_BYTES:], flush=True)
            else:
                tally.passed += 1


def run_pytest(tally: Tally, arguments: list[str]) -> None:
    """All tests, or those that the arguments name. In the order of the folders: the end-to-end tests, which share a stack
    and stay in one worker, begin at once and take longest."""
    workers = min(WORKERS_MAX, (os.cpu_count() or 1) + 1)  # tests wait for processes as much as they compute
    spread = [] if arguments or workers == 1 else ["-n", str(workers), "--dist", "loadscope", "--no-loadscope-reorder"]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)
    command = [str(TOOLS / "pytest"), "-qq", "-rfE", f"--junitxml={REPORT}", *spread, *arguments]
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    counted = count_tests(tally)
    if code not in {0, PYTEST_NO_TESTS} and not counted:
        tally.failed += 1
        print(f"FAILED pytest exited {code} without a failed test", flush=True)
    if code == PYTEST_NO_TESTS:
        tally.failed += 1
        print("FAILED pytest found no test", flush=True)


def count_tests(tally: Tally) -> int:
    """Add what pytest wrote down; how many failed."""
    if not REPORT.is_file():
        return 0
    failed = 0
    for case in ET.parse(REPORT).iter("testcase"):  # noqa: S314  we wrote it ourselves
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is not None:
            tally.skips.append(f"{name}: {skipped.get('message')}")
        else:
            tally.passed += 1
    tally.failed += failed
    return failed


def main() -> int:
    """Everything, in the order in which it fails fastest."""
    parser = argparse.ArgumentParser(description="run every check and every test")
    parser.add_argument("--no-tests", action="store_true", help="only the checks")
    options, pytest_arguments = parser.parse_known_args()
    began = time.monotonic()
    tally = Tally()
    run_checks(tally)
    if not options.no_tests:
        run_pytest(tally, pytest_arguments)
    for skip in tally.skips:
        print(f"skipped: {skip}")
    print(f"\nchecks and tests took {time.monotonic() - began:.0f} s")
    print(tally.line(), flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
