"""Variants of one question, each a study of its own, and one page that puts them side by side. What recipes run.

A variant that is finished is not held again, so variants may be held one at a time, and a page written from those there are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table as Grid

from attending.commands.progress import stages
from attending.commands.running import key_file, print_study
from attending.commands.showing import err, interval, threads_of
from attending.commands.showing import out as console
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import read_predictions
from attending.evaluation.result import Result
from attending.intake import read_table, take_in
from attending.records import Schema, write_schema
from attending.report.side_by_side import MODELS, SideBySide, Variant, results_of, write_side_by_side
from attending.study import PREDICTIONS, REPORT_JSON, Plan, hold_study
from attending.training.trial import FUSED

SCHEMAS = "schemas"
"""Beside the studies: the schema of each, as it was used."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One variant: its name (a folder's), what is peculiar to it in words, its table and schema, and the rows it keeps."""

    name: str
    told: str
    table: Path
    schema: Schema
    where: str | None = None


def asked_of(doc: str | None, *, variants: Sequence[str], out: Path) -> argparse.Namespace:
    """The options of a recipe: data, out, variant (a list), and `plan` made of quick, folds, repeats, seed and threads."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds patients.csv")
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--variant", nargs="+", choices=tuple(variants), default=list(variants))
    parser.add_argument("--quick", action="store_true", help="one exploratory split, one network: nothing may be concluded")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: all)")
    asked = parser.parse_args()
    asked.plan = Plan(
        protocol="quick" if asked.quick else "cv",
        folds=asked.folds,
        repeats=asked.repeats,
        members=1 if asked.quick else None,
        seed=asked.seed,
        threads=threads_of(asked.threads),
    )
    return asked


def hold_variants(questions: Sequence[Question], *, out: Path, plan: Plan) -> None:
    """Hold each study that `out` does not hold already."""
    for question in questions:
        folder = out / question.name
        if (folder / REPORT_JSON).exists():
            err.print(f"{question.told}: finished earlier", highlight=False)
            continue
        err.rule(question.told)
        write_schema(question.schema, out / SCHEMAS / f"{question.name}.toml")
        table = read_table(question.table, where=question.where)
        intake = take_in(table, question.schema, key_file=key_file(folder))
        with stages() as told:
            study = hold_study(
                intake, plan=plan, out=folder, told=told, said=lambda sentence: err.print(sentence, highlight=False)
            )
        print_study(study, folder=folder)


def compare_variants(
    questions: Sequence[Question], *, out: Path, title: str, pairs: Sequence[tuple[str, str]], seed: int = 0
) -> SideBySide:
    """Put the finished ones of these variants side by side: print a table, write comparison.html and comparison.json.

    `pairs` name variants over the same cases whose fused models are compared; the intervals are widened for their number,
    whether or not all of them are finished yet.
    """
    finished = [question for question in questions if (out / question.name / REPORT_JSON).exists()]
    shown = SideBySide(
        title=title,
        variants=tuple(Variant(name=one.name, told=one.told, results=results_of(out / one.name)) for one in finished),
        differences=tuple(
            row
            for first, second in pairs
            if {first, second} <= {one.name for one in finished}
            for row in _difference(first, second, out=out, n=len(pairs), seed=seed)
        ),
        warning=finished[0].schema.warning if finished else "",
        cautions=tuple(dict.fromkeys(caution for one in finished for caution in one.schema.cautions)),
    )
    page, _ = write_side_by_side(out, shown)
    _print(shown, page)
    return shown


def _difference(first: str, second: str, *, out: Path, n: int, seed: int) -> tuple[Result, ...]:
    """The fused model of one variant minus that of another, in AUROC, as one of `n` comparisons."""
    split, ours = _fused(out / first / PREDICTIONS)
    other_split, theirs = _fused(out / second / PREDICTIONS)
    if split != other_split:
        raise ValueError(f"{first} was judged on {split}, {second} on {other_split}; hold both by one protocol")
    terms = Terms(protocol="cv" if split == "cv" else "split", split=split, level=1.0 - 0.05 / n, seed=seed)
    rows = judge({first: ours, second: theirs}, primary=first, terms=terms, metrics=("auroc",), slices=())
    return tuple(
        replace(row, adjusted=f"bonferroni over {n}") for row in rows if row.comparator is not None and row.metric == "auroc"
    )


def _fused(path: Path) -> tuple[str, Outcomes]:
    held = read_predictions(path)
    split = next(iter(held.splits))
    return split, held.models(split)[FUSED]


def _print(shown: SideBySide, page: Path) -> None:
    grid = Grid(title="AUROC with 95 % intervals", title_justify="left", box=None, pad_edge=False)
    grid.add_column("variant")
    for model in MODELS:
        grid.add_column(model, justify="right")
    grid.add_column("n", justify="right")
    grid.add_column("events", justify="right")
    for one in shown.variants:
        rows = [one.row(model) for model in MODELS]
        first = rows[0]
        counts = ("", "") if first is None else (str(first.n or ""), str(first.events or ""))
        grid.add_row(one.name, *(interval(row) for row in rows), *counts)
    console.print(grid)
    if shown.warning:
        console.print(shown.warning, style="bold", highlight=False)
    console.print(f"comparison: {page}", highlight=False, soft_wrap=True)
