"""`attending judge`: anyone's predictions, judged as our own are."""

import json
from pathlib import Path

from attending.artefacts import write_text
from attending.commands.showing import out as console
from attending.commands.showing import show_results
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import SPLITS, read_predictions
from attending.training.trial import BEST_BASELINE, FUSED

JUDGED = ("cv", "test", "evaluation", "calibrate", "tune", "train")
"""Which split of a file is judged when it holds several: the first of these that it has."""


def judge_file(predictions: Path, *, against: Path | None, out: Path | None, seed: int) -> None:
    """Judge a file, or one against another over the same cases; print, and write report.json where asked."""
    split, models = _models(predictions)
    if against is not None:
        other_split, others = _models(against)
        if other_split != split:
            raise ValueError(
                f'{against}: holds the split "{other_split}", {predictions} holds "{split}"; compare like with like'
            )
        models |= {name if name not in models else f"{name} ({against.name})": rows for name, rows in others.items()}
    primary = FUSED if FUSED in models else next(iter(models))
    protocol = "cv" if split == "cv" else "split"
    comparator = BEST_BASELINE if BEST_BASELINE in models else None
    terms = Terms(protocol=protocol, split=split, primary_comparator=comparator, seed=seed)
    results = judge(models, primary=primary, terms=terms)
    show_results(results, models=tuple(models))
    if out is not None:
        write_text(out / "report.json", json.dumps({"results": [result.to_row() for result in results]}, indent=1) + "\n")
        console.print(f"written: {out / 'report.json'}", highlight=False, soft_wrap=True)


def _models(path: Path) -> tuple[str, dict[str, Outcomes]]:
    held = read_predictions(path)
    assert set(JUDGED) == set(SPLITS)
    split = next(name for name in JUDGED if name in held.splits)
    return split, dict(held.models(split))
