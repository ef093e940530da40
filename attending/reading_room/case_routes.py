"""The routes of cases: the list, a case with its evidence and estimates, its films, and what would be answered if.

In a reader study a route tells nothing of the model about a case that the reader has not judged yet; the list is closed.
"""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from attending.case import Case, Scan, kind_name
from attending.explanation.drawn import NAMES
from attending.reading_room.change import Changed, changed
from attending.reading_room.drawings import film_png
from attending.reading_room.evidence import evidence_view
from attending.reading_room.forms import Fields, fields_of, query_of
from attending.reading_room.listing import Listing
from attending.reading_room.pages import HEADERS, elsewhere
from attending.reading_room.room import ReadingRoom
from attending.reading_room.roster import Roster
from attending.reading_room.views import (
    CasePage,
    IfView,
    answer_view,
    if_plain,
    if_view,
    likeliest,
    row_view,
    shares_view,
    similar_view,
)
from attending.reading_room.words import IF_TOLD, NOTICE
from attending.service.problem import Problem

PER_PAGE = 20
PATIENCE_SECONDS = 0.4
"""How long the list waits for its rows: what is not there by then is fetched by the page itself."""
HIDDEN = "a reader study runs here: what the model says of this case is shown after you have judged it"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The case that a request is about."""

    number: int
    case: Case


def add_case_routes(app: FastAPI, room: ReadingRoom, roster: Roster) -> None:
    """The list and the case."""
    listing = Listing(roster, room.asking, room.read)

    @app.get("/", include_in_schema=False)
    async def cases(request: Request) -> Response:
        if room.study is not None:
            return elsewhere("/room/study")
        return await _list(request, room, roster, listing)

    @app.get("/room/cases/{case}", include_in_schema=False)
    async def case(request: Request) -> Response:
        asked = await _asked_for(request, room, roster)
        _check_told(request, room, asked)
        return room.pages.page("case.html", page=await case_page(request, room, roster, asked), **_shown(request, room))

    @app.get("/room/cases/{case}/films/{number}", include_in_schema=False)
    async def film(request: Request) -> Response:
        asked = await _asked_for(request, room, roster)
        text = request.path_params["number"]
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else -1
        if not 0 <= number < len(asked.case.evidence) or not isinstance(asked.case.evidence[number], Scan):
            raise Problem(404, "film", "the case has no such film")
        scan = asked.case.evidence[number]
        assert isinstance(scan, Scan)
        return Response(await room.read(lambda: film_png(scan.pixels)), media_type="image/png", headers=dict(HEADERS))

    _add_if_routes(app, room, roster)


def _add_if_routes(app: FastAPI, room: ReadingRoom, roster: Roster) -> None:
    """What would be answered if something were not there, or another: as a page, and as JSON for the page's program."""

    async def with_change(request: Request) -> tuple[_Asked, Fields, Changed]:
        asked = await _asked_for(request, room, roster)
        _check_told(request, room, asked)
        sent = fields_of(await request.body(), media_type=request.headers.get("content-type", ""))
        return asked, sent, changed(asked.case, sent, model=room.desk.fields)

    @app.post("/room/cases/{case}/if", include_in_schema=False)
    async def if_page(request: Request) -> Response:
        asked, sent, other = await with_change(request)
        now, then = await room.asking.answer(asked.case), await room.asking.answer_anew(other.case)
        view = if_view(now, then, other, room.desk.model)
        page = await case_page(request, room, roster, asked, if_=view, form=sent)
        return room.pages.page("case.html", page=page, **_shown(request, room))

    @app.post("/room/cases/{case}/if.json", include_in_schema=False)
    async def if_json(request: Request) -> Response:
        asked, _, other = await with_change(request)
        now, then = await room.asking.answer(asked.case), await room.asking.answer_anew(other.case)
        told = {"notice": NOTICE, "meaning": IF_TOLD} | if_plain(now, then, other, room.desk.model)
        return JSONResponse(told, headers=dict(HEADERS))


async def _asked_for(request: Request, room: ReadingRoom, roster: Roster) -> _Asked:
    number = roster.number_of(request.path_params["case"])
    if number is None:
        raise Problem(404, "case", "there is no case of this id in the table; the list has all of them")
    request.state.case = roster.ids[number]  # the audit log keeps a keyed hash of it
    return _Asked(number=number, case=await room.read(lambda: roster.case(number)))


def _shown(request: Request, room: ReadingRoom) -> dict[str, Any]:
    return {**room.shown(request), "limits": room.limits, "sexes": room.desk.fields.sexes}


def _check_told(request: Request, room: ReadingRoom, asked: _Asked) -> None:
    if room.study is not None and not room.study.may_tell(room.reader(request), asked.number):
        raise Problem(403, "study", HIDDEN)


async def case_page(
    request: Request, room: ReadingRoom, roster: Roster, asked: _Asked, *, if_: IfView | None = None, form: Fields | None = None
) -> CasePage:
    """All that a case's page shows. An explanation only where the address asks for it: it is the slow part."""
    query = query_of(request.url.query)
    model, asking, case = room.desk.model, room.asking, asked.case
    answered = await asking.answer(case)
    weighed = await asking.weigh(case)
    gives = answered.diagnosis.abstained is None
    finding = _chosen(query, model.task.findings) or likeliest(answered)
    explanation = await asking.explain(case, finding) if gives and finding and query.one("marks") == "on" else None
    truth = await asking.examine(case, finding) if explanation and finding and query.one("truth") == "on" else None
    if truth is not None and truth.refused is not None:
        explanation = None  # networks that never learned give the same picture: it is not shown
    wants_similar = gives and finding is not None and asking.n_alike > 0 and query.one("similar") == "on"
    similar = similar_view(await asking.similar(case, finding or ""), finding or "") if wants_similar else None
    missing = answered.diagnosis.missing
    number = asked.number
    kinds = dict.fromkeys(type(evidence) for evidence in case.evidence)
    return CasePage(
        id=str(case.id),
        number=number + 1,
        of=len(roster),
        previous=str(roster.ids[number - 1]) if number else None,
        next=str(roster.ids[number + 1]) if number + 1 < len(roster) else None,
        evidence=evidence_view(case, missing=missing, explanation=explanation),
        answer=answer_view(answered, model, spread=weighed.spread),
        finding=finding if gives else None,
        shares=shares_view(weighed, finding, missing=missing) if gives and finding else None,
        truth=truth,
        as_a_rule=room.as_a_rule,
        similar=similar,
        has_similar=asking.n_alike > 0,
        if_=if_,
        kinds=tuple((kind_name(kind), NAMES.get(kind, kind_name(kind))) for kind in kinds),
        n_networks=len(model.networks),
        form=form or Fields({}),
    )


async def _list(request: Request, room: ReadingRoom, roster: Roster, listing: Listing) -> Response:
    query = query_of(request.url.query)
    text = query.one("from")
    start = min(int(text), len(roster)) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    kinds = {kind_name(kind): NAMES.get(kind, kind_name(kind)) for kind in room.desk.model.tokenizers.by_kind}
    has, lacks = (query.one(name) if query.one(name) in kinds else "" for name in ("has", "lacks"))
    id_holds = query.one("id").lower()[:64]
    found = await room.read(lambda: roster.looking_for(start=start, most=PER_PAGE, id_holds=id_holds, has=has, lacks=lacks))
    read = await listing.rows(found.numbers, within_seconds=PATIENCE_SECONDS)
    rows = [
        row_view(roster.ids[number], number + 1, row, room.desk.model) for number, row in zip(found.numbers, read, strict=True)
    ]
    is_filtered = bool(id_holds or has or lacks)
    return room.pages.page(
        "cases.html",
        rows=rows,
        n=len(roster),
        table=roster.name,
        start=start,
        onward=found.onward,
        back=None if not start else 0 if is_filtered else max(0, start - PER_PAGE),
        id_holds=id_holds,
        kinds=kinds,
        is_filtered=is_filtered,
        findings=room.desk.model.task.findings,
        is_waiting=any(row.answer is None for row in rows),
        limits=room.limits,
        has=has,
        lacks=lacks,
        **room.shown(request),
    )


def _chosen(query: Fields, findings: tuple[str, ...]) -> str | None:
    name = query.one("finding")
    return name if name in findings else None
