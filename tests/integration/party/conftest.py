"""One cell of three real party processes per module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.cell import Cell, make_cell


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cell(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    """Three parties, each its own process, store and identity."""
    made = make_cell(tmp_path_factory.mktemp("cell"))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
