"""A reading room over a small model and a table with a few hostile rows, asked in this process."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from attending.intake import declared_by
from attending.model.trained import TrainedModel
from attending.reading_room.room import ReadingRoom, RoomPlan
from attending.records.paged import open_table
from attending.service.guard import Guard
from attending.streaming import Stream, open_stream
from tests.service.asking import Client

SCRIPT = '<script>alert("Zwentibold")</script><img src=x onerror=alert(1)>'
FORMULA = '=HYPERLINK("http://127.0.0.1/?"&A1,"fever")'
TRAVERSAL = "../../etc/passwd"
FORM = "application/x-www-form-urlencoded"
_MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def write_cases(folder: Path) -> Path:
    """The table that the model was made with, and rows with a script, a formula, a path as their id, and nothing at all."""
    rows = rows_of(folder / "table.csv")
    first = rows[0]
    blank = dict.fromkeys(first, "")
    rows += [
        {**first, "patient_id": "q1", "note": f"{SCRIPT} fever & cough"},
        {**first, "patient_id": "q2", "note": FORMULA},
        {**first, "patient_id": TRAVERSAL, "note": "Patient reports fever.", "film": ""},
        {**blank, "patient_id": "q3"},
    ]
    path = folder / "cases.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(first))
        writer.writeheader()
        writer.writerows(rows)
    return path


def stream_of(model: TrainedModel, table: Path) -> Stream:
    """The table as the room reads it."""
    return open_stream(open_table(table), declared_by(model.schema), key_file=table.parent / "privacy.key")


class Visitor(Client):
    """Somebody who reads in a room, with the cookies of a browser."""

    def __init__(self, model: TrainedModel, plan: RoomPlan, **more: Any) -> None:
        super().__init__(model, credentials=plan.credentials, pages=plan.open, **more)

    @property
    def room(self) -> ReadingRoom:
        """The room itself."""
        pages = self.app.pages if isinstance(self.app, Guard) else None
        assert isinstance(pages, ReadingRoom)
        return pages

    def get(self, path: str, **more: Any) -> httpx.Response:
        """A page."""
        return self.ask("GET", path, **more)

    def send(self, path: str, fields: Mapping[str, Any], **more: Any) -> httpx.Response:
        """A form."""
        more["headers"] = {"content-type": FORM} | more.get("headers", {})
        return self.ask("POST", path, content=urlencode(dict(fields), doseq=True), **more)

    def mark(self, path: str) -> str:
        """What the forms of a page carry."""
        found = _MARK.search(self.get(path).text)
        assert found, path
        return found.group(1)

    def ids(self) -> tuple[str, ...]:
        """The hashed ids of all cases."""
        assert self.room.roster is not None
        return tuple(map(str, self.room.roster.ids))


def text_of(page: str) -> str:
    """What a page says, without its markup, blanks as one."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of a study's form."""
    return dict(
        re.findall(r'<input type="hidden" name="(mark|case|stage)" value="([^"]*)">', page.partition('action="/room/study"')[2])
    )
