"""One thread per test process: the suite runs two processes on two cores, and results do not depend on the machine's size.

And the real tables, where they are.
"""

import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = "1"

_DATA = Path(os.environ.get("ATTENDING_DATA", Path(__file__).parents[1].parent / "shared" / "data"))


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Path:
    """The table of the real data set that the test's `data` marker names."""
    name = request.node.get_closest_marker("data").args[0]
    path = _DATA / name / "patients.csv"
    if not path.is_file():
        pytest.skip(f"needs the {name} data set: set ATTENDING_DATA to the folder that holds it")
    return path
