"""The closing line of `make test` counts everything that ran."""

import pytest

from support.scripts import load_script

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.a" name="one"/>
<testcase classname="tests.unit.a" name="two"/>
<testcase classname="tests.unit.a" name="three"><failure message="no"/></testcase>
<testcase classname="tests.unit.a" name="four"><error message="broken"/></testcase>
<testcase classname="tests.unit.b" name="five"><skipped message="needs a device"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def check(tmp_path):
    """The script as a module, reporting elsewhere."""
    module = load_script("check")
    module.REPORT = tmp_path / "pytest.xml"
    return module


def test_tests_are_counted_and_skips_are_named(check):
    """A failure and an error both fail; a skip says who and why."""
    check.REPORT.write_text(REPORT)
    tally = check.Tally(passed=6)
    assert check.count_tests(tally) == 2
    assert tally.line() == "8 passed, 2 failed, 1 skipped"
    assert tally.skips == ["tests.unit.b::five: needs a device"]


def test_a_failed_check_fails_and_shows_why(check, capsys):
    """Checks are counted like tests."""
    python = check.sys.executable
    check.CHECKS.clear()
    check.CHECKS |= {"good": [python, "-c", ""], "bad": [python, "-c", "raise SystemExit('it is crooked')"]}
    tally = check.Tally()
    check.run_checks(tally)
    assert (tally.passed, tally.failed) == (1, 1)
    assert "it is crooked" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "text"), [(5, "found no test"), (4, "exited 4"), (-9, "exited -9")])
def test_a_run_that_tested_nothing_fails(check, monkeypatch, capsys, code, text):
    """Neither an empty run nor a crashed one passes for a good one."""
    done = check.subprocess.CompletedProcess([], code)
    monkeypatch.setattr(check.subprocess, "run", lambda *_args, **_options: done)
    tally = check.Tally()
    check.run_pytest(tally, [])
    assert tally.failed == 1
    assert text in capsys.readouterr().out
