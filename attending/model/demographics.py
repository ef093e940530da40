"""Age and sex: two tokens, either of which may be absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from attending.case import Case, Demographics, Evidence, Place
from attending.evaluation.gate import Trait
from attending.model.features import FieldEncoder, FieldInputs, field_sketch, piecewise_linear, quantile_edges
from attending.model.modality import ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs

AGE, SEX = 0, 1
FIELDS = ("age_years", "sex")


@dataclass(frozen=True, kw_only=True)
class DemographicsConfig(ModalityConfig):
    """Age piecewise linear over `n_bins` quantile bins; sex as recorded."""

    kind: ClassVar[type[Evidence]] = Demographics
    n_bins: int = 8

    def fit(self, cases: Sequence[Case]) -> "DemographicsTokenizer | None":
        """Bins and sexes found in these cases; None when neither age nor sex is ever known."""
        found = [demographics for case in cases for demographics in case.of(Demographics)]
        ages = [d.age_years for d in found if d.age_years is not None]
        sexes = sorted({d.sex for d in found if d.sex is not None})
        if not ages and not sexes:
            return None
        edges = quantile_edges(ages, self.n_bins) if ages else ()
        return DemographicsTokenizer(age_edges=edges, sexes=tuple(sexes), visible=self.visible)

    def restore(self, state: Mapping[str, Any]) -> "DemographicsTokenizer":
        """The tokenizer as it was fitted."""
        return DemographicsTokenizer(age_edges=tuple(state["age_edges"]), sexes=tuple(state["sexes"]), visible=self.visible)


class DemographicsTokenizer(Tokenizer):
    """A slot for age and one for sex. What training never saw (all ages absent, another sex) is read as not recorded."""

    def __init__(self, *, age_edges: tuple[float, ...], sexes: tuple[str, ...], visible: tuple[str, ...]) -> None:
        self.age_edges, self.sexes, self.visible = age_edges, sexes, visible
        self._n_features = max(1, len(age_edges) - 1, len(sexes))

    def state(self) -> Mapping[str, Any]:
        """Bin edges of age, and the sexes."""
        return {"age_edges": list(self.age_edges), "sexes": list(self.sexes)}

    def _known(self, case: Case) -> list[tuple[int, int, Demographics]]:
        """(slot, index in the case's evidence, demographics); the last one that states a field counts."""
        known = {}
        for index, evidence in enumerate(case.evidence):
            if isinstance(evidence, Demographics):
                if evidence.age_years is not None and self.age_edges:
                    known[AGE] = (AGE, index, evidence)
                if evidence.sex in self.sexes:
                    known[SEX] = (SEX, index, evidence)
        return list(known.values())

    def read(self, cases: Sequence[Case]) -> FieldInputs:
        """Bin features of age, one-hot sex, and which of them is there."""
        shape = (len(cases), len(FIELDS))
        features = np.zeros((*shape, self._n_features), dtype=np.float32)
        present = np.zeros(shape, dtype=bool)
        for row, case in enumerate(cases):
            for slot, _, known in self._known(case):
                if slot == AGE:
                    assert known.age_years is not None
                    bins = piecewise_linear(known.age_years, self.age_edges)
                    features[row, slot, : len(bins)] = bins
                else:
                    assert known.sex is not None
                    features[row, slot, self.sexes.index(known.sex)] = 1.0
                present[row, slot] = True
        return FieldInputs(
            features=torch.from_numpy(features),
            present=torch.from_numpy(present),
            age_log_days=torch.zeros(shape, dtype=torch.float32),
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The demographics that state age, and those that state sex."""
        places: list[Place | None] = [None] * len(FIELDS)
        for slot, index, _ in self._known(case):
            places[slot] = Place(index)
        return tuple(places)

    def sketch(self, inputs: Inputs) -> Sketch:
        """All features of all slots."""
        return field_sketch(inputs)

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """Age."""
        values, there = np.zeros((len(cases), 1)), np.zeros(len(cases), dtype=bool)
        for row, case in enumerate(cases):
            for slot, _, known in self._known(case):
                if slot == AGE and known.age_years is not None:
                    values[row, 0], there[row] = known.age_years, True
        return {"age": Trait(values=values, there=there)}

    def build(self, dim: int) -> FieldEncoder:
        """A map for age, a vector per sex."""
        return FieldEncoder(
            dim=dim,
            n_features=self._n_features,
            field_of_slot=range(len(FIELDS)),
            visible_slots=[name in self.visible for name in FIELDS],
            is_timed=False,
        )
