"""What a protocol judges: a procedure that turns training cases into probabilities for cases it has not seen.

Two families stand behind one contract, so that the fused model and every baseline go through the same folds: a network answers
after every epoch (its trajectory), a baseline once. Which epoch counts is chosen by the procedure on inner folds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from attending.baselines.baseline import Baseline, BaselineConfig
from attending.case import Case
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.training.checkpoint import Best, Checkpoint
from attending.training.network import EpochRecord, Training, mean_loss, probabilities, seeded
from attending.training.settings import TrainingConfig

Answers = Mapping[str, Float[np.ndarray, "case finding"]]


@dataclass(frozen=True, kw_only=True)
class Diary:
    """Where a fit tells of itself: `heard` gets every epoch, `checkpoint` outlives a kill. Neither changes a bit of it."""

    heard: Callable[[EpochRecord], None] = lambda _: None
    checkpoint: Path | None = None


class Learner(ABC):
    """A named procedure. `members` fits that differ by seed are averaged; `n_lengths` answers are given along the way."""

    name: str
    members: int
    n_lengths: int

    @abstractmethod
    def trajectory(
        self, cases: Sequence[Case], held_out: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> Float[np.ndarray, "length case finding"]:
        """Probabilities for `held_out` at every length of training on `cases`."""

    @abstractmethod
    def fit(self, cases: Sequence[Case], *, length: int, task: Task, seed: int, diary: Diary) -> "Fitted":
        """Trained on `cases` for `length` (1 is the shortest)."""

    @abstractmethod
    def fit_watched(
        self, cases: Sequence[Case], watched: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> tuple["Fitted", int]:
        """Trained on `cases` until the loss on `watched` stops falling, as it was when lowest, and that length."""


class Fitted(ABC):
    """A procedure, fitted once."""

    @abstractmethod
    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """Uncalibrated probabilities."""

    def weights(self) -> Mapping[str, np.ndarray]:
        """The network's weights by name; a baseline, which is not delivered, has none."""
        return {}

    def abstains(self, usual: Sequence[Case], asked: Sequence[Case]) -> Bool[np.ndarray, " case"]:
        """Which of `asked` would be turned away, `usual` being the cases it was fitted on. A baseline answers everything."""
        return np.zeros(len(asked), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class FittedNetwork(Fitted):
    """A network with the tokenizers it reads through."""

    network: Diagnoser
    tokenizers: Tokenizers
    task: Task

    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """What the network answers."""
        batch = self.tokenizers.batch(cases, self.task).to(self.network.register.device)
        return probabilities(self.network, batch, task=self.task)

    def abstains(self, usual: Sequence[Case], asked: Sequence[Case]) -> Bool[np.ndarray, " case"]:
        """Without anything to read, or outside the gate."""
        return np.array([why is not None for why in self.tokenizers.with_gate(usual).unusable(asked)], dtype=bool)

    def weights(self) -> Mapping[str, np.ndarray]:
        """All parameters and buffers."""
        return {name: value.detach().cpu().numpy() for name, value in self.network.state_dict().items()}


@dataclass(frozen=True, kw_only=True)
class DiagnoserLearner(Learner):
    """The fused model."""

    name: str
    diagnoser: DiagnoserConfig
    training: TrainingConfig
    device: str = "cpu"

    @property
    def members(self) -> int:  # type: ignore[override]
        """Networks that are averaged."""
        return self.training.members

    @property
    def n_lengths(self) -> int:  # type: ignore[override]
        """Epochs."""
        return self.training.epochs

    def begin(self, cases: Sequence[Case], *, tokenizers: Tokenizers, task: Task, seed: int) -> Training:
        """A training that has not begun: initial weights follow from the seed alone."""
        device = torch.device(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded(seed))
            network = Diagnoser(self.diagnoser, tokenizers=tokenizers, n_findings=len(task.findings)).to(device)
        batch = tokenizers.batch(cases, task).to(device)
        return Training(network, batch, task=task, config=self.training, seed=seed)

    def trajectory(
        self, cases: Sequence[Case], held_out: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> Float[np.ndarray, "length case finding"]:
        """Probabilities for `held_out` after every epoch."""
        tokenizers = Tokenizers.fit(self.diagnoser, cases)
        asked = tokenizers.batch(held_out, task).to(torch.device(self.device))
        training = self.begin(cases, tokenizers=tokenizers, task=task, seed=seed)
        along = []
        for record in training.epochs():
            diary.heard(record)
            along.append(probabilities(training.network, asked, task=task))
        return np.stack(along)

    def fit(self, cases: Sequence[Case], *, length: int, task: Task, seed: int, diary: Diary) -> FittedNetwork:
        """After `length` epochs. The learning rate follows the whole plan, so that lengths compare."""
        tokenizers = Tokenizers.fit(self.diagnoser, cases)
        training = self.begin(cases, tokenizers=tokenizers, task=task, seed=seed)
        with Checkpoint(diary.checkpoint) as checkpoint:
            checkpoint.resume(training)
            while training.epochs_done < length:
                diary.heard(next(training.epochs()))
                checkpoint.keep(training)
        return FittedNetwork(network=training.network, tokenizers=tokenizers, task=task)

    def fit_watched(
        self, cases: Sequence[Case], watched: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> tuple[FittedNetwork, int]:
        """Stops `patience` epochs after the lowest loss on `watched`, and restores the weights of that epoch."""
        tokenizers = Tokenizers.fit(self.diagnoser, cases)
        training = self.begin(cases, tokenizers=tokenizers, task=task, seed=seed)
        asked = tokenizers.batch(watched, task).to(torch.device(self.device))
        best = Best()
        with Checkpoint(diary.checkpoint) as checkpoint:
            checkpoint.resume(training, best)
            while training.epochs_done < self.training.epochs and best.age(training) < self.training.patience:
                diary.heard(next(training.epochs()))
                answers = probabilities(training.network, asked, task=task)
                best.weigh(training, mean_loss(answers[None], watched, task=task)[0])
                checkpoint.keep(training, best)
        best.restore(training)
        return FittedNetwork(network=training.network, tokenizers=tokenizers, task=task), best.epoch


@dataclass(frozen=True, kw_only=True)
class FittedBaseline(Fitted):
    """A baseline of the catalog, fitted."""

    baseline: Baseline

    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """What the baseline answers."""
        return self.baseline.probability(cases)


@dataclass(frozen=True, kw_only=True)
class BaselineLearner(Learner):
    """A baseline of the catalog. `visible` are the fields whose absence it may see."""

    config: BaselineConfig
    visible: frozenset[str] = frozenset()
    members: int = 1
    n_lengths: int = 1

    @property
    def name(self) -> str:  # type: ignore[override]
        """The baseline's own name."""
        return self.config.name

    def trajectory(
        self, cases: Sequence[Case], held_out: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> Float[np.ndarray, "length case finding"]:
        """One answer: a baseline has no lengths."""
        return self.fit(cases, length=1, task=task, seed=seed, diary=diary).probability(held_out)[None]

    def fit(self, cases: Sequence[Case], *, length: int, task: Task, seed: int, diary: Diary) -> FittedBaseline:
        """The baseline fitted to `cases`."""
        return FittedBaseline(baseline=self.config.fit(cases, task=task, visible=self.visible, seed=seed))

    def fit_watched(
        self, cases: Sequence[Case], watched: Sequence[Case], *, task: Task, seed: int, diary: Diary
    ) -> tuple[FittedBaseline, int]:
        """The baseline fitted to `cases`; it has nothing to stop early."""
        return self.fit(cases, length=1, task=task, seed=seed, diary=diary), 1
