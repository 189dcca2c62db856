"""What a machine lacks is named, with the line that helps."""

import builtins
import shutil
import socket
import subprocess
import sys

import pytest

from support.scripts import ROOT, load_script


@pytest.fixture
def preflight():
    """The script as a module."""
    return load_script("preflight")


def test_nothing_is_missing_where_this_test_runs():
    """Every purpose passes here, and says nothing."""
    for purpose in ("setup", "demo", "run", "test", "bench"):
        command = [sys.executable, "scripts/preflight.py", purpose]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0), (4, 0, 0)])
def test_another_python_is_named(preflight, monkeypatch, version):
    """Locks hold for 3.11 to 3.13."""
    monkeypatch.setattr(preflight.sys, "version_info", version)
    answer = preflight.missing_python()
    assert ".".join(map(str, version)) in answer
    assert "apt-get install python3.11" in answer


def test_a_python_without_pip_is_named(preflight, monkeypatch):
    """Debian splits ensurepip off."""
    real = builtins.__import__

    def without_ensurepip(name, *rest):
        if name == "ensurepip":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ensurepip)
    assert "-venv" in preflight.missing_venv()


def test_a_full_disk_is_named(preflight, monkeypatch):
    """With how much is needed."""
    monkeypatch.setitem(preflight.DISK_FREE_MIB, "demo", 10**9)
    assert "1000000000 are needed" in preflight.missing_disk("demo")()


def test_a_machine_without_loopback_is_named(preflight, monkeypatch):
    """Sandboxes without one exist."""

    def refuse(*_args, **_options):
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert "ip link set lo up" in preflight.missing_loopback()


def test_npm_is_wanted_until_anvil_is_there(preflight, monkeypatch, tmp_path):
    """Whoever has anvil, or fetched it before, needs no npm; setting up needs neither."""
    monkeypatch.setattr(preflight, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "apt-get install npm" in preflight.missing_anvil()
    for name in ("npm", "anvil"):
        monkeypatch.setattr(shutil, "which", lambda asked, name=name: f"/usr/bin/{name}" if asked == name else None)
        assert preflight.missing_anvil() is None
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    fetched = tmp_path / "build/tools/anvil/anvil-linux-amd64-1.7.1/anvil"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert preflight.missing_anvil() is None
    assert preflight.missing_anvil not in preflight.checks("setup", "soft")
    for purpose in ("demo", "run", "test", "bench"):
        assert preflight.missing_anvil in preflight.checks(purpose, "soft")


def test_softhsm_is_wanted_only_where_it_is_used(preflight, monkeypatch):
    """`make demo` needs neither it nor apt."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "apt-get install softhsm2" in preflight.missing_softhsm()
    assert preflight.missing_softhsm not in preflight.checks("demo", "soft")
    assert preflight.missing_softhsm in preflight.checks("demo", "softhsm")
    assert preflight.missing_softhsm in preflight.checks("test", "soft")
