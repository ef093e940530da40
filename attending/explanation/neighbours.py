"""Cases that the model holds to be alike: nearest in what a finding's query has read, just before it answers.

Gives hashed ids, recorded labels and answers, never evidence. Alike to the model is not alike to a clinician.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attending.case import Case, CaseId
from attending.explanation.explainer import ExplanationError, column_of
from attending.model.diagnoser import Diagnoser
from attending.model.trained import EVALUATION_BATCH, TrainedModel


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """One case: cosine distance from 0 (the same direction) to 2, what was recorded (None: unknown) and what is answered."""

    case: CaseId
    distance: float
    recorded: bool | None
    probability: float


class Neighbours:
    """The reference cases as every network reads them."""

    def __init__(self, model: TrainedModel, reference: Sequence[Case]) -> None:
        if not reference:
            raise ExplanationError("nearest cases: found no cases of other patients to look among")
        self.model, self.reference = model, tuple(reference)
        self._read = [fused(network, model, self.reference) for network in model.networks]
        self._probability = model.probability(self.reference)

    def nearest(self, case: Case, finding: str, *, n: int = 5) -> tuple[Neighbour, ...]:
        """The `n` nearest cases of other patients, the mean distance over networks."""
        column = column_of(self.model.task, finding)
        distance = np.zeros(len(self.reference))
        for network, held in zip(self.model.networks, self._read, strict=True):
            own = fused(network, self.model, [case])[0, column]
            near = held[:, column] @ own / np.maximum(np.linalg.norm(held[:, column], axis=1) * np.linalg.norm(own), 1e-12)
            distance += (1.0 - near) / len(self.model.networks)
        order = [int(i) for i in np.argsort(distance, kind="stable") if self.reference[i].patient != case.patient]
        return tuple(self._neighbour(i, float(distance[i]), finding, column) for i in order[:n])

    def _neighbour(self, index: int, distance: float, finding: str, column: int) -> Neighbour:
        other = self.reference[index]
        truth: Mapping[str, bool] = other.truth
        return Neighbour(
            case=other.id,
            distance=distance,
            recorded=truth.get(finding),
            probability=float(self._probability[index, column]),
        )


def fused(network: Diagnoser, model: TrainedModel, cases: Sequence[Case]) -> Float[np.ndarray, "case finding dim"]:
    """What each finding's query holds after it read the evidence, normalised as the answer reads it."""
    network.eval()
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(cases), EVALUATION_BATCH):
            batch = model.tokenizers.batch(cases[start : start + EVALUATION_BATCH], model.task)
            found.append(network.fused(batch.to(network.register.device).inputs))
    return torch.cat(found).double().cpu().numpy()
