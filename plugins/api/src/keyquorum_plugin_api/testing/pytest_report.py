"""A pytest plugin that writes the conformance report: ``pytest -p keyquorum_plugin_api.testing.pytest_report
--conformance-report FILE``. It works under pytest-xdist, too.
"""

import json
import tomllib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import pluggy

from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.report import Ended, report

PROPERTY: Final = "keyquorum-conformance"

_hook: Final = pluggy.HookimplMarker("pytest")


class ReportWriter:
    """Collects what tests of the suites found out, in the process that has all of it, and writes it in the end."""

    def __init__(self, file: Path, root: Path) -> None:
        self._file = file
        self._root = root
        self._records: list[Ended] = []

    @_hook
    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test ended; of a test that failed outside of its call, that alone is told."""
        if report.when != "call" and report.outcome == "passed":
            return
        for key, value in report.user_properties:
            if key == PROPERTY:
                self._records.append(Ended(outcome=report.outcome, duration_s=report.duration, **value))

    @_hook
    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        written = json.dumps(report(self._records, _project(self._root)), indent=2, ensure_ascii=False)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(written + "\n", encoding="utf-8")


@_hook
def pytest_addoption(parser: Any) -> None:
    """The option."""
    parser.getgroup("keyquorum").addoption("--conformance-report", metavar="FILE", help="write what the suites found")


@_hook
def pytest_configure(config: Any) -> None:
    """Write where the option is given, and not in a worker of pytest-xdist."""
    file = config.getoption("--conformance-report")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ReportWriter(Path(file), config.rootpath), "keyquorum-conformance-report")


@_hook(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Send a test's evidence along with its outcome."""
    made = yield
    suite, target = getattr(item, "instance", None), getattr(item, "funcargs", {}).get("target")
    if isinstance(suite, Suite) and (call.when == "call" or made.outcome != "passed"):
        value = {
            "codec": target.codec.name if target is not None else "",
            "chain": target.chain if target is not None else "",
            "test": item.name,
            "evidence": suite.evidence.record(),
        }
        made.user_properties = [*(p for p in made.user_properties if p[0] != PROPERTY), (PROPERTY, value)]
    return made


def _project(root: Path) -> Mapping[str, str]:
    """Name and version of the source that is tested, should it not be installed."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return {}
    return {key: value for key in ("name", "version") if isinstance(value := project.get(key), str)}
