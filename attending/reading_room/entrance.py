"""The ways in: signing in and out, the furniture, the page of the model's limits, and `/` where there are no cases to read."""

from fastapi import FastAPI, Request, Response

from attending.reading_room.forms import fields_of
from attending.reading_room.pages import FURNITURE, elsewhere
from attending.reading_room.room import SIGN_IN, STATIC, ReadingRoom
from attending.reading_room.sessions import cookie_of, no_cookie, session_in
from attending.service.credentials import is_loopback
from attending.service.problem import Problem


def add_entrance(app: FastAPI, room: ReadingRoom) -> None:
    """The routes that every room has."""

    @app.get(STATIC + "{name}", include_in_schema=False)
    async def furniture(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FURNITURE:
            raise Problem(404, "page", "there is no such page")
        return Response(room.pages.furniture[name], media_type=FURNITURE[name])

    @app.get("/room/model", include_in_schema=False)
    async def limits(request: Request) -> Response:
        return room.pages.page("limits.html", limits=room.limits, **room.shown(request))

    if room.roster is None:

        @app.get("/", include_in_schema=False)
        async def landing(request: Request) -> Response:
            return room.pages.page("landing.html", limits=room.limits, **room.shown(request))

    if room.plan.credentials is not None:
        _add_signing(app, room)


def _add_signing(app: FastAPI, room: ReadingRoom) -> None:
    credentials = room.plan.credentials
    assert credentials is not None

    @app.get(SIGN_IN, include_in_schema=False)
    async def ask(request: Request) -> Response:
        shown = room.shown(request)
        return elsewhere("/") if shown["is_signed_in"] else room.pages.page("sign_in.html", wrong=False, **shown)

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        sent = fields_of(await request.body(), media_type=request.headers.get("content-type", ""))
        room.check_mark(request, sent.one("mark"))
        holder = credentials.holder(f"Bearer {sent.one('token')}")
        if holder is None:
            return room.pages.page("sign_in.html", status=401, wrong=True, **room.shown(request))
        room.sessions.close(session_in(request.headers.get("cookie")))
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return elsewhere("/", cookie=cookie_of(room.sessions.open(holder), is_secure=not is_loopback(name)))

    @app.post("/room/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        sent = fields_of(await request.body(), media_type=request.headers.get("content-type", ""))
        room.check_mark(request, sent.one("mark"))
        room.sessions.close(session_in(request.headers.get("cookie")))
        return elsewhere(SIGN_IN, cookie=no_cookie())
