"""The whole comparison: sizes by arithmetic, times and memory measured, small tasks learned, and what they come to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from attending.attention import Limits
from attending.comparison.clinic import ClinicPlan, clinic_rows
from attending.comparison.contenders import Contender, checked, told_settings
from attending.comparison.learning import LearningPlan, learn
from attending.comparison.row import Heard, Row
from attending.comparison.sizes import growth_rows, size_rows
from attending.comparison.tasks import AssociativeRecall, SmallTask
from attending.comparison.timing import BUSY, TimingPlan, load_now, time_layers

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is measured of every mechanism. The first one is what others are held against in quality."""

    timing: TimingPlan = field(default_factory=TimingPlan)
    tasks: tuple[SmallTask, ...] = (AssociativeRecall(),)
    learning: LearningPlan = field(default_factory=LearningPlan)
    seeds: tuple[int, ...] = (0, 1, 2)
    clinic: ClinicPlan | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Contenders, what was planned, the machine's limits and how busy it was before anything was timed, and all rows."""

    contenders: tuple[Contender, ...]
    plan: ComparisonPlan
    limits: Limits
    load: float
    rows: tuple[Row, ...]

    @property
    def is_busy(self) -> bool:
        """Whether others were at work, so that times are theirs as well."""
        return self.load > BUSY

    @property
    def about(self) -> dict[str, object]:
        """What the rows are of."""
        first = self.contenders[0].config
        return {
            "machine": self.limits.machine,
            "threads": self.limits.threads,
            "load": self.load,
            "flops_per_s": dict(self.limits.flops_per_s),
            "bytes_per_s": self.limits.bytes_per_s,
            "dim": first.dim,
            "rounds": self.plan.timing.rounds,
            "seeds": list(self.plan.seeds),
            "steps": self.plan.learning.steps,
            "settings": {one.name: told_settings(one.config) for one in self.contenders},
        }


def compare(
    contenders: Sequence[Contender],
    *,
    limits: Limits,
    plan: ComparisonPlan | None = None,
    heard: Heard = lambda what, done: None,
) -> Comparison:
    """The same inputs and budget through every contender. Raises `ComparisonError` for what cannot be compared."""
    plan = ComparisonPlan() if plan is None else plan
    contenders, load = checked(contenders), load_now()
    rows = list(size_rows(contenders, plan.timing.lengths, plan.timing.dtype))
    of_timing, *of_tasks, of_clinic = _parts(plan, len(contenders), heard)
    n_timed, at = 2 * len(plan.timing.lengths), 0

    def timed(what: str) -> None:
        nonlocal at
        of_timing(what, at / n_timed)
        at += 1

    rows += time_layers(contenders, plan.timing, limits=limits, heard=timed)
    rows += growth_rows(rows)
    for task, of_task in zip(plan.tasks, of_tasks, strict=True):
        rows += quality_rows(contenders, task, plan=plan, heard=of_task)
    if plan.clinic is not None:
        rows += clinic_rows(contenders, plan.clinic, seeds=plan.seeds, heard=of_clinic)
    heard("done", 1.0)
    return Comparison(contenders=contenders, plan=plan, limits=limits, load=load, rows=tuple(rows))


def _parts(plan: ComparisonPlan, n_contenders: int, heard: Heard) -> list[Heard]:
    """Who tells of the timing, of each task and of the clinic as of parts of the whole, by about how long each takes."""
    fits = n_contenders * len(plan.seeds)
    clinic = 0.0 if plan.clinic is None else 30.0 * fits * plan.clinic.n_folds
    weights = [n_contenders * len(plan.timing.lengths) * 0.7, *(4.0 * fits for _ in plan.tasks), clinic]
    ends = np.cumsum(weights) / sum(weights)

    def of_part(begun: float, end: float) -> Heard:
        return lambda what, done: heard(what, begun + (end - begun) * done)

    return [of_part(float(end - weight / sum(weights)), float(end)) for end, weight in zip(ends, weights, strict=True)]


def quality_rows(contenders: Sequence[Contender], task: SmallTask, *, plan: ComparisonPlan, heard: Heard) -> Iterator[Row]:
    """Accuracy of every contender over the seeds, and its paired difference to the first, with t intervals."""
    n_all, done = len(plan.seeds) * len(contenders) * plan.learning.steps, 0
    found: dict[str, list[float]] = {one.name: [] for one in contenders}
    for seed in plan.seeds:
        for one in contenders:

            def step(what: str = f"{task.name}, seed {seed}: {one.name}") -> None:
                nonlocal done
                done += 1
                heard(what, done / n_all)

            found[one.name].append(learn(one, task, plan=plan.learning, seed=seed, heard=step))
    first = np.array(found[contenders[0].name])
    for one in contenders:
        accuracies = np.array(found[one.name])
        same: dict[str, Any] = {
            "mechanism": one.name,
            "task": task.name,
            "length": task.length,
            "phase": "train",
            "dtype": "float32",
        }
        value, low, high = mean_with_interval(accuracies)
        yield Row(**same, quantity="accuracy", value=value, low=max(low, 0.0), high=min(high, 1.0), limit=1.0)
        if one is not contenders[0]:
            value, low, high = mean_with_interval(accuracies - first)
            yield Row(**same, quantity="accuracy_difference", value=value, low=low, high=high)
        cost = one.over(task.length).cost(task.length)
        yield Row(**same | {"phase": None}, quantity="cache_bytes_used", value=cost.cache.used + cost.cache.tables)


def mean_with_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % t interval; of a single value there is none, and its ends are the value itself."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean, mean
    reach = float(stats.t.ppf(0.5 + LEVEL / 2.0, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - reach, mean + reach
