"""`attending assess`: how true explanations are of a model, measured over many patients of a table and kept in its folder.

`attending explain`, the reading room and the model card show it from then on. Nothing of a patient is written or printed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table as Grid

from attending.artefacts import ArtefactError, write_text
from attending.commands.explaining import known_targets
from attending.commands.progress import stages
from attending.commands.showing import err
from attending.commands.showing import out as console
from attending.commands.using import ready_model, take_in_for
from attending.explanation.assessment import Assessed, Chosen, Figures, Ground, assess, choose
from attending.explanation.assessment_file import read_assessed, write_assessed
from attending.explanation.assessment_words import lines_of, measured_on, sentence_of
from attending.explanation.catalog import explainer_named
from attending.explanation.explainer import ExplainerConfig, ExplanationError
from attending.explanation.pointing import REASONS, KnownReasons
from attending.explanation.shapley import ShapleyConfig
from attending.intake import Intake
from attending.model.trained import MODEL, TrainedModel
from attending.reading_room.limits import CARD, read_card
from attending.report.card import card_text
from attending.training.units import Progress


def assess_model(
    path: Path,
    table: Path,
    *,
    methods: Sequence[str],
    n: int,
    n_reference: int,
    where: str | None,
    companions: Mapping[str, Path],
    seed: int,
    device: str,
    threads: int,
) -> None:
    """Measure, keep, and print each figure with what it was measured on."""
    configs = _configs(methods)
    model = ready_model(path, device=device, threads=threads)
    run = path.resolve() if (path / MODEL).is_dir() else path.resolve().parent
    if not os.access(path, os.W_OK):
        raise ValueError(f"{path}: may not be written into, and what is measured is kept there; copy the model and assess that")
    intake = take_in_for(model, table, where=where, companions=companions, is_strict=False, needs_truth=False, beside=run)
    chosen = choose(model, intake.cases, n=n, n_reference=n_reference, seed=seed)
    if not chosen.asked:
        raise ExplanationError(f"{table.name}: found no patient whose case the model answers, expected at least one")
    ground = Ground(
        table=table.name,
        table_sha256=intake.table.sha256,
        at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        software=version("attending"),
        seed=seed,
        is_synthetic=(table.parent / REASONS).is_file(),
        is_training=model.provenance.get("data_sha256") == intake.table.sha256,
    )
    found = [
        Assessed(figures=each, ground=ground) for each in _measured(model, intake, configs, chosen, table=table, seed=seed)
    ]
    kept = write_assessed(path, model=model.id, found=list({**_before(path, model), **_by_method(found)}.values()))
    _show(found)
    if chosen.n_unfit:
        err.print(f"{chosen.n_unfit} cases left out: the model abstains", highlight=False)
    console.print(f"kept: {kept}", highlight=False, soft_wrap=True)
    if _tell_card(path, run, model):
        console.print(f"model card: {run / CARD}", highlight=False, soft_wrap=True)


def _configs(methods: Sequence[str]) -> tuple[ExplainerConfig, ...]:
    if not methods:
        raise ExplanationError("--method: names no method, expected at least one, such as --method window-occlusion")
    if ShapleyConfig.name in methods:
        raise ExplanationError(
            f"--method {ShapleyConfig.name}: weighs whole kinds of evidence, which attending explain holds against the model "
            "case by case; take a method that weighs places"
        )
    return tuple(explainer_named(name) for name in dict.fromkeys(methods))


def _measured(
    model: TrainedModel, intake: Intake, configs: Sequence[ExplainerConfig], chosen: Chosen, *, table: Path, seed: int
) -> tuple[Figures, ...]:
    asked = [intake.cases[index] for index in chosen.asked]
    reasons = KnownReasons(table.parent)
    known = [known_targets(intake, index, reasons) or () for index in chosen.asked] if reasons.are_there else None
    with stages() as told:
        return assess(
            model,
            asked,
            configs,
            reference=[intake.cases[index] for index in chosen.reference],
            targets=known,
            seed=seed,
            told=lambda done: told("explaining", Progress(done=done, of=len(asked), last="", seconds=0.0)),
        )


def _before(path: Path, model: TrainedModel) -> Mapping[str, Assessed]:
    """What is kept already of other methods; what is damaged is begun anew."""
    try:
        return read_assessed(path, model=model.id)
    except ArtefactError as error:
        err.print(f"begun anew: {error}", highlight=False, soft_wrap=True)
        return {}


def _by_method(found: Sequence[Assessed]) -> dict[str, Assessed]:
    return {each.figures.method: each for each in found}


def _show(found: Sequence[Assessed]) -> None:
    for each in found:
        grid = Grid(title=f"{each.figures.method}, on {measured_on(each)}", title_justify="left", box=None, pad_edge=False)
        for name in ("is it true of the model?", "found"):
            grid.add_column(name, overflow="fold")
        for line in lines_of(each):
            grid.add_row(line.asked, line.answer)
        console.print(grid, highlight=False)


def _tell_card(path: Path, run: Path, model: TrainedModel) -> bool:
    """Write it into the model card that lies beside the model, if one does."""
    card = dict(read_card(path))
    if not card:
        return False
    card["explanations"] = [sentence_of(each) for each in read_assessed(path, model=model.id).values()]
    write_text(run / CARD, json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text((run / CARD).with_suffix(".md"), card_text(card))
    return True
