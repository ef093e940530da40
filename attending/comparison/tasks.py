"""Two small tasks that tell mechanisms apart: recalling what belonged to a key, and copying from far back.

Both ask only about what was said before, and no answer stands among the inputs, so that a mechanism which sees everything has
no advantage. Recall: Arora et al. 2023 (arXiv 2312.04927, "multi-query associative recall"). Copying: Jelassi et al. 2024
(arXiv 2402.01032), here without feeding answers back. Not language, and no word on how well a mechanism would model it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from attending.comparison.contenders import ComparisonError

NOT_ASKED = -1


class Problem(NamedTuple):
    """Symbols, and what should be answered at each place (`NOT_ASKED` where nothing should)."""

    symbols: Int[Tensor, "sample place"]
    answers: Int[Tensor, "sample place"]


@dataclass(frozen=True, kw_only=True)
class SmallTask(ABC):
    """A source of problems of one length."""

    name = ""

    @property
    @abstractmethod
    def n_symbols(self) -> int:
        """How many symbols there are; answers are among them."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Places of a problem."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """Accuracy of a guess that knows the kind of answer and nothing of the problem."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Problem:
        """`n` problems."""


@dataclass(frozen=True, kw_only=True)
class AssociativeRecall(SmallTask):
    """`n_pairs` keys, each followed by its value, then all keys in another order: what was the value of each?"""

    name = "associative recall"
    n_pairs: int = 16
    n_keys: int = 32
    n_values: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.n_pairs <= self.n_keys or self.n_values < 2:
            raise ComparisonError(f"{self.name}: found {self.n_pairs} pairs of {self.n_keys} keys and {self.n_values} values")

    @property
    def n_symbols(self) -> int:
        return self.n_keys + self.n_values

    @property
    def length(self) -> int:
        return 3 * self.n_pairs

    @property
    def chance(self) -> float:
        return 1.0 / self.n_values

    def draw(self, n: int, generator: torch.Generator) -> Problem:
        keys = torch.rand(n, self.n_keys, generator=generator).argsort(dim=1)[:, : self.n_pairs]
        values = torch.randint(self.n_values, (n, self.n_pairs), generator=generator) + self.n_keys
        order = torch.rand(n, self.n_pairs, generator=generator).argsort(dim=1)
        told = torch.stack([keys, values], dim=2).flatten(1)
        answers = torch.full((n, self.length), NOT_ASKED)
        answers[:, 2 * self.n_pairs :] = values.gather(1, order)
        return Problem(torch.cat([told, keys.gather(1, order)], dim=1), answers)


@dataclass(frozen=True, kw_only=True)
class LongCopy(SmallTask):
    """`n` symbols, then `n` times the same mark: at mark i, what was symbol i? Every answer lies `n` places back."""

    name = "long copy"
    n: int = 32
    n_letters: int = 32

    def __post_init__(self) -> None:
        if self.n < 1 or self.n_letters < 2:
            raise ComparisonError(f"{self.name}: found {self.n} symbols of {self.n_letters} letters")

    @property
    def n_symbols(self) -> int:
        return self.n_letters + 1

    @property
    def length(self) -> int:
        return 2 * self.n

    @property
    def chance(self) -> float:
        return 1.0 / self.n_letters

    def draw(self, n: int, generator: torch.Generator) -> Problem:
        told = torch.randint(self.n_letters, (n, self.n), generator=generator)
        answers = torch.full((n, self.length), NOT_ASKED)
        answers[:, self.n :] = told
        return Problem(torch.cat([told, torch.full_like(told, self.n_letters)], dim=1), answers)


TASKS: dict[str, SmallTask] = {task.name: task for task in (AssociativeRecall(), LongCopy())}


def parsed_tasks(text: str) -> tuple[SmallTask, ...]:
    """`recall,copy` as tasks; the first word or the last is enough. Nothing is no task."""
    found = []
    for asked in (part.strip().lower() for part in text.split(",") if part.strip()):
        fitting = [task for name, task in TASKS.items() if asked == name or asked in name.split()]
        if not fitting:
            raise ComparisonError(f"tasks: found {asked!r}, known are {', '.join(TASKS)}; write recall,copy, or none of them")
        found += fitting
    return tuple(dict.fromkeys(found))
