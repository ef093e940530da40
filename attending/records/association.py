"""How closely one column goes with a recorded label: the two questions that inference asks of the cells.

Not a test and not an audit: it looks for the label by another name, and for a number that comes suspiciously close to it.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from attending.records.values import is_unknown

GIVEAWAY_AUROC = 0.9
_FEWEST_PAIRS = 30
_FEWEST_PER_CLASS = 5
_FEWEST_PER_VALUE = 5
_FEWEST_RANKED = 20


def determines(cells: Sequence[str | None], labels: Sequence[str | None], *, name: str) -> str | None:
    """The reason why a column is the label called `name` by another name, or None.

    Each of its values goes with one label only. Asked where that cannot be chance: at least 30 filled rows with a known
    label, at least 5 of each of two labels, and at least 5 rows for each value on average.
    """
    values = {cell for cell in cells if cell is not None and not is_unknown(cell)}
    n_filled = sum(cell in values for cell in cells)
    if n_filled < _FEWEST_PAIRS or _FEWEST_PER_VALUE * len(values) > n_filled:
        return None
    known = {label for label in labels if label is not None and not is_unknown(label)}
    pairs = [(cell, label) for cell, label in zip(cells, labels, strict=True) if cell in values and label in known]
    counts = {label: sum(other == label for _, other in pairs) for label in known}
    n_values = len({cell for cell, _ in pairs})
    is_certain = len(pairs) >= _FEWEST_PAIRS and _FEWEST_PER_VALUE * n_values <= len(pairs)
    if not is_certain or sum(count >= _FEWEST_PER_CLASS for count in counts.values()) < 2 or len(set(pairs)) != n_values:
        return None
    return f'each of its {n_values} values goes with one value of "{name}" in all {len(pairs)} rows: the label by another name'


def auroc_alone(values: Sequence[float], truth: Sequence[bool | None]) -> float | None:
    """AUROC of a number as the only predictor, in the better direction; None under 20 filled rows of either class."""
    pairs = [
        (value, is_true) for value, is_true in zip(values, truth, strict=True) if is_true is not None and not math.isnan(value)
    ]
    is_positive = np.array([is_true for _, is_true in pairs], dtype=bool)
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if min(n_positive, n_negative) < _FEWEST_RANKED:
        return None
    ranks = rankdata([value for value, _ in pairs])
    auroc = (ranks[is_positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return float(max(auroc, 1.0 - auroc))
