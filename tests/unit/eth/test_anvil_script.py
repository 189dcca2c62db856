"""What scripts/anvil.py fetches is what is pinned, or nothing."""

import hashlib
import io
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from support.scripts import load_script

MEMBER = "package/bin/anvil"


@pytest.fixture
def script(tmp_path: Path) -> ModuleType:
    module = load_script("anvil")
    module.CACHE = tmp_path
    return module


def archive(path: Path, *, member: str = MEMBER, link: bool = False) -> str:
    """A package with one file; its integrity."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(member)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
        else:
            info.size = 5
            tar.addfile(info, io.BytesIO(b"anvil"))
    return "sha512-" + b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def test_only_the_pinned_archive_is_unpacked(script: ModuleType, tmp_path: Path) -> None:
    """One bit more and it is refused, by name, before anything is read from it."""
    path = tmp_path / "package.tgz"
    package = replace(script.ANVIL, integrity=archive(path))
    script.verify(path, package)
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(script.AnvilError, match="not the archive that is pinned"):
        script.verify(path, package)


@pytest.mark.parametrize(("member", "link"), [("package/bin/other", False), (MEMBER, True)])
def test_an_archive_without_the_file_is_refused(script: ModuleType, tmp_path: Path, member: str, *, link: bool) -> None:
    """Nothing but that one regular file is ever written."""
    path = tmp_path / "package.tgz"
    archive(path, member=member, link=link)
    with pytest.raises(script.AnvilError):
        script._unpack(path, script.ANVIL)
    assert {each.name for each in tmp_path.iterdir()} == {"package.tgz"}


def test_an_unpacked_file_is_not_fetched_again(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither npm nor a network is needed the second time."""
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    with pytest.raises(script.AnvilError, match="npm"):
        script.fetch(script.ANVIL)
    script.ANVIL.path.parent.mkdir()
    script.ANVIL.path.write_bytes(b"anvil")
    assert script.fetch(script.ANVIL) == script.ANVIL.path


def test_other_machines_are_told_what_to_install(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one pinned binary; an installed one is taken anywhere."""
    monkeypatch.setattr(script.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    with pytest.raises(script.AnvilError, match="foundryup"):
        script.find_anvil()
    monkeypatch.setattr(script.shutil, "which", lambda name: "/opt/foundry/anvil")
    assert script.find_anvil() == Path("/opt/foundry/anvil")
