"""The artifact hash: the same for the same code, another for any other, and none for what cannot be pinned."""

import hashlib
import shutil
import subprocess
import sys
import tomllib

import pytest

from keyquorum_plugin_api.artifact import ArtifactError, artifact_hash, find_codec, package_folder
from support.codec_distributions import hash_of, install_codec


def hash_by_hand(files: dict[str, bytes]) -> bytes:
    digest = hashlib.sha256(b"keyquorum/codec-artifact/v1\x00")
    for path, content in sorted(files.items()):
        digest.update(len(path).to_bytes(4, "big") + path.encode() + hashlib.sha256(content).digest())
    return digest.digest()


def test_the_hash_is_over_every_file_of_the_package(tmp_path):
    """Paths and contents, sorted, with lengths: written out here a second time."""
    codec = install_codec(tmp_path)
    source = (tmp_path / "kq_toy" / "codec.py").read_bytes()
    assert codec.sha256 == hash_by_hand({"kq_toy/__init__.py": b"", "kq_toy/codec.py": source})
    (tmp_path / "kq_toy" / "deep").mkdir()
    (tmp_path / "kq_toy" / "deep" / "native.so").write_bytes(b"\x7fELF")
    files = {"kq_toy/__init__.py": b"", "kq_toy/codec.py": source, "kq_toy/deep/native.so": b"\x7fELF"}
    assert hash_of(tmp_path) == hash_by_hand(files)


def test_the_hash_ignores_what_is_never_loaded(tmp_path):
    """Byte code, the installation's own records and neighbouring packages are not the artifact."""
    codec = install_codec(tmp_path)
    (tmp_path / "kq_toy" / "__pycache__").mkdir()
    (tmp_path / "kq_toy" / "__pycache__" / "codec.cpython-311.pyc").write_bytes(b"x")
    (tmp_path / "kq_toy-1.0.dist-info" / "INSTALLER").write_text("pip")
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "__init__.py").write_text("x = 1")
    assert hash_of(tmp_path) == codec.sha256


@pytest.mark.parametrize("change", ["content", "name", "new", "gone", "sourceless", "moved"])
def test_any_change_of_the_code_changes_the_hash(tmp_path, change):
    """Nothing that an import could find is left out."""
    codec = install_codec(tmp_path)
    package = tmp_path / "kq_toy"
    extra = package / "extra.py"
    extra.write_text("x = 1")
    before = hash_of(tmp_path)
    assert before != codec.sha256
    if change == "content":
        extra.write_text("x = 2")
    elif change == "name":
        extra.rename(package / "extra2.py")
    elif change == "new":
        (package / "more.py").write_text("")
    elif change == "gone":
        extra.unlink()
    elif change == "sourceless":
        (package / "hidden.pyc").write_bytes(b"x")
    else:
        (package / "sub").mkdir()
        extra.rename(package / "sub" / "extra.py")
    assert hash_of(tmp_path) != before


def test_names_and_contents_do_not_run_into_each_other(tmp_path):
    """Two trees whose names and contents concatenate to the same bytes differ."""
    hashes = set()
    for number, (name, content) in enumerate([("ab.py", "c"), ("a.py", "bc"), ("abc.py", "")]):
        install_codec(tmp_path / str(number))
        (tmp_path / str(number) / "kq_toy" / name).write_text(content)
        hashes.add(hash_of(tmp_path / str(number)))
    assert len(hashes) == 3


def test_an_editable_install_has_the_hash_of_a_wheel(tmp_path, monkeypatch):
    """Where the package lies does not matter, only what is in it."""
    wheel, source = tmp_path / "wheel", tmp_path / "source"
    codec = install_codec(wheel)
    source.mkdir()
    shutil.move(wheel / "kq_toy", source / "kq_toy")
    monkeypatch.syspath_prepend(str(source))
    distribution, _ = find_codec("toy", wheel)
    assert package_folder(distribution) == source / "kq_toy"
    assert artifact_hash(distribution) == codec.sha256


def test_a_symbolic_link_cannot_be_pinned(tmp_path):
    """Neither to a file nor to a folder: what it leads to can change alone."""
    for number, target in enumerate([tmp_path / "file.py", tmp_path / "folder"]):
        folder = tmp_path / str(number)
        install_codec(folder)
        (folder / "kq_toy" / "link").symlink_to(target)
        with pytest.raises(ArtifactError, match="symbolic link"):
            hash_of(folder)


def test_code_outside_of_the_package_cannot_be_pinned(tmp_path):
    """A distribution that installs a second module, source or native, is refused."""
    for number, stray in enumerate(["helper.py", "other/__init__.py", "native.cpython-311-x86_64-linux-gnu.so"]):
        folder = tmp_path / str(number)
        install_codec(folder)
        record = folder / "kq_toy-1.0.dist-info" / "RECORD"
        record.write_text(record.read_text() + f"{stray},,\n")
        with pytest.raises(ArtifactError, match="outside of its package"):
            hash_of(folder)


def test_a_codec_is_found_by_its_one_name(tmp_path, monkeypatch):
    """None and several are both errors; a folder is searched alone."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not entry.endswith("toysite")])
    install_codec(tmp_path / "one")
    distribution, entry_point = find_codec("toy", tmp_path / "one")
    assert (distribution.version, entry_point.value) == ("1.0", "kq_toy.codec:ToyCodec")
    with pytest.raises(ArtifactError, match="no distribution declares"):
        find_codec("toy")
    with pytest.raises(ArtifactError, match="no distribution declares"):
        find_codec("solana", tmp_path / "one")
    for number, rival in enumerate([{"package": "kq_rival"}, {"version": "1.1"}]):
        folder = tmp_path / f"both{number}"
        install_codec(folder)
        install_codec(tmp_path / f"rival{number}", **rival)
        shutil.copytree(tmp_path / f"rival{number}", folder, dirs_exist_ok=True)
        with pytest.raises(ArtifactError, match="several distributions"):
            find_codec("toy", folder)


def test_a_distribution_without_a_package_cannot_be_pinned(tmp_path):
    """A module without a package, a missing package and codecs in two packages are refused."""
    install_codec(tmp_path / "bare")
    (tmp_path / "bare" / "kq_toy" / "__init__.py").unlink()
    with pytest.raises(ArtifactError, match="not a package"):
        hash_of(tmp_path / "bare")
    install_codec(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "kq_toy")
    with pytest.raises(ArtifactError, match="not importable"):
        hash_of(tmp_path / "gone")
    install_codec(tmp_path / "two")
    with (tmp_path / "two" / "kq_toy-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("second = kq_other.codec:Codec\n")
    with pytest.raises(ArtifactError, match="one top-level package"):
        hash_of(tmp_path / "two")


def test_the_pin_is_printed_as_a_party_configures_it(tmp_path):
    """The table is TOML with the hash that a worker will compute; nothing of the codec is imported for it."""
    proof = tmp_path / "imported"
    codec = install_codec(tmp_path / "codec", head=f"open({str(proof)!r}, 'w')")
    command = [sys.executable, "-I", "-m", "keyquorum_plugin_api.codec_host.pin", "toy", "--path", str(codec.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pin = {"name": "toy", "version": "1.0", "sha256": codec.sha256.hex(), "path": str(codec.folder)}
    assert tomllib.loads(done.stdout) == {"codecs": [pin]}
    assert not proof.exists()
    command[-3] = "other"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "no distribution declares the codec 'other'\n")
