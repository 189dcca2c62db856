"""``keyquorum plugins check``: runs a plugin's own tests and tells what the conformance suites among them found."""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from keyquorum_gateway.cli.tables import show

TIMEOUT_S: Final = 1_800

_REPORTER: Final = "keyquorum_plugin_api.testing.pytest_report"
_OUTPUT_CHARS: Final = 6_000


@click.command("check")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path())
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Keep the report in this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the report instead of a table.")
def check(folder: Path, report: Path | None, as_json: bool) -> None:  # noqa: FBT001 click passes names
    """Run the tests in FOLDER, the plugin's source, and report what conformance they show.

    The tests run in this environment, so the plugin's dependencies, pytest and pytest-asyncio have to be installed in it.
    Exit status 1 unless at least one suite was run and all of its tests passed.
    """
    if find_spec("pytest") is None:
        raise click.ClickException("pytest is not installed here: python -m pip install pytest pytest-asyncio")
    with tempfile.TemporaryDirectory(prefix="keyquorum-check-") as temporary:
        written = (report or Path(temporary) / "conformance.json").absolute()
        written.unlink(missing_ok=True)
        output = _run(folder, written)
        if not written.is_file():
            raise click.ClickException(f"the tests could not be run:\n{output}")
        found = json.loads(written.read_text(encoding="utf-8"))
    for plugin in found["plugins"] or [None]:
        _show(plugin, found, as_json=as_json)
    if not found["passed"]:
        reason = "tests failed" if found["plugins"] else "no conformance suite was run"
        raise click.ClickException(f"{reason}:\n{output}")


def _run(folder: Path, report: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", _REPORTER, "--conformance-report", str(report)]
    try:
        done = subprocess.run(  # noqa: S603 our own interpreter
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise click.ClickException(f"the tests did not end within {TIMEOUT_S} s") from None
    return (done.stdout + done.stderr)[-_OUTPUT_CHARS:].strip()


def _show(plugin: Any, found: Any, *, as_json: bool) -> None:
    if as_json:
        show(found, (), (), as_json=True)
        return
    if plugin is None:
        return
    capabilities = [
        ("capability", name, _verdict(each["exercised"], each["claimed"]), each["reason"])
        for name, each in plugin["capabilities"].items()
    ]
    errors = [
        ("error", code, "provoked" if each["provoked"] else "not provoked", each["reason"])
        for code, each in plugin["errors"].items()
    ]
    others = [("property", name, "not run", reason) for name, reason in plugin["not_run"].items()]
    passed = sum(test["outcome"] == "passed" for test in plugin["tests"])
    title = f"{plugin['distribution']} {plugin['version']}, codec {plugin['codec']}: {passed} of {len(plugin['tests'])} passed"
    show(plugin, ("", "", "", ""), [*capabilities, *errors, *others], as_json=False, title=title)


def _verdict(exercised: list[str], claimed: bool) -> str:  # noqa: FBT001 one word of two
    if exercised:
        return "works"
    return "claimed, not shown" if claimed else "not offered"
