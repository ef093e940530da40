"""Laboratory values: a token per measured value, by the number itself and by where it lies in its reference range.

Ranges differ between laboratories and methods, and a clinician reads a value against the one printed beside it. A value without
a range has none of those features, which is not the same as lying inside.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from attending.case import Case, Evidence, Lab, Place
from attending.evaluation.gate import Trait
from attending.model.features import FieldEncoder, FieldInputs, field_sketch, log_days, piecewise_linear, quantile_edges
from attending.model.modality import ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs

RANGE_EDGES = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)
"""Edges of the bins for a value's place in its range: 0 is the lower limit, 1 the upper."""
N_RANGE_FEATURES = len(RANGE_EDGES) - 1 + 3


def range_features(value: float, low: float, high: float) -> Float[np.ndarray, " feature"]:
    """Flags below, inside and above the range, then the place in it, piecewise linear."""
    flags = np.array([value < low, low <= value <= high, value > high], dtype=float)
    width = max(high - low, 1e-12)
    place = (np.clip(value, low + RANGE_EDGES[0] * width, low + RANGE_EDGES[-1] * width) - low) / width
    return np.concatenate([flags, piecewise_linear(place, RANGE_EDGES)])


def _on_scale(values: Float[np.ndarray, "case 1"], edges: Sequence[float]) -> Float[np.ndarray, "case 1"]:
    """Values as they are compared for being usual: a raised value is so many times the usual one, unless it may be negative."""
    smallest = next((edge for edge in edges if edge > 0), None)
    return values if edges[0] < 0 or smallest is None else np.log(np.maximum(values, 0.0) + smallest)


@dataclass(frozen=True, kw_only=True)
class NumbersConfig(ModalityConfig):
    """Piecewise-linear tokens over `n_bins` quantile bins; of a repeated value the latest `n_latest` are read."""

    kind: ClassVar[type[Evidence]] = Lab
    n_bins: int = 8
    n_latest: int = 8

    def fit(self, cases: Sequence[Case]) -> "NumbersTokenizer | None":
        """Bins from the values of these cases; None without any."""
        values: dict[str, list[float]] = defaultdict(list)
        repeats: dict[str, int] = {}
        for case in cases:
            own: dict[str, int] = defaultdict(int)
            for lab in case.of(Lab):
                values[lab.code].append(lab.value)
                own[lab.code] += 1
            for code, n in own.items():
                repeats[code] = min(max(n, repeats.get(code, 1)), self.n_latest)
        if not values:
            return None
        codes = sorted(values)
        return NumbersTokenizer(
            codes=tuple(codes),
            edges=tuple(quantile_edges(values[code], self.n_bins) for code in codes),
            repeats=tuple(repeats[code] for code in codes),
            visible=self.visible,
        )

    def restore(self, state: Mapping[str, Any]) -> "NumbersTokenizer":
        """The tokenizer as it was fitted."""
        return NumbersTokenizer(
            codes=tuple(state["codes"]),
            edges=tuple(tuple(edges) for edges in state["edges"]),
            repeats=tuple(state["repeats"]),
            visible=self.visible,
        )


class NumbersTokenizer(Tokenizer):
    """Slots ordered by code, then from the latest occurrence back."""

    def __init__(
        self,
        *,
        codes: tuple[str, ...],
        edges: tuple[tuple[float, ...], ...],
        repeats: tuple[int, ...],
        visible: tuple[str, ...],
    ) -> None:
        self.codes, self.edges, self.repeats, self.visible = codes, edges, repeats, visible
        starts = np.concatenate([[0], np.cumsum(repeats)])
        self._first_slot = {code: int(start) for code, start in zip(codes, starts, strict=False)}
        self._n_slots = int(starts[-1])
        self._n_bins = max(1, *(len(e) - 1 for e in edges))

    def state(self) -> Mapping[str, Any]:
        """Codes, bin edges and slots per code."""
        return {"codes": list(self.codes), "edges": [list(e) for e in self.edges], "repeats": list(self.repeats)}

    def _slots(self, case: Case) -> list[tuple[int, int, Lab]]:
        """(slot, index in the case's evidence, value), the latest first within a code."""
        found: dict[str, list[tuple[float, int, Lab]]] = defaultdict(list)
        for index, evidence in enumerate(case.evidence):
            if isinstance(evidence, Lab) and evidence.code in self._first_slot:
                found[evidence.code].append((-evidence.at, index, evidence))
        slots = []
        for code, labs in found.items():
            n = self.repeats[self.codes.index(code)]
            for occurrence, (_, index, lab) in enumerate(sorted(labs, key=lambda entry: entry[:2])[:n]):
                slots.append((self._first_slot[code] + occurrence, index, lab))
        return slots

    def read(self, cases: Sequence[Case]) -> FieldInputs:
        """Bin features, presence and age of each slot."""
        shape = (len(cases), self._n_slots)
        features = np.zeros((*shape, self._n_bins + N_RANGE_FEATURES), dtype=np.float32)
        present = np.zeros(shape, dtype=bool)
        age = np.zeros(shape, dtype=np.float32)
        edges = dict(zip(self.codes, self.edges, strict=True))
        for row, case in enumerate(cases):
            for slot, _, lab in self._slots(case):
                bins = piecewise_linear(lab.value, edges[lab.code])
                features[row, slot, : len(bins)] = bins
                if lab.reference is not None:
                    features[row, slot, self._n_bins :] = range_features(lab.value, *lab.reference)
                present[row, slot] = True
                age[row, slot] = log_days(lab.at)
        return FieldInputs(
            features=torch.from_numpy(features), present=torch.from_numpy(present), age_log_days=torch.from_numpy(age)
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The laboratory row of each slot."""
        places: list[Place | None] = [None] * self._n_slots
        for slot, index, _ in self._slots(case):
            places[slot] = Place(index)
        return tuple(places)

    def sketch(self, inputs: Inputs) -> Sketch:
        """All features of all slots."""
        return field_sketch(inputs)

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """The latest value of each code; on a log scale where training values were never negative."""
        assert isinstance(inputs, FieldInputs)
        found = {}
        values = np.zeros((len(cases), self._n_slots))
        for row, case in enumerate(cases):
            for slot, _, lab in self._slots(case):
                values[row, slot] = lab.value
        for code, edges in zip(self.codes, self.edges, strict=True):
            slot = self._first_slot[code]
            found[code] = Trait(values=_on_scale(values[:, [slot]], edges), there=inputs.present[:, slot].numpy())
        return found

    def build(self, dim: int) -> FieldEncoder:
        """A linear map per code."""
        field_of_slot = [field for field, n in enumerate(self.repeats) for _ in range(n)]
        first = set(self._first_slot.values())
        return FieldEncoder(
            dim=dim,
            n_features=self._n_bins + N_RANGE_FEATURES,
            field_of_slot=field_of_slot,
            visible_slots=[s in first and self.codes[f] in self.visible for s, f in enumerate(field_of_slot)],
        )
