"""A delivered model made ready, and a further table taken in for it: what predict, evaluate, explain and convert begin with."""

from collections.abc import Mapping
from pathlib import Path

from attending.commands.running import key_file
from attending.commands.showing import device_of, err, show_left_out
from attending.intake import Intake, declared_by, read_table, take_in
from attending.model.trained import TrainedModel, load_model


def take_in_for(
    model: TrainedModel,
    table: Path,
    *,
    where: str | None,
    companions: Mapping[str, Path],
    is_strict: bool,
    needs_truth: bool,
    beside: Path,
) -> Intake:
    """A table read as the model was trained to read one; what is missing and left out is told."""
    intake = take_in(
        read_table(table, where=where),
        declared_by(model.schema),
        companions=companions,
        key_file=key_file(beside),
        is_strict=is_strict,
        needs_truth=needs_truth,
    )
    for column in intake.records.missing:
        named = f"{column} was not given" if column.startswith("--") else f'input column "{column}" is not in {table.name}'
        err.print(f"{named}: absent evidence for every case", style="yellow", soft_wrap=True)
    show_left_out(intake.records)
    used = intake.records.n_rows_used
    err.print(f"{len(intake.table)} rows: {used} used in {len(intake.cases)} cases, {len(intake.records.refused)} refused")
    return intake


def ready_model(path: Path, *, device: str, threads: int) -> TrainedModel:
    """The model, on its device; with `threads` above 0 torch takes so many."""
    import torch

    place = device_of(device)
    if threads > 0:
        torch.set_num_threads(threads)
    model = load_model(path)
    for network in model.networks:
        network.to(place)
    return model
