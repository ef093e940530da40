"""How much of what the synthetic clinic's evidence holds does the default model find, and what does an absent modality cost?

    python -m benchmarks.clinic_quality                        # hours: 3 generators, 5 training seeds, 20,000 fresh patients
    python -m benchmarks.clinic_quality --generators 900 --seeds 1 --fresh 4000 --members 1 --skip-absent      # minutes

For each generator seed: 2,000 patients to train on, fresh ones (style, templates and drawing never seen) to test on. Per
training seed: the share of the oracle's AUROC lift that `fused` reaches (mean over diseases; the oracle sees what is
expressed), the log-loss gap, and the macro AUROC differences to every single modality and to late fusion, with paired bootstrap
intervals over patients. Then, per modality: `fused` answering without it, less a model trained without it. Generators 900 to
999 and 7001 were used in development; 7102, 7203 and 7304 have judged: choose nothing by them. Prints a line per result as it
comes; --json FILE keeps them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from attending.baselines.catalog import CATALOG
from attending.case import Case, Evidence, Lab, Note, Scan, Sign
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.model.tokens import Batch
from attending.privacy import deidentify
from attending.records.clinic import Clinic, ClinicConfig, draw_clinic
from attending.records.clinic.world import DISEASES
from attending.training.learner import DiagnoserLearner
from attending.training.network import probabilities
from attending.training.recipe import default_recipe

TASK = Task(findings=DISEASES)
RIVALS = ("film", "notes", "boosted-trees", "random-forest", "late-fusion")
MODALITIES: Mapping[str, type[Evidence]] = {"film": Scan, "note": Note, "labs": Lab, "signs": Sign}
RESAMPLES = 500
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", type=int, nargs="+", default=[7102, 7203, 7304])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--fresh", type=int, default=20_000)
    parser.add_argument("--members", type=int, default=None, help="networks averaged; the recipe's own number by default")
    parser.add_argument("--skip-absent", action="store_true", help="leave out the models trained without a modality")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for generator in asked.generators:
        train = draw_clinic(ClinicConfig(n_patients=asked.patients, seed=generator))
        test = draw_clinic(ClinicConfig(n_patients=asked.fresh, seed=generator + 50, style="fresh"))
        for row in results(train, test, seeds=asked.seeds, members=asked.members, asks_absent=not asked.skip_absent):
            rows.append({"generator": generator, **row})
            print(json.dumps(rows[-1]), flush=True)
            if asked.json is not None:
                asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def results(train: Clinic, test: Clinic, *, seeds: int, members: int | None, asks_absent: bool) -> Iterator[Row]:
    """Rows as they are found."""
    taught, asked = (deidentify(clinic.charts, key=bytes(range(32))).cases for clinic in (train, test))
    rivals = {}
    for name in RIVALS:
        fitted = CATALOG[name].fit(taught, task=TASK, visible=frozenset(), seed=0)
        rivals[name] = fitted.probability(asked)
        yield {"model": name, "share": share(test, rivals[name])}
    model = Procedure(taught, members=members)
    everything = model.read(asked)
    for seed in range(seeds):
        began = time.monotonic()
        networks = model.train(seed=seed)
        fused = averaged(networks, everything)
        yield {
            "model": "fused",
            "seed": seed,
            "share": share(test, fused),
            "log_loss_gap": log_loss(test.diseases, fused) - log_loss(test.diseases, test.oracle.seen),
            "seconds": round(time.monotonic() - began),
        }
        for name, rival in rivals.items():
            difference, low, high = paired(test.diseases, fused, rival, seed=seed)
            yield {"model": "fused", "seed": seed, "against": name, "difference": difference, "low": low, "high": high}
        if seed == 0:
            first = networks
    if not asks_absent:
        return
    del everything
    for name, kind in MODALITIES.items():
        thinned = [case.without(kind) for case in asked]
        thin = averaged(first, model.read(thinned))
        lean = Procedure([case.without(kind) for case in taught], members=members)
        never = averaged(lean.train(seed=0), lean.read(thinned))
        difference, low, high = paired(test.diseases, thin, never, seed=0)
        yield {
            "model": f"fused-without-{name}",
            "against": f"trained without {name}",
            "difference": difference,
            "low": low,
            "high": high,
        }


class Procedure:
    """The default recipe on some cases. What follows from the cases alone (vocabulary, atoms, switches) is found once."""

    def __init__(self, taught: Sequence[Case], *, members: int | None) -> None:
        recipe = default_recipe(taught, members=members)
        self.taught, self.members = taught, recipe.training.members
        self.learner = DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)
        self.tokenizers = Tokenizers.fit(recipe.diagnoser, taught)

    def read(self, cases: Sequence[Case]) -> Batch:
        """These cases as the networks see them."""
        return self.tokenizers.batch(cases, TASK)

    def train(self, *, seed: int) -> list[Diagnoser]:
        """The members of one training seed."""
        networks = []
        for member in range(self.members):
            training = self.learner.begin(self.taught, tokenizers=self.tokenizers, task=TASK, seed=1000 * seed + member)
            for _ in training.epochs():
                pass
            networks.append(training.network)
        return networks


def averaged(networks: Sequence[Diagnoser], asked: Batch) -> np.ndarray:
    """The mean answer."""
    return np.mean([probabilities(network, asked, task=TASK) for network in networks], axis=0)


def share(test: Clinic, probability: np.ndarray) -> float:
    """Mean over diseases of (AUROC − 0.5) over the oracle's."""
    found, held = areas(test.diseases, probability), areas(test.diseases, test.oracle.seen)
    return float(np.mean((found - 0.5) / (held - 0.5)))


def areas(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """AUROC per finding by rank sums; ties get the mean rank."""
    found = []
    for k in range(truth.shape[1]):
        _, place, counts = np.unique(probability[:, k], return_inverse=True, return_counts=True)
        rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
        n = truth[:, k].sum()
        found.append((rank[truth[:, k]].sum() - n * (n + 1) / 2) / (n * (len(truth) - n)))
    return np.array(found)


def paired(truth: np.ndarray, one: np.ndarray, other: np.ndarray, *, seed: int) -> tuple[float, float, float]:
    """Macro AUROC difference and its 95 % percentile interval over patients (a case each)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        found.append(np.mean(areas(truth[rows], one[rows]) - areas(truth[rows], other[rows])))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(np.mean(areas(truth, one) - areas(truth, other))), float(low), float(high)


def log_loss(truth: np.ndarray, probability: np.ndarray) -> float:
    bounded = np.clip(probability, 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(truth, np.log(bounded), np.log1p(-bounded))))


if __name__ == "__main__":
    main()
