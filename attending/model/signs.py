"""History and examination: a token per sign that was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from attending.case import Case, Evidence, Place, Sign
from attending.model.features import FieldEncoder, FieldInputs, field_sketch, log_days
from attending.model.modality import ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs


@dataclass(frozen=True, kw_only=True)
class SignsConfig(ModalityConfig):
    """One learned vector per level of each sign. Of a sign recorded twice the latest counts."""

    kind: ClassVar[type[Evidence]] = Sign

    def fit(self, cases: Sequence[Case]) -> "SignsTokenizer | None":
        """Names and levels found in these cases; None without any."""
        levels: dict[str, tuple[str, ...]] = {}
        for case in cases:
            for sign in case.of(Sign):
                levels[sign.name] = sign.levels
        if not levels:
            return None
        return SignsTokenizer(levels={name: levels[name] for name in sorted(levels)}, visible=self.visible)

    def restore(self, state: Mapping[str, Any]) -> "SignsTokenizer":
        """The tokenizer as it was fitted."""
        return SignsTokenizer(levels={name: tuple(found) for name, found in state["levels"].items()}, visible=self.visible)


class SignsTokenizer(Tokenizer):
    """A slot per sign, in order of name. A level that training never listed is read as not recorded."""

    def __init__(self, *, levels: Mapping[str, tuple[str, ...]], visible: tuple[str, ...]) -> None:
        self.levels, self.visible = dict(levels), visible
        self._slot = {name: slot for slot, name in enumerate(self.levels)}
        self._n_features = max(len(found) for found in self.levels.values())

    def state(self) -> Mapping[str, Any]:
        """Levels of each sign."""
        return {"levels": {name: list(found) for name, found in self.levels.items()}}

    def _latest(self, case: Case) -> dict[str, tuple[int, Sign]]:
        latest: dict[str, tuple[int, Sign]] = {}
        for index, evidence in enumerate(case.evidence):
            if isinstance(evidence, Sign) and evidence.value in self.levels.get(evidence.name, ()):
                before = latest.get(evidence.name)
                if before is None or evidence.at >= before[1].at:
                    latest[evidence.name] = (index, evidence)
        return latest

    def read(self, cases: Sequence[Case]) -> FieldInputs:
        """One-hot level, presence and age of each slot."""
        shape = (len(cases), len(self.levels))
        features = np.zeros((*shape, self._n_features), dtype=np.float32)
        present = np.zeros(shape, dtype=bool)
        age = np.zeros(shape, dtype=np.float32)
        for row, case in enumerate(cases):
            for name, (_, sign) in self._latest(case).items():
                slot = self._slot[name]
                features[row, slot, self.levels[name].index(sign.value)] = 1.0
                present[row, slot] = True
                age[row, slot] = log_days(sign.at)
        return FieldInputs(
            features=torch.from_numpy(features), present=torch.from_numpy(present), age_log_days=torch.from_numpy(age)
        )

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The sign of each slot."""
        latest = self._latest(case)
        return tuple(Place(latest[name][0]) if name in latest else None for name in self.levels)

    def facts(self) -> tuple[str, ...]:
        """Every level of every sign."""
        return tuple(f"{name} = {level}" for name, found in self.levels.items() for level in found)

    def stated(self, fact: str, inputs: Inputs) -> Bool[Tensor, " case"]:
        """Cases whose sign has this level."""
        assert isinstance(inputs, FieldInputs)
        slot, level = next(
            (slot, level)
            for slot, (name, found) in enumerate(self.levels.items())
            for level in range(len(found))
            if f"{name} = {found[level]}" == fact
        )
        return (inputs.features[:, slot, level] > 0) & inputs.present[:, slot]

    def sketch(self, inputs: Inputs) -> Sketch:
        """All features of all slots."""
        return field_sketch(inputs)

    def build(self, dim: int) -> FieldEncoder:
        """A vector per level."""
        return FieldEncoder(
            dim=dim,
            n_features=self._n_features,
            field_of_slot=range(len(self.levels)),
            visible_slots=[name in self.visible for name in self.levels],
        )
