"""One thread per test process: the suite runs two processes on two cores, and results do not depend on the machine's size."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = "1"
