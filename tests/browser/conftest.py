"""A browser for all tests of the folder, a tab for each, and a served room. What a page complains of fails its test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from attending.model.trained import TrainedModel, load_model
from attending.reading_room.room import RoomPlan
from tests.browser.chromium import WHY_NOT, Page, chromium
from tests.explanation.models_at_hand import folder_with_model
from tests.reading_room.rooms import stream_of, write_cases
from tests.service.asking import listening

PICTURES = Path(os.environ.get("PICTURES", Path(__file__).parents[2] / "out" / "browser"))
"""Where screenshots are written."""


@pytest.fixture(scope="session")
def tabs() -> Iterator[Callable[[], Page]]:
    """Opens tabs."""
    if WHY_NOT is not None:
        pytest.skip(WHY_NOT)
    with chromium() as tab:
        yield tab


@pytest.fixture
def page(tabs: Callable[[], Page]) -> Iterator[Page]:
    """A tab whose pages must not complain."""
    tab = tabs()
    tab.look(width=1280)
    yield tab
    tab.value("1")  # what was said until now is heard
    assert tab.complaints == []
    elsewhere = [url for url in tab.asked if not url.startswith(("http://127.0.0.1:", "about:", "data:"))]
    assert elsewhere == []
    assert not [url for url in tab.asked if url.startswith("data:")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model` and the table that it was made with."""
    torch.set_num_threads(1)
    return folder_with_model(tmp_path_factory.mktemp("browsed"), n=40)


@pytest.fixture(scope="session")
def model(folder: Path) -> TrainedModel:
    """The model of the folder."""
    return load_model(folder / "model")


@pytest.fixture(scope="session")
def table(folder: Path) -> Path:
    """The cases to read."""
    return write_cases(folder)


@pytest.fixture(scope="session")
def address(model: TrainedModel, table: Path) -> Iterator[str]:
    """A room that is open to all on this machine."""
    with listening(model, pages=RoomPlan(stream=stream_of(model, table)).open) as made:
        yield made
