"""The contract of an explanation method: a model and reference cases → an explainer; a case and a finding → weighted places.

Tokens know their place, so no method knows which modality it explains. What an explanation is worth is not said here: it is
measured in `truth.py` and printed beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from attending.case import Case
from attending.diagnosis import Explanation, Task
from attending.model.trained import TrainedModel


class ExplanationError(ValueError):
    """What was asked cannot be explained, or may not be shown as an explanation."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """An explanation whose weights add up: to what the answer is with all evidence, `end`, less what it starts from, `start`.

    `unit` says in words on what scale, `origin` what `start` is the answer to.
    """

    explanation: Explanation
    start: float
    end: float
    unit: str
    origin: str

    @property
    def gap(self) -> float:
        """What the weights leave unexplained: `end` − `start` − their sum."""
        return self.end - self.start - sum(weight for _, weight in self.explanation.weights)


class Explainer(ABC):
    """One method over one model. Explains any case that the model answers."""

    @abstractmethod
    def explain(self, case: Case, finding: str) -> Explanation:
        """A weight for every place of the case that the model reads, for one finding of the task.

        Raises `ExplanationError` for a finding that the task does not ask about and for a case without evidence that is read.
        """


@dataclass(frozen=True, kw_only=True)
class ExplainerConfig(ABC):
    """A method and its settings. `told` says in a sentence what a weight means.

    A method with a sign tells evidence for the finding (above 0) from evidence against it; without one, weights are only large
    or small.
    """

    name: ClassVar[str]
    told: ClassVar[str]
    has_sign: ClassVar[bool] = True

    @abstractmethod
    def build(self, model: TrainedModel, reference: Sequence[Case]) -> Explainer:
        """The explainer. `reference` are cases that show what is usual; a method that needs none takes none."""


def column_of(task: Task, finding: str) -> int:
    """Which answer of the task is meant. Raises `ExplanationError` for one that it does not give."""
    if finding not in task.findings:
        raise ExplanationError(f'finding "{finding}" is not asked about; this model answers {", ".join(task.findings)}')
    return task.findings.index(finding)
