"""A small model with random weights, a table of cases, and a room that is open to all on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from attending.model.trained import TrainedModel, load_model
from attending.reading_room.room import RoomPlan
from tests.explanation.models_at_hand import folder_with_model
from tests.reading_room.rooms import Visitor, stream_of, write_cases


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model`, and the table that it was made with."""
    torch.set_num_threads(1)
    return folder_with_model(tmp_path_factory.mktemp("room"), n=40)


@pytest.fixture(scope="session")
def model(folder: Path) -> TrainedModel:
    """The model of the folder."""
    return load_model(folder / "model")


@pytest.fixture(scope="session")
def table(folder: Path) -> Path:
    """The cases to read: forty of the model's, then one with a script, a formula, a path, and nothing."""
    return write_cases(folder)


@pytest.fixture(scope="module")
def visitor(model: TrainedModel, table: Path) -> Iterator[Visitor]:
    """Somebody in a room without tokens."""
    with Visitor(model, RoomPlan(stream=stream_of(model, table))) as made:
        yield made
