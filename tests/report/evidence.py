"""A report on drawn predictions: one or two findings, a model, a comparator and the shortcuts, with planted small groups."""

from dataclasses import replace
from functools import cache

import numpy as np
from scipy.special import expit

from attending.evaluation import Outcomes, Rule, Terms, judge
from attending.evaluation.curve import calibration_curve, decision_curve, risk_coverage, risk_distribution
from attending.report import (
    ColumnRow,
    Conduct,
    Curves,
    Events,
    Flow,
    Pattern,
    Primary,
    Privacy,
    Question,
    Refusal,
    Report,
)

N = 240
SMALL_SITE = "Kleinstadt"


def outcomes(strength: float, *, n_findings: int = 1, seed: int = 0) -> Outcomes:
    """Two repeats of three folds; the same cases and truth for every strength and seed of the model's noise."""
    world = np.random.default_rng(99)
    risk = world.normal(size=(N, n_findings))
    truth = world.random((N, n_findings)) < expit(1.5 * risk - 0.6)
    site = np.array([SMALL_SITE] * 7 + ["North", "South"] * 200)[:N]
    fold = np.arange(N) % 3
    noise = np.random.default_rng(seed)
    scores = [strength * risk + noise.normal(scale=0.5, size=risk.shape) - 0.6 for _ in range(2)]
    answered = np.concatenate(scores)
    return Outcomes(
        ids=np.tile([f"case-id-{i:04d}" for i in range(N)], 2),
        groups=np.tile([f"group-id-{i:04d}" for i in range(N)], 2),
        findings=("fever", "rash")[:n_findings],
        probability=expit(answered),
        raw=expit(2.0 * answered + 0.5),
        truth=np.tile(truth, (2, 1)),
        known=np.ones((2 * N, n_findings), dtype=bool),
        repeat=np.repeat([0, 1], N),
        fold=np.tile(fold, 2),
        strata={"site": np.tile(site, 2)},
    )


@cache
def report(n_findings: int = 1) -> Report:
    """The whole noun, judged with few resamples."""
    models = {
        "fused": outcomes(1.5, n_findings=n_findings, seed=1),
        "best-baseline": outcomes(1.4, n_findings=n_findings, seed=2),
        "site-and-missingness": outcomes(0.3, n_findings=n_findings, seed=3),
        "demographics": outcomes(0.1, n_findings=n_findings, seed=4),
    }
    rule = Rule(kind="sensitivity", value=0.9)
    terms = Terms(
        target="condition",
        protocol="cv",
        split="cv",
        rules={"fever": rule},
        primary_comparator="best-baseline",
        resamples=200,
        sampling="convenience",
    )
    first = models["fused"]
    thresholds = np.linspace(0.05, 0.6, 12)
    return Report(
        title="Fever <in> a drawn cohort",
        question=Question(
            target='condition = "fever"',
            population="adults drawn by a generator",
            prediction_time="on arrival",
            reference_standard="the generator's own truth",
            sampling="convenience",
        ),
        flow=Flow(
            rows=N + 3,
            cases=N,
            patients=N,
            groups=N,
            findings=tuple(
                Events(finding=name, known=N, events=int(first.truth[:N, place].sum()))
                for place, name in enumerate(first.findings)
            ),
            refused=(Refusal(reason="target is <blank>", count=3),),
        ),
        conduct=Conduct(kind="cv", folds=3, repeats=2, seed=0, reason="as asked", openings=1, hash="0" * 64),
        results=judge(models, terms=terms),
        primary=Primary(comparator="best-baseline", chosen="chosen in inner folds: boosted trees in 6 of 6"),
        curves=tuple(
            Curves(
                finding=name,
                calibration=calibration_curve(first, name),
                risk=risk_distribution(first, name),
                decision=decision_curve(models, name, thresholds, sampling="convenience"),
                before=calibration_curve(replace(first, probability=first.raw), name),
                coverage={model: risk_coverage(held, name, steps=10) for model, held in models.items()},
            )
            for name in first.findings
        ),
        columns=(ColumnRow(name="crp<mg>", role="number", why="the name has a unit", unit="mg/l"),),
        kinds=("Notes", "Numbers"),
        patterns=(
            Pattern(present=("Notes", "Numbers"), n=200, known=200, events=80),
            Pattern(present=("Notes",), n=37, known=37, events=12),
            Pattern(present=("Numbers",), n=2, known=2, events=1),
            Pattern(present=(), n=1, known=1, events=1),
        ),
        privacy=Privacy(identity_columns=("name",), counts={"names replaced": 2}, promises={}, not_found=("relatives",)),
        provenance={"Table (SHA-256)": "ab" * 32, "Seed": "0"},
        undeclared=('column "crp": unit unstated',),
    )


def with_results(changed: Report, **values: object) -> Report:
    """The same report with the primary difference changed."""
    primary = changed.primary
    rows = tuple(
        replace(row, **values)  # type: ignore[arg-type]
        if (row.model, row.comparator, row.metric) == (primary.model, primary.comparator, primary.metric)
        else row
        for row in changed.results
    )
    return replace(changed, results=rows)
