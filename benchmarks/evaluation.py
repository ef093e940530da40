"""How fast judging is and how much memory it takes; with --coverage, how often its intervals hold the truth.

    python -m benchmarks.evaluation                      # 10,000 predictions × 10 findings, 1,000 resamples: aim < 60 s
    python -m benchmarks.evaluation --everything         # with subgroups and 9 paired baselines: aim < 300 s
    python -m benchmarks.evaluation --memory             # peak memory at 250, 1,000 and 4,000 resamples: aim flat
    python -m benchmarks.evaluation --coverage 400       # cohorts per cell of the coverage table

Prints; a dated result goes into benchmarks/README.md by hand, with commit and machine.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attending.evaluation.catalog import CORE
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.threshold import Rule

ROWS, FINDINGS = 10_000, 10


def predictions(seed: int = 0, noise: float = 0.0) -> Outcomes:
    """10,000 cases of 5,000 patients, ten findings of 3–30 %, four strata."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FINDINGS))
    share = np.linspace(0.03, 0.3, FINDINGS)
    right = 1.0 / (1.0 + np.exp(-(1.5 * x + np.log(share / (1.0 - share)))))
    truth = rng.random((ROWS, FINDINGS)) < right
    blurred = x + noise * np.random.default_rng(seed).normal(size=x.shape)
    levels = {"site": 4, "sex": 2, "age": 5, "pattern": 6}
    return Outcomes(
        ids=np.array([f"c{i}" for i in range(ROWS)], dtype=object),
        groups=np.array([f"p{i // 2}" for i in range(ROWS)], dtype=object),
        findings=tuple(f"finding{k}" for k in range(FINDINGS)),
        probability=1.0 / (1.0 + np.exp(-(1.5 * blurred + np.log(share / (1.0 - share))))),
        truth=truth,
        known=rng.random((ROWS, FINDINGS)) < 0.97,
        repeat=np.zeros(ROWS, dtype=int),
        fold=np.zeros(ROWS, dtype=int),
        strata={name: rng.integers(0, k, size=ROWS).astype(str).astype(object) for name, k in levels.items()},
        weight=np.full(ROWS, 0.5),
    )


def core(resamples: int) -> None:
    """Core metrics of one model, no slices."""
    judge({"fused": predictions()}, terms=Terms(resamples=resamples), metrics=CORE, slices=())


def everything(resamples: int) -> None:
    """All metrics, four strata, nine baselines."""
    fused = predictions()
    models = {"fused": fused} | {f"baseline{k}": predictions(k, 0.2 * k) for k in range(1, 10)}
    rules = {finding: Rule(kind="risk", value=0.2) for finding in fused.findings}
    plain = {name: replace(outcomes, strata=fused.strata) for name, outcomes in models.items()}
    rows = judge(plain, terms=Terms(resamples=resamples, rules=rules, primary_comparator="baseline1"))
    print(f"{len(rows)} rows")


def memory() -> None:
    """Peak resident memory of the core metrics in a fresh process, by number of resamples."""
    for resamples in (250, 1000, 4000):
        program = (
            "import resource; from benchmarks.evaluation import core; "
            f"core({resamples}); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        print(f"{resamples} resamples: {found.stdout.strip()} MiB at the peak", flush=True)


def coverage(cohorts: int, *, visits_per_patient: Sequence[int], patients: Sequence[int]) -> None:
    """The table of issue 5: how many of 100 intervals hold the truth, by n, events, AUROC and visits per patient."""
    from tests.evaluation.test_interval import coverage as covered

    started = False
    for visits in visits_per_patient:
        for n in patients:
            for events in (10, 20, 50, 100):
                if events > n // 2:
                    continue
                for auroc in (0.7, 0.85, 0.95):
                    held, given = covered(n * visits, events * visits, auroc, visits, cohorts)
                    if not started:
                        print("patients events auroc visits | " + " | ".join(held) + " | least share with an interval")
                        started = True
                    cells = " ".join(f"{100 * share:5.1f}" for share in held.values())
                    print(f"{n:5d} {events:4d} {auroc:5.2f} {visits:2d} | {cells} | {min(given.values()):.2f}", flush=True)


def main() -> None:
    """Run what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--everything", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--coverage", type=int, metavar="COHORTS")
    parser.add_argument("--visits", type=int, nargs="+", default=[1, 5], metavar="N", help="visits per patient of --coverage")
    parser.add_argument("--patients", type=int, nargs="+", default=[60, 100, 250, 1000], metavar="N", help="of --coverage")
    parser.add_argument("--resamples", type=int, default=1000)
    asked = parser.parse_args()
    if asked.coverage:
        coverage(asked.coverage, visits_per_patient=asked.visits, patients=asked.patients)
        return
    if asked.memory:
        memory()
        return
    start, busy = time.perf_counter(), time.process_time()
    (everything if asked.everything else core)(asked.resamples)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"{elapsed:.1f} s elapsed, {busy:.1f} s of processor, {asked.resamples} resamples")


if __name__ == "__main__":
    main()
