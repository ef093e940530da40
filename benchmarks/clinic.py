"""How hard the synthetic clinic is, how much its modalities need each other, and how fast it is drawn.

    python -m benchmarks.clinic                 # oracles on 20,000 cases, simple models on 2,000, speed
    python -m benchmarks.clinic --seed 7 --sheet out/films.png    # also a sheet of films to look at

Prints; tests/records/clinic/test_difficulty.py holds the figures that must not move. No model of ours is trained here.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from attending.baselines.catalog import CATALOG
from attending.case import Case, Chart, Demographics, Lab, Note, Scan, Sign
from attending.diagnosis import Task
from attending.privacy import deidentify
from attending.records.clinic import Clinic, ClinicConfig, draw_clinic
from attending.records.clinic.expression import express, fall_ill
from attending.records.clinic.oracle import Enumeration, Facts, Oracle, consult
from attending.records.clinic.people import admit
from attending.records.clinic.streams import Streams
from attending.records.clinic.values import TESTS
from attending.records.clinic.world import DISEASES, World, build_world

MODALITIES = ("film", "note", "values")
KINDS = {"film": (Scan,), "note": (Note,), "values": (Lab, Sign)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--sheet", type=Path, default=None, help="write a picture of 24 films of each style here")
    arguments = parser.parse_args()
    for interaction in (1.0, 0.0):
        show_oracles(ClinicConfig(n_patients=20_000, seed=arguments.seed, interaction=interaction))
    with threadpool_limits(1):
        show_simple_models(arguments.seed)
    show_speed(arguments.seed)
    if arguments.sheet is not None:
        write_sheet(arguments.sheet, arguments.seed)


def causes(config: ClinicConfig) -> tuple[World, np.ndarray, Facts, Oracle]:
    """World, diseases, facts and oracle of a clinic of which nothing is drawn."""
    streams, world = Streams(config.seed), build_world(config)
    people = admit(config, streams)
    diseases, site = fall_ill(config, streams, people)
    diseases, site = diseases[people.patient], site[people.patient]
    facts = express(config, world, streams, people=people, diseases=diseases, site=site)
    return world, diseases, facts, consult(Enumeration(config, world, facts))


def show_oracles(config: ClinicConfig) -> None:
    """Prevalence, oracle AUROCs, and the best additive combination of single modalities, on the second half of the cases."""
    world, diseases, facts, oracle = causes(config)
    half = len(diseases) // 2
    print(
        f"\noracles, interaction {config.interaction:g}, {half} cases; "
        f"lacking a modality {(~facts.present).any(axis=1).mean():.0%}"
    )
    print(
        f"{'':20}{'preval.':>8}{'full':>8}{'seen':>8}"
        + "".join(f"{m:>8}" for m in oracle.modality)
        + f"{'late':>8}{'states':>8}{'gain':>8}"
    )
    late, states = additive_features(world, facts, oracle)
    for k, disease in enumerate(DISEASES):
        truth = diseases[half:, k]
        aurocs = [roc_auc_score(truth, p[half:, k]) for p in (oracle.full, oracle.seen, *oracle.modality.values())]
        added = []
        for features, strength in ((late[k], 10.0), (states, 0.3)):
            fitted = LogisticRegression(C=strength, max_iter=500).fit(features[:half], diseases[:half, k])
            added.append(roc_auc_score(truth, fitted.decision_function(features[half:])))
        figures = [truth.mean(), *aurocs, *added, aurocs[1] - max(added)]
        print(f"{disease:20}" + "".join(f"{figure:8.3f}" for figure in figures))


def additive_features(world: World, facts: Facts, oracle: Oracle) -> tuple[list[np.ndarray], np.ndarray]:
    """Two ways to add modalities up: log-odds of each (per disease), and a free effect of every joint state of each."""
    context = np.eye(18)[facts.site * 6 + facts.age_band * 2 + facts.male]
    log_odds = {m: np.log(oracle.modality[m]) - np.log1p(-oracle.modality[m]) for m in MODALITIES}
    late = [np.column_stack([*(log_odds[m][:, k] for m in MODALITIES), context]) for k in range(len(DISEASES))]
    codes = np.zeros((len(facts.site), len(MODALITIES)), dtype=int)
    for place, finding in enumerate(world.findings):
        column = MODALITIES.index(finding.modality if finding.modality in MODALITIES else "values")
        state = np.where(facts.expressed[:, place], facts.level[:, place] + 1, 0)
        codes[:, column] = codes[:, column] * (len(finding.levels) + 1) + state
    one_hot = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist").fit_transform(codes).toarray()
    return late, np.column_stack([one_hot, context])


def show_simple_models(seed: int) -> None:
    """Share of its modality's oracle lift (AUROC − 0.5) that each simple model reaches, per disease."""
    train = draw_clinic(ClinicConfig(n_patients=2000, seed=seed + 1))
    test = draw_clinic(ClinicConfig(n_patients=4000, seed=seed + 2, style="fresh"))
    print("\nshare of the modality oracle's lift, trained on 2,000, tested on 4,000 fresh; cases that have the modality")
    task = Task(findings=DISEASES)
    cases = [deidentify(clinic.charts, key=bytes(range(32))).cases for clinic in (train, test)]
    for name, modality in (("film", "film"), ("notes", "note"), ("boosted-trees", "values"), ("random-forest", "values")):
        fitted = CATALOG[name].fit(cases[0], task=task, visible=frozenset(), seed=0)
        show_shares(f"attending: {name}", modality, test, fitted.probability(cases[1]))
    for strength in (0.001, 0.01, 0.1):
        fit = linear(strength)
        show_shares(f"32 x 32 pixels, C {strength:g}", "film", test, fitted_probability(train, test, "film", pixels, fit))
    for n in (1, 2, 3):
        vectorizer = TfidfVectorizer(ngram_range=(1, n), min_df=2, sublinear_tf=True)
        vectorizer.fit([chart.of(Note)[0].text for chart in train.charts if chart.of(Note)])
        for strength in (1.0, 10.0):
            probability = fitted_probability(
                train,
                test,
                "note",
                lambda charts, v=vectorizer: v.transform([c.of(Note)[0].text for c in charts]),
                lambda c=strength: LogisticRegression(C=c, max_iter=500),
            )
            show_shares(f"TF-IDF of 1 to {n} words, C {strength:g}", "note", test, probability)
    for told in ("values", "values and ranges", "value / upper limit"):
        probability = fitted_probability(train, test, "values", lambda charts, t=told: table(charts, t), trees)
        show_shares(f"boosted trees on {told}", "values", test, probability)


def show_shares(name: str, modality: str, clinic: Clinic, probability: np.ndarray) -> None:
    has = np.array([any(chart.of(kind) for kind in KINDS[modality]) for chart in clinic.charts])
    oracle = clinic.oracle.modality[modality]
    shares = [
        lift(clinic.diseases[has, k], probability[has, k]) / lift(clinic.diseases[has, k], oracle[has, k]) for k in range(4)
    ]
    print(f"{name:38}{modality:8}" + "".join(f"{share:7.2f}" for share in shares) + f"   mean {np.mean(shares):.2f}")


def lift(truth: np.ndarray, probability: np.ndarray) -> float:
    return roc_auc_score(truth, probability) - 0.5


def fitted_probability(
    train: Clinic, test: Clinic, modality: str, features: Callable[[Sequence[Chart]], np.ndarray], model: Callable[[], object]
) -> np.ndarray:
    """Probabilities for all test cases; half where the modality is absent."""
    has_train, has_test = (
        np.array([any(chart.of(kind) for kind in KINDS[modality]) for chart in clinic.charts]) for clinic in (train, test)
    )
    x = features([chart for chart, has in zip(train.charts, has_train, strict=True) if has])
    z = features([chart for chart, has in zip(test.charts, has_test, strict=True) if has])
    probability = np.full((len(test.charts), len(DISEASES)), 0.5)
    for k in range(len(DISEASES)):
        probability[has_test, k] = model().fit(x, train.diseases[has_train, k]).predict_proba(z)[:, 1]
    return probability


def linear(strength: float) -> Callable[[], object]:
    return lambda: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))


def trees() -> object:
    return HistGradientBoostingClassifier(max_iter=80, learning_rate=0.06, max_leaf_nodes=8, early_stopping=False)


def pixels(charts: Sequence[Chart | Case]) -> np.ndarray:
    films = (Image.fromarray(chart.of(Scan)[0].pixels).resize((32, 32), Image.Resampling.BOX) for chart in charts)
    return np.stack([np.asarray(film).ravel() for film in films])


def table(charts: Sequence[Chart | Case], told: str) -> np.ndarray:
    """Values, or values with both limits, or values over the upper limit; then signs, age and sex."""
    codes = [test.code for test in TESTS]
    levels = {sign.name: sign.levels for chart in charts for sign in chart.of(Sign)}
    rows = np.full((len(charts), 3 * len(codes) + len(levels) + 2), np.nan)
    for row, chart in zip(rows, charts, strict=True):
        for lab in chart.of(Lab):
            low, high = lab.reference
            place = 3 * codes.index(lab.code)
            row[place] = lab.value / high if told == "value / upper limit" else lab.value
            if told == "values and ranges":
                row[place + 1 : place + 3] = low, high
        for sign in chart.of(Sign):
            row[3 * len(codes) + sorted(levels).index(sign.name)] = levels[sign.name].index(sign.value)
        demographics = chart.of(Demographics)[0]
        row[-2:] = demographics.age_years, demographics.sex == "male"
    return rows[:, ~np.isnan(rows).all(axis=0)]


def show_speed(seed: int) -> None:
    for n in (2000, 20_000):
        start = time.perf_counter()
        draw_clinic(ClinicConfig(n_patients=n, seed=seed))
        print(f"\n{n} patients drawn in {time.perf_counter() - start:.1f} s", end="")
    print()


def write_sheet(path: Path, seed: int) -> None:
    """24 films of each style, development above."""
    rows = []
    for style in ("development", "fresh"):
        clinic = draw_clinic(ClinicConfig(n_patients=60, seed=seed, style=style, film_size=160))
        films = [chart.of(Scan)[0].pixels for chart in clinic.charts if chart.of(Scan)][:24]
        rows += [np.concatenate(films[k : k + 8], axis=1) for k in (0, 8, 16)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.concatenate(rows) * 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
