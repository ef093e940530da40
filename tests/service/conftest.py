"""A small model with random weights, and a service around it, asked in this process or over a socket."""

from pathlib import Path

import pytest
import torch

from attending.model.trained import TrainedModel, load_model
from tests.explanation.models_at_hand import folder_with_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model` and the `table.csv` that it reads."""
    torch.set_num_threads(1)
    return folder_with_model(tmp_path_factory.mktemp("served"), n=40)


@pytest.fixture(scope="session")
def model(folder: Path) -> TrainedModel:
    """The model of the folder."""
    return load_model(folder / "model")
