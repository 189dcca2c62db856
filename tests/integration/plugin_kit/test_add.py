"""``keyquorum plugins add``: what is installed, what is printed, and what is refused before anything is installed."""

import json
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from keyquorum_core_signer.cli import signer
from keyquorum_gateway.cli import main
from keyquorum_gateway.plugins import Plugins, PluginState, installed_plugins
from support.plugin_wheels import ENTRY_POINTS, plugin_files, write_wheel
from support.toy_plugin import write_plugin


@pytest.fixture
def add(monkeypatch):
    """Run the command; pip asks no index and builds with what is here."""
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def run(*words):
        return CliRunner().invoke(main, ["plugins", "add", *map(str, words)])

    return run


def refused(done) -> str:
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    return done.output


def test_a_version_goes_into_a_folder_of_its_own(add, tmp_path):
    """What is printed is what the gateway's allow-list and the party's own command say, and nothing was imported."""
    wheel, folder = write_wheel(tmp_path), tmp_path / "plugins" / "toy-1.0"
    done = add(wheel, "--into", folder)
    assert done.exit_code == 0, done.output
    installed = installed_plugins(folder)
    (line,) = {report.allow_line for report in Plugins([], installed).reports}
    assert line == 'allow = ["kq-toy"]'
    assert f"\n{line}\n" in done.output
    assert f"PYTHONPATH={folder}" in done.output
    table = done.output[done.output.index("[[codecs]]") :].partition("\n\n")[0]
    at_party = CliRunner().invoke(signer, ["codec", "toy", "--path", str(folder)])
    assert at_party.exit_code == 0, at_party.output
    assert tomllib.loads(table) == tomllib.loads(at_party.output)
    assert tomllib.loads(table)["codecs"][0] | {"sha256": ""} == {
        "name": "toy", "version": "1.0", "sha256": "", "path": str(folder),
    }  # fmt: skip
    states = {report.group: report.state for report in Plugins(["kq_toy"], installed).reports}
    assert states["keyquorum.chains"] is PluginState.FAILED  # its module raises: whoever imports it notices


def test_a_pinned_version_is_found_among_wheels(add, tmp_path):
    """NAME==VERSION takes exactly that one. Where the configuration is known, the allow line is whole."""
    for version in ("1.0", "1.1"):
        write_wheel(tmp_path / "wheels", version)
    config = tmp_path / "gateway.toml"
    config.write_text('[plugins]\nallow = ["keyquorum_sol"]\n')
    options = ("--no-index", "--find-links", tmp_path / "wheels", "--config", config, "--json")
    answer = json.loads(add("kq_toy==1.0", "--into", tmp_path / "site", *options).output)
    assert answer["allow_line"] == 'allow = ["keyquorum-sol", "kq-toy"]'
    assert (answer["distribution"], answer["version"], answer["folder"]) == ("kq-toy", "1.0", str(tmp_path / "site"))
    assert [(codec["version"], codec["path"]) for codec in answer["codecs"]] == [("1.0", str(tmp_path / "site"))]
    assert "pip wheel failed" in refused(add("kq_toy==2.0", "--into", tmp_path / "other", *options))
    assert not (tmp_path / "other").exists()


def test_a_source_folder_is_built(add, tmp_path):
    """The toy plugin, as it was written; its wheel holds the package alone."""
    folder = write_plugin(tmp_path)
    done = add(folder, "--into", tmp_path / "site")
    assert done.exit_code == 0, done.output
    assert {entry.name for entry in (tmp_path / "site").iterdir()} == {
        "keyquorum_toy",
        "keyquorum_toy-0.1.0.dist-info",
    }
    reports = Plugins([], installed_plugins(tmp_path / "site")).reports
    assert {(report.name, report.version, report.state) for report in reports} == {
        ("toy", "0.1.0", PluginState.REFUSED)
    }


def test_without_a_folder_it_goes_into_the_environment(tmp_path):
    """Of the interpreter that runs the command: here, one that was made for this test."""
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "ours.pth").write_text("\n".join(path for path in sys.path if "packages" in path or path.endswith("/src")))
    wheel = write_wheel(tmp_path)
    run = [str(tmp_path / "venv/bin/python"), "-c", "from keyquorum_gateway.cli import main; main()"]
    done = subprocess.run(
        [*run, "plugins", "add", str(wheel), "--no-index", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "path" not in json.loads(done.stdout)["codecs"][0]
    assert (site / "kq_toy/codec.py").is_file()


def test_a_folder_holds_one_version(add, tmp_path):
    """What is in a folder stays as it is."""
    wheel = write_wheel(tmp_path)
    assert add(wheel, "--into", tmp_path / "site").exit_code == 0
    before = sorted((tmp_path / "site").rglob("*.py"))
    assert "is not empty" in refused(add(write_wheel(tmp_path, "2.0"), "--into", tmp_path / "site"))
    assert sorted((tmp_path / "site").rglob("*.py")) == before


def broken(folder):
    file = folder / "kq_toy-1.0-py3-none-any.whl"
    file.write_bytes(b"no zip")
    return file


NO_PLUGINS = {
    "no wheel": (broken, "is no wheel"),
    "no entry points": (lambda f: write_wheel(f, entry_points=""), "is no plugin"),
    "a codec alone": (
        lambda f: write_wheel(f, entry_points="[keyquorum.codecs]\ntoy = kq_toy.codec:T\n"),
        "is no plugin",
    ),
    "a module beside the package": (
        lambda f: write_wheel(f, files={**plugin_files(), "beside.py": ""}),
        "outside of a package",
    ),
    "a file that every interpreter runs": (
        lambda f: write_wheel(f, files={**plugin_files(), "kq_toy.pth": "import kq_toy.plugin"}),
        "outside of a package",
    ),
    "the same by another way": (
        lambda f: write_wheel(f, files={**plugin_files(), "kq_toy-1.0.data/purelib/x.pth": ""}),
        "outside of a package",
    ),
    "a missing dependency": (
        lambda f: write_wheel(f, requires=["no-such-thing>=2", "aiohttp>=3", "other; extra == 'test'"]),
        "not installed here: no-such-thing>=2\n",
    ),
}


@pytest.mark.parametrize("case", NO_PLUGINS)
def test_what_is_no_plugin_is_not_installed(add, tmp_path, case):
    """The wheel is looked at first."""
    make, reason = NO_PLUGINS[case]
    assert reason in refused(add(make(tmp_path), "--into", tmp_path / "site"))
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("spec", ["kq-toy", "kq-toy>=1", "nowhere", "kq-toy==1.0 --pre", "--"])
def test_what_is_not_exact_is_not_asked_for(add, tmp_path, spec):
    """A range, a name alone, more than one word."""
    done = add(spec, "--into", tmp_path / "site")
    assert done.exit_code in (1, 2), done.output
    assert not (tmp_path / "site").exists()


TWO_PACKAGES = (
    "[keyquorum.chains]\ntoy = kq_toy.plugin\n[keyquorum.codecs]\ntoy = kq_toy.codec:C\nother = kq_other.codec:C\n"
)
CANNOT_BE_PINNED = {
    "two packages": ({**plugin_files(), "kq_other/__init__.py": ""}, TWO_PACKAGES, "one top-level package"),
    "no package": ({"kq_toy/codec.py": ""}, ENTRY_POINTS, "not a package with an __init__.py"),
    "another package": ({"kq_other/__init__.py": ""}, ENTRY_POINTS, "not importable"),
}


@pytest.mark.parametrize("case", CANNOT_BE_PINNED)
def test_a_codec_that_cannot_be_pinned_is_told(add, tmp_path, case):
    """It is installed, and the command says why no party could pin it."""
    files, entry_points, reason = CANNOT_BE_PINNED[case]
    wheel = write_wheel(tmp_path, files=files, entry_points=entry_points)
    output = refused(add(wheel, "--into", tmp_path / "site"))
    assert "cannot be pinned" in output
    assert reason in output
