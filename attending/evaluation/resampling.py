"""Drawing whole groups with replacement: the counts that every bootstrap here is made of.

The same seed gives the same counts, so that two models are resampled alike and their difference is paired. Drawn in batches:
memory does not grow with the number of resamples.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

CELLS = 1 << 17
"""Numbers in one working array: small enough to stay in the processor's cache."""


def draws(n_clusters: int, resamples: int, *, seed: int, widest: int) -> Iterator[Float[np.ndarray, "batch cluster"]]:
    """How often each group is drawn in each resample, in batches; `widest` is the largest number of rows they will weigh."""
    rng = np.random.default_rng([seed, 0xB007])
    batch = int(np.clip(CELLS // max(widest, 1), 1, 256))
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = rng.integers(0, n_clusters, size=(size, n_clusters))
        drawn += np.arange(size)[:, None] * n_clusters
        yield np.bincount(drawn.ravel(), minlength=size * n_clusters).reshape(size, n_clusters).astype(float)
