"""Published figures, kept in JSON under tests/vectors, each file with its source."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "vectors"


def load(name: str):
    """One file of figures; it says where they are from."""
    vectors = json.loads((FOLDER / f"{name}.json").read_text())
    assert vectors["source"]
    return vectors
