"""``keyquorum plugins new``: names, licences, and what is never overwritten."""

import re
import tomllib

import pytest
from click.testing import CliRunner

from keyquorum_gateway.cli import main, plugins_new


def new(*words):
    return CliRunner().invoke(main, ["plugins", "new", *map(str, words)])


def written(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["abc", "acme", "a1234567"])
def test_names_go_everywhere(tmp_path, name):
    """Into the distribution, the package, the entry points and the classes; no placeholder is left."""
    done = new(name, "--into", tmp_path / "new" / "folder")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "new" / "folder" / f"keyquorum-{name}"
    assert str(folder) in done.output
    files = written(folder)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == f"keyquorum-{name}"
    assert project["entry-points"] == {
        "keyquorum.chains": {name: f"keyquorum_{name}.plugin"},
        "keyquorum.codecs": {name: f"keyquorum_{name}.codec:{name.capitalize()}Codec"},
    }
    for path, text in files.items():
        assert re.findall(r"@\w+@", text) == [], path
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a12345678", "Acme", "1acme", "ac-me", "ac_me", "acmé", "../acme", "a/b", "acme\n", "solana", "btc"],
)
def test_names_that_cannot_be_are_refused(tmp_path, name):
    """Too short or long, other characters, or taken; nothing is written."""
    done = new(name, "--into", tmp_path)
    assert done.exit_code == 2, done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(tmp_path, kind):
    """Whatever stands where the folder would be made."""
    place = tmp_path / "keyquorum-acme"
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    done = new("acme", "--into", tmp_path)
    assert done.exit_code == 1
    assert "is there already: nothing was written" in done.output
    assert kind != "file" or place.read_text() == "mine"
    assert kind == "file" or list(place.iterdir()) == []


@pytest.mark.parametrize("licence", plugins_new.LICENSES)
def test_the_licence_is_a_choice(tmp_path, licence):
    """One text, and its name in the metadata."""
    assert new("acme", "--into", tmp_path, "--license", licence).exit_code == 0
    files = written(tmp_path / "keyquorum-acme")
    assert [path for path in files if path.startswith("LICENSE")] == ["LICENSE"]
    text, identifier = {
        "Apache-2.0": ("Apache License", "Apache-2.0"),
        "MIT": ("MIT License", "MIT"),
        "proprietary": ("All rights reserved", "LicenseRef-Proprietary"),
    }[licence]
    assert text in files["LICENSE"]
    assert tomllib.loads(files["pyproject.toml"])["project"]["license"] == identifier


def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    """A disk that is full leaves no plugin that looks complete."""

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plugins_new, "_write", full)
    assert new("acme", "--into", tmp_path).exit_code != 0
    assert list(tmp_path.iterdir()) == []
