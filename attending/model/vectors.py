"""Embeddings computed elsewhere: a token per vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from attending.case import Case, Embedding, Evidence, Place
from attending.evaluation.gate import Trait
from attending.model.features import FieldEncoder, FieldInputs, field_sketch, log_days
from attending.model.modality import ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs


@dataclass(frozen=True, kw_only=True)
class VectorsConfig(ModalityConfig):
    """A linear map per named embedding, after standardising each component on the training cases."""

    kind: ClassVar[type[Evidence]] = Embedding

    def fit(self, cases: Sequence[Case]) -> "VectorsTokenizer | None":
        """Means and deviations of these cases' vectors; None without any. Raises `ValueError` when lengths differ."""
        found: dict[str, list[np.ndarray]] = {}
        for case in cases:
            for embedding in case.of(Embedding):
                found.setdefault(embedding.name, []).append(np.asarray(embedding.vector, dtype=float))
        if not found:
            return None
        scales = {}
        for name in sorted(found):
            lengths = {len(vector) for vector in found[name]}
            if len(lengths) > 1:
                raise ValueError(f'embedding "{name}" has vectors of lengths {sorted(lengths)}; one encoder gives one length')
            stacked = np.stack(found[name])
            scales[name] = (tuple(stacked.mean(axis=0).tolist()), tuple((stacked.std(axis=0) + 1e-6).tolist()))
        return VectorsTokenizer(scales=scales, visible=self.visible)

    def restore(self, state: Mapping[str, Any]) -> "VectorsTokenizer":
        """The tokenizer as it was fitted."""
        scales = {name: (tuple(mean), tuple(deviation)) for name, (mean, deviation) in state["scales"].items()}
        return VectorsTokenizer(scales=scales, visible=self.visible)


class VectorsTokenizer(Tokenizer):
    """A slot per embedding, in order of name; of a repeated one the latest counts."""

    def __init__(self, *, scales: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]], visible: tuple[str, ...]) -> None:
        self.scales, self.visible = dict(scales), visible
        self._n_features = max(len(mean) for mean, _ in self.scales.values())

    def state(self) -> Mapping[str, Any]:
        """Mean and deviation per component."""
        return {"scales": {name: [list(mean), list(deviation)] for name, (mean, deviation) in self.scales.items()}}

    def _latest(self, case: Case) -> dict[str, tuple[int, Embedding]]:
        latest: dict[str, tuple[int, Embedding]] = {}
        for index, evidence in enumerate(case.evidence):
            if isinstance(evidence, Embedding) and evidence.name in self.scales:
                if len(evidence.vector) != len(self.scales[evidence.name][0]):
                    raise ValueError(
                        f'case {case.id}: embedding "{evidence.name}" has {len(evidence.vector)} components, '
                        f"the model was trained on {len(self.scales[evidence.name][0])}; use the same encoder"
                    )
                before = latest.get(evidence.name)
                if before is None or evidence.at >= before[1].at:
                    latest[evidence.name] = (index, evidence)
        return latest

    def read(self, cases: Sequence[Case]) -> FieldInputs:
        """Standardised components of each slot."""
        shape = (len(cases), len(self.scales))
        features = np.zeros((*shape, self._n_features), dtype=np.float32)
        present = np.zeros(shape, dtype=bool)
        age = np.zeros(shape, dtype=np.float32)
        slots = {name: slot for slot, name in enumerate(self.scales)}
        for row, case in enumerate(cases):
            for name, (_, embedding) in self._latest(case).items():
                mean, deviation = (np.asarray(part) for part in self.scales[name])
                features[row, slots[name], : len(mean)] = (np.asarray(embedding.vector) - mean) / deviation
                present[row, slots[name]] = True
                age[row, slots[name]] = log_days(embedding.at)
        return FieldInputs(
            features=torch.from_numpy(features), present=torch.from_numpy(present), age_log_days=torch.from_numpy(age)
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The embedding of each slot."""
        latest = self._latest(case)
        return tuple(Place(latest[name][0]) if name in latest else None for name in self.scales)

    def sketch(self, inputs: Inputs) -> Sketch:
        """All features of all slots."""
        return field_sketch(inputs)

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """Each embedding."""
        assert isinstance(inputs, FieldInputs)
        return {
            name: Trait(values=inputs.features[:, slot, : len(mean)].double().numpy(), there=inputs.present[:, slot].numpy())
            for slot, (name, (mean, _)) in enumerate(self.scales.items())
        }

    def build(self, dim: int) -> FieldEncoder:
        """A linear map per embedding."""
        return FieldEncoder(
            dim=dim,
            n_features=self._n_features,
            field_of_slot=range(len(self.scales)),
            visible_slots=[name in self.visible for name in self.scales],
        )
