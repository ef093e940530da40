"""Appendicitis, nested cross-validation, like against like: fused against the best baseline that inner folds chose.

    python -m benchmarks.appendicitis [--sets bedside ultrasound] [--regimes visible denied] [--repeats 5]

Two predictor sets (bedside + laboratory; + ultrasound), two regimes (all models may see what is missing; all are denied it),
the protocol of a default run. Needs the real table under ATTENDING_DATA (default ../shared/data). Prints a row per set and
regime, and writes them to a file with --json FILE.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from attending.commands.showing import bars, threads_of
from attending.intake import read_table, take_in
from attending.study import Plan, Study, hold_study
from attending.training.trial import BEST_BASELINE, FUSED
from recipes.appendicitis import schema_of, with_missingness_visible


def judged(table: Path, out: Path, *, predictors: str, regime: str, folds: int, repeats: int) -> tuple[Study, float]:
    """One study and the seconds it took."""
    read = read_table(table)
    schema = schema_of(table, target="diagnosis", predictors=predictors)
    if regime == "visible":
        schema = with_missingness_visible(schema)
    began = time.monotonic()
    intake = take_in(read, schema, key_file=out / "privacy.key")
    plan = Plan(protocol="cv", folds=folds, repeats=repeats, seed=0, threads=threads_of(0))
    with bars() as told:
        study = hold_study(intake, plan=plan, out=out / f"{predictors}-{regime}", told=told)
    return study, time.monotonic() - began


def row_of(study: Study, seconds: float, predictors: str, regime: str) -> dict[str, object]:
    """AUROC of fused and best baseline, and their difference with its interval."""
    whole = [r for r in study.results if r.metric == "auroc" and r.slice is None]
    value = {r.model: r for r in whole if r.comparator is None}
    difference = next(r for r in whole if r.model == FUSED and r.comparator == BEST_BASELINE)
    return {
        "predictors": predictors,
        "regime": regime,
        "fused": value[FUSED].value,
        "best_baseline": value[BEST_BASELINE].value,
        "missingness_alone": value["site-and-missingness"].value,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "seconds": round(seconds),
    }


def main() -> None:
    """Run the sets and regimes asked for and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["bedside", "ultrasound"])
    parser.add_argument("--regimes", nargs="+", default=["visible", "denied"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    table = Path(os.environ.get("ATTENDING_DATA", "../shared/data")) / "appendicitis" / "patients.csv"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for predictors in asked.sets:
            for regime in asked.regimes:
                study, seconds = judged(
                    table, Path(folder), predictors=predictors, regime=regime, folds=asked.folds, repeats=asked.repeats
                )
                rows.append(row_of(study, seconds, predictors, regime))
                print(json.dumps(rows[-1]), flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
