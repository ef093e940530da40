"""`attending judge`: anyone's predictions, judged as our own are."""

from importlib.metadata import version
from pathlib import Path

from attending.artefacts import sha256
from attending.audit.finding import Finding
from attending.audit.procedure.predictions import check_predictions
from attending.commands.showing import err, show_results
from attending.commands.showing import out as console
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import SPLITS, read_predictions
from attending.report import Primary, gather_foreign, write_report
from attending.report.report import UNSTATED
from attending.training.trial import BEST_BASELINE, FUSED

JUDGED = ("cv", "test", "evaluation", "calibrate", "tune", "train")
"""Which split of a file is judged when it holds several: the first of these that it has."""


def judge_file(predictions: Path, *, against: Path | None, out: Path | None, seed: int) -> None:
    """Judge a file, or one against another over the same cases; print, and write a report where asked."""
    split, models, findings = _models(predictions)
    if against is not None:
        other_split, others, more = _models(against)
        findings = tuple(dict.fromkeys((*findings, *more)))
        if other_split != split:
            raise ValueError(
                f'{against}: holds the split "{other_split}", {predictions} holds "{split}"; compare like with like'
            )
        models |= {name if name not in models else f"{name} ({against.name})": rows for name, rows in others.items()}
    primary = FUSED if FUSED in models else next(iter(models))
    protocol = "cv" if split == "cv" else "split"
    comparator = BEST_BASELINE if BEST_BASELINE in models else None
    terms = Terms(protocol=protocol, split=split, primary_comparator=comparator, sampling=UNSTATED, seed=seed)
    results = judge(models, primary=primary, terms=terms)
    for one in findings:
        err.print(f"{one.trap} {one.severity.value}: {one.told}. {one.evidence}. {one.effect}. {one.remedy}.", highlight=False)
    show_results(results, models=tuple(models))
    if out is not None:
        rivals = [name for name in models if name != primary]
        report = gather_foreign(
            title=predictions.name if against is None else f"{predictions.name} against {against.name}",
            outcomes=models,
            results=results,
            primary=Primary(model=primary, comparator=comparator or (rivals[0] if len(rivals) == 1 else None)),
            split=split,
            seed=seed,
            cautions=tuple(f"{one.trap} ({one.severity.value}s): {one.told}; {one.effect}." for one in findings),
            provenance={
                **{f"{path.name} (SHA-256)": sha256(path) for path in (predictions, against) if path is not None},
                "attending": version("attending"),
                "seed": seed,
            },
        )
        page, _ = write_report(out, report)
        console.print(f"report: {page}", highlight=False, soft_wrap=True)


def _models(path: Path) -> tuple[str, dict[str, Outcomes], tuple[Finding, ...]]:
    """The split that is judged, its models, and what the whole file betrays of how it was made."""
    held = read_predictions(path)
    assert set(JUDGED) == set(SPLITS)
    split = next(name for name in JUDGED if name in held.splits)
    return split, dict(held.models(split)), check_predictions(held.splits)
