"""The routes of a reader study: the case that is to be judged, first on its evidence alone, then with the model's estimates.

The page before the first judgement is made without asking the model anything, so there is nothing in it that could be found.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response

from attending.case import Case
from attending.diagnosis import Diagnosis
from attending.reading_room.evidence import EvidenceView, evidence_view
from attending.reading_room.forms import Fields, fields_of
from attending.reading_room.judgement import NO, YES, Judgement, UnreadableError, whole_number
from attending.reading_room.pages import elsewhere
from attending.reading_room.room import ReadingRoom
from attending.reading_room.roster import Roster
from attending.reading_room.study import AFTER, MOST_REASON, NotNowError, Place, Side, Study
from attending.reading_room.views import AnswerView, SharesView, answer_view, likeliest, shares_view
from attending.reading_room.words import percent
from attending.service.problem import Problem

STUDY = "/room/study"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One finding on the form: what was sent or judged before, where the model stands, and what is wrong with what was sent.

    `value` and `confidence` are as the fields show them; `judged` is what they say, None where that cannot be read.
    """

    number: int
    finding: str
    judged: Judgement | None
    value: str
    confidence: str = ""
    before: str = ""
    threshold: str = ""
    is_declared: bool = False
    reason: str = ""
    asks_reason: bool = False
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """The case that a reader is at. `answer` and `shares` are None before the first judgement."""

    id: str
    position: int
    of: int
    is_after: bool
    scale: str
    evidence: EvidenceView
    questions: tuple[Question, ...]
    answer: AnswerView | None
    shares: SharesView | None


def add_study_routes(app: FastAPI, room: ReadingRoom, roster: Roster, study: Study) -> None:
    """The study's page and its form."""
    sitting = _Sitting(room, roster, study)

    @app.get(STUDY, include_in_schema=False)
    async def show(request: Request) -> Response:
        return await sitting.show(request)

    @app.post(STUDY, include_in_schema=False)
    async def judge(request: Request) -> Response:
        return await sitting.judge(request)


class _Sitting:
    """Readers at their cases."""

    def __init__(self, room: ReadingRoom, roster: Roster, study: Study) -> None:
        self.room, self.roster, self.study = room, roster, study

    async def show(self, request: Request) -> Response:
        """The case that this reader is at."""
        reader = self.room.reader(request)
        place = await asyncio.to_thread(self.study.place, reader)
        if place is None:
            return self.room.pages.page("study_done.html", n=len(self.roster), **self.room.shown(request))
        case = await self._case(request, place)
        before = self.study.before(reader, place.number)
        answer = await self._answer(case) if place.stage == AFTER else None
        sides = self._sides(answer)
        questions = [
            _question(number, name, sides.get(name), self.study, before=before.get(name))
            for number, name in enumerate(self.study.findings)
        ]
        page = self._page(request, place, case, questions, answer)
        try:
            await asyncio.to_thread(self.study.show, reader)  # the clock runs from here on
        except OSError:
            raise _unwritable() from None
        return page

    async def judge(self, request: Request) -> Response:
        """Keep what was sent, and go on; or say what is wrong with it."""
        sent = fields_of(await request.body(), media_type=request.headers.get("content-type", ""))
        self.room.check_mark(request, sent.one("mark"))
        reader = self.room.reader(request)
        place = await asyncio.to_thread(self.study.place, reader)
        if place is None or sent.one("case") != self.roster.ids[place.number] or sent.one("stage") != place.stage:
            raise _not_now()
        case = await self._case(request, place)
        before = self.study.before(reader, place.number)
        answer = await self._answer(case) if place.stage == AFTER else None
        sides = self._sides(answer)
        questions = [
            _judged(sent, number, name, sides.get(name), self.study, before=before.get(name))
            for number, name in enumerate(self.study.findings)
        ]
        if any(question.fault for question in questions):
            return self._page(request, place, case, questions, answer, status=422)
        try:
            await asyncio.to_thread(self._keep, reader, place, questions, answer)
        except NotNowError:
            raise _not_now() from None
        except OSError:
            raise _unwritable() from None
        return elsewhere(STUDY)

    def _keep(self, reader: str, place: Place, questions: Sequence[Question], answer: "_Answer | None") -> None:
        judgements = {question.finding: question.judged for question in questions if question.judged is not None}
        if answer is None:
            self.study.judge_before(reader, place.number, judgements)
            return
        reasons = {question.finding: question.reason for question in questions}
        self.study.judge_after(reader, place.number, judgements, diagnosis=answer.diagnosis, reasons=reasons)

    async def _case(self, request: Request, place: Place) -> Case:
        request.state.case = self.roster.ids[place.number]
        return await self.room.read(lambda: self.roster.case(place.number))

    async def _answer(self, case: Case) -> "_Answer":
        answered, weighed = await self.room.asking.answer(case), await self.room.asking.weigh(case)
        finding = likeliest(answered)
        missing = answered.diagnosis.missing
        return _Answer(
            diagnosis=answered.diagnosis,
            view=answer_view(answered, self.room.desk.model, spread=weighed.spread),
            shares=None if finding is None else shares_view(weighed, finding, missing=missing),
        )

    def _sides(self, answer: "_Answer | None") -> Mapping[str, Side]:
        return {} if answer is None else {side.finding: side for side in self.study.sides(answer.diagnosis)}

    def _page(
        self,
        request: Request,
        place: Place,
        case: Case,
        questions: Sequence[Question],
        answer: "_Answer | None",
        *,
        status: int = 200,
    ) -> Response:
        page = StudyPage(
            id=str(case.id),
            position=place.position + 1,
            of=place.of,
            is_after=answer is not None,
            scale=self.study.scale.name,
            evidence=evidence_view(case, missing=self.room.desk.model.missing(case)),
            questions=tuple(questions),
            answer=None if answer is None else answer.view,
            shares=None if answer is None else answer.shares,
        )
        return self.room.pages.page("study.html", page=page, status=status, **self.room.shown(request))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    diagnosis: Diagnosis
    view: AnswerView
    shares: SharesView | None


def _unwritable() -> Problem:
    return Problem(503, "study-file", "the study's file cannot be written, so nothing was kept; free some space")


def _not_now() -> Problem:
    return Problem(
        409,
        "judged",
        "this judgement does not belong to where you are: it was given already, or the service was started anew; "
        "open the study again",
    )


def _question(
    number: int,
    finding: str,
    side: Side | None,
    study: Study,
    *,
    before: Judgement | None,
    judged: Judgement | None = None,
    shown: tuple[str, str] = ("", ""),
    reason: str = "",
    asks_reason: bool = False,
    fault: str = "",
) -> Question:
    return Question(
        number=number,
        finding=finding,
        judged=judged,
        value=shown[0],
        confidence=shown[1],
        before="" if before is None else before.told,
        threshold="" if side is None or side.estimate is None else percent(side.threshold),
        is_declared=finding in study.declared,
        reason=reason,
        asks_reason=asks_reason,
        fault=fault,
    )


def _judged(sent: Fields, number: int, finding: str, side: Side | None, study: Study, *, before: Judgement | None) -> Question:
    """What was sent for one finding, with what is wrong about it."""
    texts, reason = (sent.one(f"judgement-{number}"), sent.one(f"confidence-{number}")), sent.one(f"reason-{number}")
    judged, fault = None, ""
    try:
        judged = study.scale.read(*texts)
    except UnreadableError as error:
        fault = str(error)
    is_against = judged is not None and side is not None and side.is_against(judged)
    if is_against and not reason:
        fault = "your judgement lies on the other side of the threshold than the model's estimate: say why"
    value, confidence = (text if text in (YES, NO) or whole_number(text) is not None else "" for text in texts)
    return _question(
        number,
        finding,
        side,
        study,
        judged=judged,
        shown=(value, confidence),
        before=before,
        reason=reason[:MOST_REASON],
        asks_reason=is_against,
        fault=fault,
    )
