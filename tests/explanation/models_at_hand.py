"""Small models with random weights over the patients of the model's tests, and one whose only reason is planted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from attending.attention import GroupedConfig, MechanismConfig
from attending.case import Case
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.model.modality import ModalityConfig
from attending.model.trained import TrainedModel
from attending.records import to_toml
from attending.training.bridge import outcomes_of
from attending.training.settling import Declared, settle
from tests.model.cases_at_hand import patients
from tests.tables import EVERYTHING, rows, taken_in, tiny_recipe, with_notes_and_films, write_rows

TASK = Task(findings=("sick", "old"))
EITHER = Task(findings=("sick", "old"), exclusive=True)
ATTENTION = GroupedConfig(dim=16, n_heads=2)
CASES: tuple[Case, ...] = tuple(patients(24))
WHOLE = CASES[1]
"""A case with every kind of evidence."""


def model_of(
    *,
    task: Task = TASK,
    members: int = 2,
    fusion: tuple[MechanismConfig, ...] = (),
    modalities: tuple[ModalityConfig, ...] = EVERYTHING,
    cases: Sequence[Case] = CASES,
    strength: float = 3.0,
) -> TrainedModel:
    """Networks with random weights, answers made stronger by `strength`, calibrated against a rough guess."""
    recipe = tiny_recipe(modalities=modalities)
    config = replace(recipe.diagnoser, fusion=fusion, pair_rank=2)
    tokenizers = Tokenizers.fit(config, cases)
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        network = Diagnoser(config, tokenizers=tokenizers, n_findings=len(task.findings)).eval()
        with torch.no_grad():
            network.readout.answer.mul_(strength)
            network.additive.normal_(std=0.3)
        networks.append(network)
    if task.exclusive:
        cases = [replace(case, truth={"sick": case.truth["sick"], "old": not case.truth["sick"]}) for case in cases]
    rough = np.linspace(0.1, 0.9, len(cases))
    guess = np.stack([rough, 1 - rough], axis=1)[:, : len(task.findings)]
    return TrainedModel(
        task=task,
        config=config,
        tokenizers=tokenizers,
        networks=tuple(networks),
        settling=settle(outcomes_of(cases, guess, task=task), Declared()),
        schema="",
        provenance={},
    )


def plant_value(model: TrainedModel, code: str) -> TrainedModel:
    """The model changed so that the laboratory value `code` alone drives the first finding, through the additive path."""
    for network in model.networks:
        with torch.no_grad():
            network.readout.answer.zero_()
            network.additive.zero_()
            if network.pairs is not None:
                network.pairs.weight.zero_()
            kinds = [kind.__name__ for kind in network.kinds]
            labs = kinds.index("Lab")
            encoder = network.encoders[labs]
            codes = list(model.tokenizers.by_kind[network.kinds[labs]].codes)
            encoder.weight.zero_()
            encoder.bias.zero_()
            encoder.bias[codes.index(code), 0] = 1.0
            network.additive[labs, 0, 0] = 4.0
    return model


def folder_with_model(folder: Path, *, n: int = 20, members: int = 2) -> Path:
    """`model` and the `table.csv` that it reads, with notes and films, in a folder. Weights are random."""
    table = write_rows(folder / "table.csv", with_notes_and_films(folder, rows(n)))
    intake = taken_in(table, target="sick", ignore="kind,a,b")
    model = model_of(task=intake.task, cases=intake.cases, members=members)
    replace(model, schema=to_toml(intake.schema)).save(folder / "model")
    return folder
