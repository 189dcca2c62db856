"""A store on a real disk per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shares.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteShareStore]:
    opened = await open_store(path)
    yield opened
    await opened.close()
