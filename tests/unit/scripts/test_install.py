"""The environment is made again when what it is made from changes, and only then."""

import pytest

from support.scripts import load_script


@pytest.fixture
def install(tmp_path):
    """The script as a module, for a small tree of its own."""
    module = load_script("install")
    module.ROOT = tmp_path
    module.VENV = tmp_path / ".venv"
    module.STAMP = module.VENV / "stamp"
    module.LOCK = tmp_path / "deploy/requirements/dev.txt"
    for path in ("deploy/requirements/dev.txt", "gateway/pyproject.toml", "plugins/sol/pyproject.toml", "Makefile"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return module


def test_a_change_of_lock_or_metadata_is_seen(install):
    """So is a new plugin; a changed source file is not: it is installed editable."""
    seen = {install.wanted()}
    (install.ROOT / "gateway/app.py").write_text("x = 1")
    assert install.wanted() in seen
    for path in ("deploy/requirements/dev.txt", "gateway/pyproject.toml", "plugins/eth/pyproject.toml"):
        (install.ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (install.ROOT / path).write_text("changed")
        assert install.wanted() not in seen
        seen.add(install.wanted())


def test_an_environment_without_its_stamp_is_not_made(install):
    """An interrupted set-up is repeated: the stamp is written last."""
    stamp = install.wanted()
    (install.VENV / "bin").mkdir(parents=True)
    (install.VENV / "bin/python").touch()
    assert not install.is_made(stamp)
    install.STAMP.write_text(stamp)
    assert install.is_made(stamp)
    assert not install.is_made("another")
