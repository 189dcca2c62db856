"""``keyquorum plugins new`` writes what passes conformance unchanged, and ``plugins check`` says what that shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyquorum_gateway.cli import main
from keyquorum_plugin_api.chain import CAPABILITIES
from keyquorum_plugin_api.testing.report import error_codes
from support.toy_plugin import write_plugin

NOT_OFFERED = {"fee_payer", "typed_data"}
NEVER_RAISED = {"chain-error"}
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _pytest_of_a_stranger(monkeypatch):
    """With what the guide asks for, and none of the plugins that our own tests use: they take seconds to start."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_asyncio.plugin,xdist.plugin")


def check(*words) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["plugins", "check", *map(str, words)])
    assert "Traceback" not in done.output
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plugin of another name than the toy's."""
    return write_plugin(tmp_path_factory.mktemp("plugin"), "acme2")


def test_a_new_plugin_conforms_unchanged(folder, tmp_path):
    """On its own ledger, to both suites; the report says so of every capability and of every error."""
    code, output = check(folder, "--json", "--report", tmp_path / "report.json")
    assert code == 0, output
    report = json.loads(output)
    assert report == json.loads((tmp_path / "report.json").read_text())
    (plugin,) = report["plugins"]
    assert (report["format"], report["passed"], plugin["passed"]) == (1, True, True)
    named = tuple(plugin[key] for key in ("distribution", "version", "codec", "chains", "sha256"))
    assert named == ("keyquorum-acme2", "0.1.0", "acme2", ["acme2:local"], "")
    assert {test["outcome"] for test in plugin["tests"]} == {"passed"}
    capabilities = plugin["capabilities"]
    assert set(capabilities) == CAPABILITIES
    assert {name for name, each in capabilities.items() if each["exercised"]} == CAPABILITIES - NOT_OFFERED
    for name in NOT_OFFERED:
        assert capabilities[name]["refused"]
        assert capabilities[name]["reason"] == "not claimed, and refused as unsupported"
    assert set(plugin["errors"]) == set(error_codes())
    assert {code for code, each in plugin["errors"].items() if not each["provoked"]} == NEVER_RAISED
    assert plugin["not_run"] == {}


def test_new_source_is_clean(folder):
    """As strict as ours, but for what tests and programs may do."""
    ignored = "INP001,S101,S603,T201,PLC0415,TRY004,PLR0917,I001"
    for words in (["check", "--ignore", ignored], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml"), "--no-cache", str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


SUITE = """
from types import SimpleNamespace

import pytest
from keyquorum_plugin_api.errors import InvalidAddress
from keyquorum_plugin_api.testing import Suite


class TestPart(Suite):
    @pytest.fixture
    def target(self):
        return SimpleNamespace(codec=SimpleNamespace(name="none-such"), chain="none-such:1")

    def test_sound(self, target):
        with self.refused(InvalidAddress):
            raise InvalidAddress("no")

    def test_wrong(self, target):
        self.exercised("memo")
        raise AssertionError("the memo is not there")
"""


def test_what_fails_is_reported_as_failed(tmp_path):
    """The exit status is 1, and no capability is credited to a test that failed, or to a suite that was not run."""
    (tmp_path / "test_part.py").write_text(SUITE)
    code, output = check(tmp_path, "--report", tmp_path / "report.json")
    assert code == 1
    assert "tests failed" in output
    assert "the memo is not there" in output
    (plugin,) = json.loads((tmp_path / "report.json").read_text())["plugins"]
    assert plugin["passed"] is False
    outcomes = {test["test"]: test["outcome"] for test in plugin["tests"]}
    assert outcomes == {"test_sound": "passed", "test_wrong": "failed"}
    assert plugin["errors"]["invalid-address"]["provoked"] == ["test_sound"]
    assert plugin["capabilities"]["memo"] == {
        "claimed": False, "exercised": [], "refused": [], "reason": "the suite of adapters was not run",
    }  # fmt: skip


def test_a_folder_without_suites_shows_nothing(tmp_path):
    """Passing tests of something else are no conformance."""
    (tmp_path / "test_other.py").write_text("def test_other():\n    assert True\n")
    code, output = check(tmp_path)
    assert code == 1
    assert "no conformance suite was run" in output


def test_reports_come_from_all_workers(tmp_path):
    """Under pytest-xdist, one report has what the workers found."""
    (tmp_path / "test_part.py").write_text(SUITE)
    words = ["-n", "1", "-p", "keyquorum_plugin_api.testing.pytest_report", "--conformance-report", "r.json"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (plugin,) = json.loads((tmp_path / "r.json").read_text())["plugins"]
    assert {test["outcome"] for test in plugin["tests"]} == {"passed", "failed"}
    assert plugin["errors"]["invalid-address"]["provoked"] == ["test_sound"]
