"""How true a method is of a model over many patients: what can be measured without any reason known, and pointing where known.

`truth.py` says it of one case; this stands beside it as a rule, with what it was measured on, on how many, and when. It says
nothing of the patients, and nothing of another model or another table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attending.case import Case
from attending.diagnosis import Explanation
from attending.evaluation.estimate import Estimate
from attending.evaluation.interval import exact_share
from attending.explanation.agreement import SURVIVES, Likeness, agreement_of_siblings, survival
from attending.explanation.curves import CurveTest, mean_gain
from attending.explanation.explainer import ExplainerConfig
from attending.explanation.pointing import MODALITIES, Target, point, questions, says_absent
from attending.explanation.scale import unit_of
from attending.model.trained import TrainedModel

LEVEL = 0.95
EXACT = "Clopper–Pearson"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a method was measured on. `at` is the time in UTC.

    `is_synthetic`: the table is of the invented clinic. `is_training`: the model was trained on rows of this very file.
    """

    table: str
    table_sha256: str
    at: str
    software: str
    seed: int
    is_synthetic: bool
    is_training: bool


@dataclass(frozen=True, kw_only=True)
class Pointed:
    """The pointing game in one modality: the share of hits, and how often a random place would have been one."""

    modality: str
    hits: Estimate
    chance: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was found of one method over `n` patients, each with one case, for the finding that the model holds likeliest.

    `gain` is the mean over cases of how much faster than in random orders the answer moves by deletion and insertion, in
    `unit`. `above_chance` is the share of cases in which both tests exceed 97.5 % of random orders, `refused` the share whose
    picture networks with random weights would draw too. `siblings` and `random_weights` are mean rank correlations.
    """

    method: str
    n: int
    unit: str
    gain: Estimate
    above_chance: Estimate
    siblings: Estimate
    random_weights: Estimate
    refused: Estimate
    pointing: tuple[Pointed, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """Figures, and the ground that they stand on."""

    figures: Figures
    ground: Ground


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Who is asked about, as indices of cases, one case a patient; `reference` shows what is usual. The rest was not fit."""

    asked: tuple[int, ...]
    reference: tuple[int, ...]
    n_unfit: int


def choose(model: TrainedModel, cases: Sequence[Case], *, n: int, n_reference: int, seed: int) -> Chosen:
    """Up to `n` patients drawn at random with one case each, and other patients as the reference, a third at most.

    A case for which the model abstains is not fit: nobody is shown marks of it.
    """
    by_patient: dict[str, int] = {}
    for index in np.random.default_rng([seed, 0xA55E55]).permutation(len(cases)):
        by_patient.setdefault(cases[index].patient, int(index))
    drawn = list(by_patient.values())
    aside = min(n_reference, len(drawn) // 3)
    reference, candidates = drawn[:aside], drawn[aside:]
    asked: list[int] = []
    n_unfit = 0
    for start in range(0, len(candidates), n):
        some = candidates[start : start + n]
        for index, diagnosis in zip(some, model.diagnose([cases[index] for index in some]), strict=True):
            if len(asked) == n:
                break
            if diagnosis.abstained is None:
                asked.append(index)
            else:
                n_unfit += 1
        if len(asked) == n:
            break
    return Chosen(asked=tuple(asked), reference=tuple(reference), n_unfit=n_unfit)


def assess(
    model: TrainedModel,
    cases: Sequence[Case],
    configs: Sequence[ExplainerConfig],
    *,
    reference: Sequence[Case],
    targets: Sequence[Sequence[Target]] | None = None,
    seed: int = 0,
    told: Callable[[int], None] = lambda _: None,
) -> tuple[Figures, ...]:
    """Figures of each method over the cases, each of another patient.

    `targets` are each case's known reasons where the clinic is synthetic. `told` hears how many cases are done.
    """
    assert len({case.patient for case in cases}) == len(cases), "a patient is asked about once"
    gathered = [_Gathered(config) for config in configs]
    likeliest = model.probability(cases).argmax(axis=1) if cases else ()
    explainers = [config.build(model, reference) for config in configs]
    for number, (case, column) in enumerate(zip(cases, likeliest, strict=True)):
        curves = CurveTest(model, case, seed=seed)
        finding = model.task.findings[column]
        known = () if targets is None else [each for each in targets[number] if each.disease in model.task.findings]
        for explainer, each in zip(explainers, gathered, strict=True):
            explanation = explainer.explain(case, finding)
            each.hold(model, case, explanation, curves=curves, reference=reference)
            by_disease = {finding: explanation}
            for modality, target in questions([one for one in known if not says_absent(one)]).items():
                if target.disease not in by_disease:
                    by_disease[target.disease] = explainer.explain(case, target.disease)
                each.ask(case, by_disease[target.disease], modality, target)
        told(number + 1)
    unit = unit_of(is_exclusive=model.task.exclusive)
    return tuple(each.figures(unit=unit) for each in gathered)


class _Gathered:
    """What was found of one method so far."""

    def __init__(self, config: ExplainerConfig) -> None:
        self.config = config
        self._patients: list[str] = []
        self._gains: list[float] = []
        self._above: list[bool] = []
        self._siblings: list[tuple[str, Likeness]] = []
        self._random: list[tuple[str, Likeness]] = []
        self._hits: dict[str, list[tuple[bool, float]]] = {modality: [] for modality in MODALITIES}

    def hold(
        self, model: TrainedModel, case: Case, explanation: Explanation, *, curves: CurveTest, reference: Sequence[Case]
    ) -> None:
        """Hold one explanation against the model."""
        found = curves.of(explanation, has_sign=self.config.has_sign)
        self._patients.append(case.patient)
        self._gains.append(found.gain)
        self._above.append(found.deletion.is_above and found.insertion.is_above)
        alike = agreement_of_siblings(self.config, model, case, explanation.finding, reference=reference)
        self._siblings.append((case.patient, alike))
        self._random.append((case.patient, survival(self.config, model, case, explanation, reference=reference)))

    def ask(self, case: Case, explanation: Explanation, modality: str, target: Target) -> None:
        """One question of the pointing game. Weighing nothing where the reason lies is a miss."""
        found = point(case, explanation, target)
        self._hits[modality].append((False, 0.0) if found is None else (found.is_hit, found.chance))

    def figures(self, *, unit: str) -> Figures:
        """All of it."""
        survived = [likeness.value >= SURVIVES for _, likeness in self._random if likeness.value is not None]
        return Figures(
            method=self.config.name,
            n=len(self._gains),
            unit=unit,
            gain=mean_gain(self._gains, self._patients),
            above_chance=_share(self._above),
            siblings=_likeness(self._siblings),
            random_weights=_likeness(self._random),
            refused=_share(survived),
            pointing=tuple(
                Pointed(modality=modality, hits=_share([hit for hit, _ in found]), chance=float(np.mean([c for _, c in found])))
                for modality, found in self._hits.items()
                if found
            ),
        )


def _share(hits: Sequence[bool]) -> Estimate:
    n, successes = len(hits), int(sum(hits))
    if not n:
        return Estimate(value=None, n=0, events=0, method="none", note="not assessed: no case could be asked")
    low, high = exact_share(successes, n, LEVEL)
    return Estimate(value=successes / n, low=low, high=high, n=n, events=successes, method=EXACT)


def _likeness(found: Sequence[tuple[str, Likeness]]) -> Estimate:
    known = [(patient, each.value) for patient, each in found if each.value is not None]
    if not known:
        note = next((each.note for _, each in found if each.note), "not assessed: no case could be asked")
        return Estimate(value=None, n=0, events=0, method="none", note=note)
    return mean_gain([value for _, value in known], [patient for patient, _ in known])
