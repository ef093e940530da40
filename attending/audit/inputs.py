"""What single inputs of the cases say, field by field: numbers and words, as far as a column alone can be asked about.

Notes, films and embeddings are no single values; who has one is all that is told of them.
"""

import numpy as np
from jaxtyping import Float

from attending.audit.material import Material
from attending.case import Demographics, Embedding, Lab, Note, Scan, Sign

_BINS = 4


def values_of(material: Material) -> dict[str, np.ndarray]:
    """Per field the cases' values: numbers (several of one case averaged) or texts; NaN or None where there is none."""
    numbers: dict[str, dict[int, list[float]]] = {}
    texts: dict[str, dict[int, str]] = {}
    for case, chart in enumerate(material.charts):
        for evidence in chart.evidence:
            match evidence:
                case Lab(code=name, value=value):
                    numbers.setdefault(name, {}).setdefault(case, []).append(value)
                case Sign(name=name, value=text):
                    texts.setdefault(name, {})[case] = text
                case Demographics(age_years=age, sex=sex):
                    if age is not None:
                        numbers.setdefault("age_years", {})[case] = [age]
                    if sex is not None:
                        texts.setdefault("sex", {})[case] = sex
    n = len(material)
    found: dict[str, np.ndarray] = {}
    for name, held in numbers.items():
        found[name] = np.array([sum(held[case]) / len(held[case]) if case in held else np.nan for case in range(n)])
    for name, told in texts.items():
        found[name] = np.array([told.get(case) for case in range(n)], dtype=object)
    return found


def indicators_of(material: Material, *, most_levels: int = 20) -> Float[np.ndarray, "case indicator"]:
    """The same as zeros and ones: a quarter of the range of a number each, each of a few levels, and whether a note or film is
    there. An absent value is all zeros."""
    columns: list[np.ndarray] = []
    for values in values_of(material).values():
        if values.dtype != object:
            edges = np.unique(np.nanquantile(values, np.arange(1, _BINS) / _BINS))
            bins = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)
            columns += [bins == place for place in range(len(edges) + 1)]
        else:
            levels = sorted({value for value in values if value is not None})
            columns += [values == level for level in levels] if len(levels) <= most_levels else [values != None]  # noqa: E711
    for kind in (Note, Scan, Embedding):
        columns.append(np.array([bool(chart.of(kind)) for chart in material.charts]))
    return np.stack(columns, axis=1).astype(float)
