"""The reading room as a whole: what it was opened with, and what it tells the service's guard about its pages.

Routes are in `case_routes`, `study_routes` and `entrance`. Files are read in a thread of the room's own, one after the other;
the model is asked through the desk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request

from attending.case import Case
from attending.explanation.assessment import Assessed
from attending.explanation.assessment_words import lines_of
from attending.reading_room.asking import Asking
from attending.reading_room.judgement import SCORES, Scale
from attending.reading_room.limits import limits_of
from attending.reading_room.pages import FURNITURE, HEADERS, Renderer
from attending.reading_room.roster import Roster, RosterError
from attending.reading_room.sessions import Sessions, session_in
from attending.reading_room.study import Study
from attending.service.credentials import Credentials
from attending.service.desk import Desk
from attending.service.pages import Pages, Told
from attending.service.problem import Problem
from attending.streaming import Stream

HERE = "/room/"
SIGN_IN = "/room/sign-in"
STATIC = "/room/static/"
ANYBODY = "reader"
"""Who reads where nobody needs to sign in and no name was given."""
_CLOSED = "a reader study runs here, in which the model's answer comes after the reader's own: the API answers no case"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RoomPlan:
    """What a room is opened with. Without a `stream` of cases it has only a page that says so.

    `alike` are the cases among which similar ones are shown (none: off); `assessed` is what was
    found of explanations over many patients, by method; `is_synthetic` says
    that all are of an invented clinic. `study` is the file of a reader study, on a `scale`; `reader` the
    name of whoever reads where there are no tokens to tell.
    """

    stream: Stream | None = None
    alike: Sequence[Case] = field(default=(), repr=False)
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    assessed: Mapping[str, Assessed] = field(default_factory=dict, repr=False)
    is_synthetic: bool = False
    study: Path | None = None
    study_seed: int = 0
    scale: Scale = SCORES
    reader: str = ANYBODY
    credentials: Credentials | None = field(default=None, repr=False)

    def open(self, desk: Desk) -> "ReadingRoom":
        """The room. Raises `StudyError` where the study's file cannot be gone on with."""
        return ReadingRoom(desk, self)


class ReadingRoom(Pages):
    """Pages under `/` and `/room/`."""

    def __init__(self, desk: Desk, plan: RoomPlan) -> None:
        self.desk, self.plan = desk, plan
        self.asking = Asking(desk, alike=plan.alike, is_synthetic=plan.is_synthetic)
        self.limits = limits_of(desk.model, desk.fields.schema, card=plan.card, assessed=plan.assessed)
        known = plan.assessed.get(self.asking.method.name)
        self.as_a_rule = () if known is None else lines_of(known)
        self.roster = None if plan.stream is None else Roster(plan.stream)
        self.sessions = Sessions()
        self.study: Study | None = None
        if plan.study is not None and self.roster is not None:
            self.study = Study(plan.study, ids=self.roster.ids, model=desk.model, seed=plan.study_seed, scale=plan.scale)
        self.pages = Renderer(
            has_tokens=plan.credentials is not None, has_cases=self.roster is not None, is_study=self.study is not None
        )
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attending-room")

    def add_to(self, app: FastAPI) -> None:
        """All routes of the room."""
        from attending.reading_room.case_routes import add_case_routes
        from attending.reading_room.entrance import add_entrance
        from attending.reading_room.study_routes import add_study_routes

        add_entrance(app, self)
        if self.roster is not None:
            add_case_routes(app, self, self.roster)
        if self.roster is not None and self.study is not None:
            add_study_routes(app, self, self.roster, self.study)

    def has(self, path: str) -> bool:
        """`/` and whatever lies under `/room/`."""
        return path in ("/", HERE.rstrip("/")) or path.startswith(HERE)

    def is_open(self, path: str) -> bool:
        """The form to sign in, and the furniture."""
        return path == SIGN_IN or self.is_furniture(path)

    def is_furniture(self, path: str) -> bool:
        """Style sheet, program and icon."""
        return path.removeprefix(STATIC) in FURNITURE and path.startswith(STATIC)

    def closes(self, path: str) -> str | None:
        """While readers judge, the API answers no case: it would tell what the page holds back."""
        return _CLOSED if self.study is not None and path.startswith("/v1/diagnoses") else None

    def holder(self, cookies: str | None) -> str | None:
        """Whose session it is."""
        return self.sessions.holder(session_in(cookies))

    def told(self, problem: Mapping[str, Any], *, method: str) -> Told:
        """A page that says what is wrong; whoever has not signed in is led to where that is done."""
        if problem["status"] == 401 and method in ("GET", "HEAD"):
            return Told(status=303, headers={**HEADERS, "location": SIGN_IN, "content-type": "text/html"}, body=b"")
        if problem["status"] == 401:
            problem = {**problem, "detail": "sign in first; a session ends after an hour without use"}
        page = self.pages.text("problem.html", problem=problem, faults=problem.get("faults", ()))
        headers = {**HEADERS, "content-type": "text/html; charset=utf-8"}
        return Told(status=problem["status"], headers=headers, body=page.encode())

    def close(self) -> None:
        """Stop reading, and let go of the study's file."""
        self._reader.shutdown(cancel_futures=True)
        if self.study is not None:
            self.study.close()

    async def read(self, work: Callable[[], T]) -> T:
        """What a piece of work in the room's thread gives. A table that cannot be read is a problem with a page of its own."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reader, work)
        except RosterError:
            raise Problem(
                503, "table-changed", "the table has changed since it was opened; the service must be started again"
            ) from None
        except OSError:
            raise Problem(503, "table", "the table or a file that it names cannot be read now; come back later") from None
        except ValueError:
            raise Problem(
                422,
                "table",
                "a row of the table cannot be read by the model's schema; attending predict names the row and the remedy",
            ) from None

    def reader(self, request: Request) -> str:
        """Who reads: the token's name, or the name the room was opened with."""
        return getattr(request.state, "client", None) or self.plan.reader

    def shown(self, request: Request) -> dict[str, Any]:
        """What every page is given."""
        name = session_in(request.headers.get("cookie"))
        is_signed_in = self.sessions.holder(name) is not None
        return {"mark": self.sessions.mark(name if is_signed_in else None), "is_signed_in": is_signed_in}

    def check_mark(self, request: Request, given: str) -> None:
        """Raise `Problem` 403 for a form that did not come from a page of this session."""
        name = session_in(request.headers.get("cookie"))
        if not self.sessions.is_mark(given, of=name if self.sessions.holder(name) is not None else None):
            raise Problem(403, "form", "this form is not of your session, or the session has ended; open the page again")
