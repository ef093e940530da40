"""The ways in: sessions that expire, forms that carry a mark, cookies no script reads, and nothing without a token."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from attending.model.trained import TrainedModel
from attending.reading_room.room import RoomPlan
from attending.reading_room.sessions import COOKIE, IDLE_SECONDS, LONGEST_SECONDS, MOST_SESSIONS, Sessions, session_in
from attending.service.credentials import Credentials, new_token, read_tokens
from tests.reading_room.rooms import Visitor, stream_of, text_of
from tests.service.asking import Client


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Credentials]:
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    return new_token(path, "ward-7"), read_tokens(path)


@pytest.fixture
def stranger(model: TrainedModel, table: Path, token: tuple[str, Credentials]) -> Iterator[Visitor]:
    """Somebody who has not signed in."""
    with Visitor(model, RoomPlan(stream=stream_of(model, table), credentials=token[1])) as made:
        yield made


def sign_in(visitor: Visitor, token: str) -> None:
    answer = visitor.send("/room/sign-in", {"token": token, "mark": visitor.mark("/room/sign-in")})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/"


def paths_of(visitor: Visitor) -> list[tuple[str, str]]:
    """Method and path of every route of the room, with a case and a film in them."""
    app = visitor.app.app
    found = []
    for route in app.routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute) and visitor.room.has(route.path):
            path = route.path.replace("{case}", visitor.ids()[1]).replace("{number}", "4").replace("{name}", "style.css")
            found += [(method, path) for method in route.methods]
    return found


def test_without_a_token_only_the_door_is_open(stranger: Visitor) -> None:
    paths = paths_of(stranger)
    assert len(paths) >= 9
    for method, path in paths:
        answer = stranger.ask(method, path)
        if path in ("/room/sign-in", "/room/static/style.css"):
            assert answer.status_code in (200, 415), path
        elif method == "GET":
            assert (answer.status_code, answer.headers["location"]) == (303, "/room/sign-in"), path
        else:
            assert answer.status_code == 401, path
        for id in stranger.ids():
            assert id not in answer.text
    assert stranger.get("/room/nowhere").headers["location"] == "/room/sign-in"
    assert stranger.get("/", headers={"cookie": f"{COOKIE}=guessed"}).status_code == 303


def test_a_token_opens_and_signing_out_closes(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    sign_in(stranger, token[0])
    home = stranger.get("/")
    assert home.status_code == 200
    assert stranger.ids()[0] in home.text
    assert stranger.get("/room/sign-in").headers["location"] == "/"
    mark = stranger.mark("/")
    kept = stranger._client.cookies[COOKIE]
    out = stranger.send("/room/sign-out", {"mark": mark})
    assert (out.status_code, out.headers["location"]) == (303, "/room/sign-in")
    assert stranger.get("/", headers={"cookie": f"{COOKIE}={kept}"}).status_code == 303


def test_the_cookie_is_for_the_browser_alone(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    mark = stranger.mark("/room/sign-in")
    cookie = stranger.send("/room/sign-in", {"token": token[0], "mark": mark}).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie  # a loopback name
    assert token[0] not in cookie
    other = stranger.send("/room/sign-in", {"token": token[0], "mark": mark}, headers={"host": "ward.example", "cookie": ""})
    assert "Secure" in other.headers["set-cookie"]


def test_a_wrong_token_is_told_and_sets_nothing(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    for wrong in ("", "att_nothing", token[0][:-1], "x" * 5000, "\x00", "é"):
        answer = stranger.send("/room/sign-in", {"token": wrong, "mark": stranger.mark("/room/sign-in")})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "No token of this service is like that" in answer.text
        assert len(wrong) < 5 or wrong not in answer.text


def test_a_form_without_its_mark_does_nothing(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    for mark in ("", "0" * 64, "é"):
        answer = stranger.send("/room/sign-in", {"token": token[0], "mark": mark})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    before = stranger.mark("/room/sign-in")
    sign_in(stranger, token[0])
    assert stranger.send("/room/sign-out", {"mark": before}).status_code == 403  # the mark of no session
    assert stranger.get("/").status_code == 200


def test_a_bearer_token_opens_too(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    assert stranger.get("/", headers={"authorization": f"Bearer {token[0]}"}).status_code == 200


def test_a_session_opens_no_door_of_the_api(stranger: Visitor, token: tuple[str, Credentials]) -> None:
    """A cookie is sent by itself; a bearer token is not."""
    sign_in(stranger, token[0])
    assert stranger.diagnose({}).status_code == 401
    assert stranger.get("/v1/model").status_code == 401


def test_sessions_end() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    used, unused = sessions.open("a"), sessions.open("b")
    while now[0] < LONGEST_SECONDS - IDLE_SECONDS / 2:
        assert sessions.holder(used) == "a"
        now[0] += IDLE_SECONDS / 2
        assert now[0] <= IDLE_SECONDS or sessions.holder(unused) is None
    now[0] = LONGEST_SECONDS + 1
    assert sessions.holder(used) is None
    assert sessions.holder(None) is None


def test_the_longest_unused_session_makes_room() -> None:
    sessions = Sessions()
    names = [sessions.open(str(i)) for i in range(MOST_SESSIONS)]
    assert len(set(names)) == MOST_SESSIONS
    assert sessions.holder(names[0]) == "0"
    sessions.open("one more")
    assert sessions.holder(names[0]) == "0"
    assert sessions.holder(names[1]) is None


def test_marks_belong_to_their_session() -> None:
    sessions, others = Sessions(), Sessions()
    one, two = sessions.open("a"), sessions.open("a")
    assert sessions.is_mark(sessions.mark(one), of=one)
    assert not sessions.is_mark(sessions.mark(one), of=two)
    assert not sessions.is_mark(sessions.mark(None), of=one)
    assert not sessions.is_mark(others.mark(one), of=one)


def test_cookies_are_read_as_browsers_send_them() -> None:
    assert session_in(f"a=b; {COOKIE}=xyz; c") == "xyz"
    assert session_in(f"{COOKIE}=x; {COOKIE}=y") is None
    assert session_in(f"{COOKIE}=x; {COOKIE}=x") == "x"
    for none in (None, "", ";;", "=", f"x{COOKIE}=y"):
        assert session_in(none) is None


def test_without_cases_the_first_page_says_how_to_open_the_room(model: TrainedModel) -> None:
    with Visitor(model, RoomPlan()) as visitor:
        page = visitor.get("/")
        assert page.status_code == 200
        assert 'href="/openapi.json"' in page.text
        said = text_of(page.text)
        assert "attending serve MODEL --cases patients.csv" in said
        assert "sick" in said
        assert visitor.get("/room/cases/x").status_code == 404
        assert visitor.get("/room/study").status_code == 404
        assert visitor.get("/room/sign-in").status_code == 404
        assert visitor.get("/openapi.json").status_code == 200


def test_the_furniture_comes_with_its_type_and_is_all_there_is(stranger: Visitor) -> None:
    for name, kind in (("style.css", "text/css"), ("room.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = stranger.get(f"/room/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
    for name in ("..%2froom.py", "room.py", "%2e%2e/templates/base.html", "style.css%00"):
        assert stranger.get(f"/room/static/{name}").status_code == 303  # not furniture: sign in first


def test_without_tokens_a_page_of_another_site_sends_no_form(visitor: Visitor) -> None:
    path = f"/room/cases/{visitor.ids()[1]}/if"
    for origin in ("https://evil.example", "null"):
        answer = visitor.send(path, {"off": "note"}, headers={"origin": origin})
        assert answer.status_code == 403
        assert answer.headers["content-type"].startswith("text/html")
    assert visitor.send(path, {"off": "note"}, headers={"origin": "http://localhost:8000"}).status_code == 200
    assert visitor.get("/", headers={"host": "evil.example"}).status_code == 421


def test_the_service_alone_has_no_room(model: TrainedModel) -> None:
    with Client(model) as client:
        answer = client.ask("GET", "/")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
