"""Writing the flags file: one table at a time, everything else untouched, never half a file, and nobody's change lost."""

import fcntl
import json
import os
import subprocess
import sys

import pytest

from keyquorum_gateway.flags import editing
from keyquorum_gateway.flags.document import FlagsInvalid, parse

CHAIN, OTHER = "toy:main", "toy:other"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"chains": {OTHER: {"note": "mine", "enabled": False, "salt": "ü"}}}))
    return file


def table(path, chain=CHAIN):
    return json.loads(path.read_text())["chains"].get(chain)


def test_a_life_of_a_chain(path):
    """Dark, one tenant, a tenth, everybody, killed, revived, disabled; the other chain stays as it was."""
    steps = [
        (editing.disabled, {"enabled": False}, "disabled"),
        (
            lambda t: editing.canary(t, tenants=("acme",)),
            {"enabled": True, "percent": 0, "tenants": ["acme"]},
            "canary",
        ),
        (lambda t: editing.canary(t, percent=10), {"enabled": True, "percent": 10, "tenants": ["acme"]}, "canary"),
        (editing.enabled, {"enabled": True, "percent": 100, "tenants": ["acme"]}, "enabled"),
        (editing.killed, {"enabled": True, "percent": 100, "tenants": ["acme"], "kill": True}, "killed"),
        (editing.revived, {"enabled": True, "percent": 100, "tenants": ["acme"], "kill": False}, "enabled"),
        (editing.disabled, {"enabled": False, "percent": 100, "tenants": ["acme"], "kill": False}, "disabled"),
    ]
    before = None
    for change, expected, stage in steps:
        made = editing.edit(path, CHAIN, change)
        assert (made.before, made.after, made.is_one) == (before, expected, True)
        assert table(path) == expected
        assert parse(path.read_bytes()).chains[CHAIN].rollout().stage == stage
        before = expected
    assert table(path, OTHER) == {"note": "mine", "enabled": False, "salt": "ü"}


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ({}, {"percent": 0}, {"enabled": True, "percent": 0}),
        ({}, {"percent": 100}, {"enabled": True, "percent": 100}),
        ({}, {"tenants": ("a", "b", "a")}, {"enabled": True, "percent": 0, "tenants": ["a", "b"]}),
        ({"enabled": True}, {"tenants": ("a",)}, {"enabled": True, "percent": 0, "tenants": ["a"]}),
        ({"enabled": True, "percent": 5}, {"tenants": ("a",)}, {"enabled": True, "percent": 5, "tenants": ["a"]}),
        ({"enabled": False, "percent": 5}, {"tenants": ("a",)}, {"enabled": True, "percent": 0, "tenants": ["a"]}),
        ({"enabled": True, "tenants": ["a"]}, {"tenants": ()}, {"enabled": True, "percent": 0, "tenants": []}),
        ({"kill": True}, {"percent": 5}, {"kill": True, "enabled": True, "percent": 5}),
        (
            {"enabled": True, "percent": 5, "note": "n"},
            {"sticky": "wallet", "salt": "s"},
            {"enabled": True, "percent": 5, "note": "n", "sticky": "wallet", "salt": "s"},
        ),
    ],
)
def test_a_canary_is_never_wider_than_was_said(before, given, after):
    """What is not given stays; a chain that was no canary begins with nobody but the list; a kill stays."""
    assert editing.canary(before, **given) == after


def test_what_changes_nothing_writes_nothing(path):
    """The file keeps its inode."""
    editing.edit(path, CHAIN, editing.killed)
    before = path.stat().st_ino
    assert not editing.edit(path, CHAIN, editing.killed).is_one
    assert path.stat().st_ino == before


def test_a_missing_file_is_made(tmp_path):
    """Readable for the gateway, whoever it runs as; nothing else is left in the folder."""
    path = tmp_path / "flags.json"
    editing.edit(path, CHAIN, editing.killed)
    assert table(path) == {"kill": True}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == ["flags.json"]


def test_mode_and_owner_stay_and_a_link_is_followed(path, tmp_path):
    """The gateway that could read the old file can read the new one."""
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    before = path.stat()
    editing.edit(link, CHAIN, editing.killed)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert link.is_symlink()
    assert table(path) == {"kill": True}


@pytest.mark.parametrize("content", [b"{", b"", b'{"chains": {"toy:main": {"colour": 1}}}', b'{"chains": 1}'])
def test_a_file_that_is_wrong_is_not_written_over(path, content):
    """Whoever broke it may want it back."""
    path.write_bytes(content)
    with pytest.raises(FlagsInvalid):
        editing.edit(path, CHAIN, editing.killed)
    assert path.read_bytes() == content


def test_what_would_not_be_read_back_is_not_written(path):
    """A chain that is no CAIP-2 id, a tenant that is no name."""
    before = path.read_bytes()
    with pytest.raises(FlagsInvalid):
        editing.edit(path, "Not a chain", editing.killed)
    with pytest.raises(FlagsInvalid):
        editing.edit(path, CHAIN, lambda t: editing.canary(t, tenants=("a b",)))
    assert path.read_bytes() == before


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(path, tmp_path, monkeypatch):
    """A full disk, at the worst moment."""
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        editing.edit(path, CHAIN, editing.killed)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["flags.json"]


def test_a_writer_waits_for_another_and_not_for_ever(path, tmp_path, monkeypatch):
    """The file stays as it is."""
    monkeypatch.setattr(editing, "LOCK_S", 0.1)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(FlagsInvalid, match="somebody else"):
        editing.edit(path, CHAIN, editing.killed)
    os.close(holder)
    assert editing.edit(path, CHAIN, editing.killed).is_one


WRITER = """
import sys
from pathlib import Path
from keyquorum_gateway.flags import editing
for turn in range(15):
    editing.edit(Path(sys.argv[1]), f"toy:w{sys.argv[2]}-{turn}", editing.killed)
    editing.edit(Path(sys.argv[1]), "toy:main", lambda t: {**t, "note": str(int(t.get("note") or 0) + 1)})
"""


def test_writers_at_once_lose_nothing_and_readers_see_whole_files(path):
    """Four processes, each with its own chains and one that all count in; whatever is read meanwhile is a flags file."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)]) for n in range(4)]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        parse(path.read_bytes())
        reads += 1
    assert [writer.wait() for writer in writers] == [0] * 4
    assert reads > 10
    assert table(path)["note"] == "60"
    assert len(json.loads(path.read_text())["chains"]) == 62
