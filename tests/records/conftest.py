"""Small tables on disk, and the real ones where they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("ATTENDING_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV of this text (leading newline and indentation are dropped) and return its path."""

    def write(text: str, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(line.strip() for line in text.strip().split("\n")) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Path:
    """The table of the real data set that the test's `data` marker names."""
    name = request.node.get_closest_marker("data").args[0]
    path = _DATA / name / "patients.csv"
    if not path.is_file():
        pytest.skip(f"needs the {name} data set: set ATTENDING_DATA to the folder that holds it")
    return path
