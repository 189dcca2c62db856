"""Wheels of strangers: read without being believed, and without being imported."""

import zipfile

import pytest

from keyquorum_gateway import wheels
from keyquorum_gateway.wheels import NoPluginWheel, read_wheel
from support.plugin_wheels import write_wheel


def test_a_wheel_says_what_it_is(tmp_path):
    """Name, version, entry points with their case, and what it needs without extras."""
    file = write_wheel(
        tmp_path,
        "1.0+local",
        entry_points="[keyquorum.chains]\nToy = a.b\n[keyquorum.codecs]\ntoy = a.c:C\n[console_scripts]\nx = y:z\n",
        requires=["aiohttp[speedups]>=3.12", "solders>=0.27; python_version > '3'", "pytest; extra == 'test'"],
    )
    found = read_wheel(file)
    assert (found.distribution, found.version, found.chains, found.codecs) == (
        "kq-toy",
        "1.0+local",
        ("Toy",),
        ("toy",),
    )
    assert set(found.requirements) == {"aiohttp", "solders"}


def rewritten(tmp_path, **members):
    """A wheel, some of whose metadata is other text; empty for none."""
    honest, made = write_wheel(tmp_path), tmp_path / "made.whl"
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(made, "w") as archive:
        for info in source.infolist():
            name = info.filename.rpartition("/")[2].partition(".")[0]
            text = members.get(name, source.read(info))
            if text:
                archive.writestr(info.filename, text)
    return made


BROKEN = {
    "no metadata": {"METADATA": ""},
    "no name": {"METADATA": "Metadata-Version: 2.1\nVersion: 1\n"},
    "no version": {"METADATA": "Metadata-Version: 2.1\nName: x\n"},
    "no text": {"METADATA": b"\xff\xfe"},
    "no sections": {"entry_points": "toy = a.b"},
    "a section twice": {"entry_points": "[keyquorum.chains]\na = b\n[keyquorum.chains]\na = b\n"},
    "empty sections": {"entry_points": "[keyquorum.chains]\n[keyquorum.codecs]\n"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_refused(tmp_path, case):
    """With one type, whatever is wrong."""
    with pytest.raises(NoPluginWheel):
        read_wheel(rewritten(tmp_path, **BROKEN[case]))


def test_two_distributions_in_one_wheel_are_refused(tmp_path):
    """It could not be said which of them was installed."""
    file = write_wheel(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Name: other\nVersion: 1.0\n")
    with pytest.raises(NoPluginWheel, match="no single METADATA"):
        read_wheel(file)


def test_metadata_has_a_limit(tmp_path, monkeypatch):
    """A small file can hold much."""
    monkeypatch.setattr(wheels, "METADATA_BYTES_MAX", 1_000)
    with pytest.raises(NoPluginWheel, match="no single METADATA"):
        read_wheel(rewritten(tmp_path, METADATA="Name: x\nVersion: 1\n" + "\n" * 1_000))


def test_a_file_that_is_not_there(tmp_path):
    """Is no wheel."""
    with pytest.raises(NoPluginWheel, match="FileNotFoundError"):
        read_wheel(tmp_path / "nowhere.whl")
