"""The service's guard stands before every page: its limits, its silence, its audit log; and no hostile input is a 5xx."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attending.model.trained import TrainedModel
from attending.reading_room.room import RoomPlan
from attending.service.audit_log import AuditLog, verify
from attending.service.credentials import new_token, read_tokens
from attending.service.settings import Settings
from tests.reading_room.rooms import FORM, Visitor, stream_of, text_of

NAME = "Zwentibold"
NUMBER = "7391.25"


class Listener(logging.Handler):
    """Every record of every logger, as it would be written down."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] not in ("httpx", "httpcore"):
            self.lines.append(f"{record.name} {self.format(record)} {record.args!r}")


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard, root = Listener(), logging.getLogger()
    before = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    logging.getLogger("attending.service").setLevel(logging.DEBUG)
    yield heard
    root.removeHandler(heard)
    root.setLevel(before)
    logging.getLogger("attending.service").setLevel(logging.NOTSET)


def test_no_id_and_no_word_is_written_down(
    model: TrainedModel, table: Path, tmp_path: Path, listener: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    path, tokens = tmp_path / "audit.jsonl", tmp_path / "tokens.txt"
    secret = new_token(tokens, "ward-7")
    credentials = read_tokens(tokens)
    plan = RoomPlan(stream=stream_of(model, table), credentials=credentials)
    with Visitor(model, plan, audit_log=AuditLog(path, model=model.id)) as visitor:
        id = visitor.ids()[1]
        visitor.send("/room/sign-in", {"token": secret, "mark": visitor.mark("/room/sign-in")})
        for address in (
            "/",
            f"/?id={NAME}&has={NAME}",
            f"/room/cases/{id}",
            f"/room/cases/{id}?finding={NAME}&marks=on",
            f"/room/cases/{NAME}",
            f"/room/cases/{id}/films/{NAME}",
            f"/room/{NAME}",
            f"/room/static/{NAME}",
        ):
            visitor.get(address, headers={"referer": f"http://{NAME}/", "user-agent": NAME})
        for fields in ({"off": NAME}, {"value-0": NUMBER}, {"value-0": NAME}, {NAME: NAME}, {"level-1": NAME}):
            visitor.send(f"/room/cases/{id}/if.json", fields)
            visitor.send(f"/room/cases/{id}/if", fields)
        visitor.send("/room/sign-out", {"mark": NAME})
        ids = visitor.ids()
        metrics = visitor.get("/metrics", headers={"authorization": f"Bearer {secret}"}).text
    written = [*listener.lines, *capfd.readouterr(), path.read_text(), metrics]
    for text in written:
        for told in (NAME, NUMBER, secret, *ids):
            assert told not in text, text[:200]
    assert verify(path).broken is None
    entries = [json.loads(line) for line in path.read_text().splitlines()][1:-1]
    of_case = [entry for entry in entries if "case" in entry]
    assert {entry["route"] for entry in of_case} >= {"/room/cases/{case}", "/room/cases/{case}/if.json"}
    assert len({entry["case"] for entry in of_case}) == 1
    assert len(of_case[0]["case"]) == 64
    assert {entry["client"] for entry in of_case} == {"ward-7"}
    assert {entry["route"] for entry in entries} <= {
        "/", "none", "/room/sign-in", "/room/sign-out", "/room/cases/{case}", "/room/cases/{case}/if",
        "/room/cases/{case}/if.json", "/room/cases/{case}/films/{number}", "/room/static/{name}",
    }  # fmt: skip


def test_the_style_sheet_needs_no_entry(model: TrainedModel, table: Path, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with Visitor(model, RoomPlan(stream=stream_of(model, table)), audit_log=AuditLog(path, model=model.id)) as visitor:
        visitor.get("/room/static/style.css")
        visitor.get("/room/model")
    assert [json.loads(line).get("route") for line in path.read_text().splitlines()] == [None, "/room/model", None]


def test_without_its_log_no_page_is_answered(model: TrainedModel, table: Path, tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", model=model.id)
    with Visitor(model, RoomPlan(stream=stream_of(model, table)), audit_log=log) as visitor:
        log._failed = True
        page = visitor.get("/")
        assert page.status_code == 503
        assert visitor.ids()[0] not in page.text
        assert "Not now" in text_of(page.text)


def test_the_limits_of_the_service_hold_with_pages_in_words(model: TrainedModel, table: Path) -> None:
    limits = Settings(port=0, rate=3, most_body_bytes=2048)
    with Visitor(model, RoomPlan(stream=stream_of(model, table)), settings=limits) as visitor:
        id = visitor.ids()[1]
        large = visitor.send(f"/room/cases/{id}/if", {"off": "x" * 4000})
        assert large.status_code == 413
        statuses = [visitor.get("/room/model").status_code for _ in range(12)]
        assert 429 in statuses
        slowed = visitor.get("/")
        assert slowed.status_code == 429
        assert slowed.headers["retry-after"]
        assert "Too many requests" in text_of(slowed.text)
        assert "Research software, not a medical device" in text_of(slowed.text)


def test_other_methods_and_media_types_are_told(visitor: Visitor) -> None:
    id = visitor.ids()[1]
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "ZWENTIBOLD"):
        answer = visitor.ask(method, f"/room/cases/{id}")
        assert answer.status_code == 405
        assert answer.headers["content-type"].startswith("text/html")
    for kind in ("application/json", "multipart/form-data; boundary=B", "text/plain", ""):
        answer = visitor.ask("POST", f"/room/cases/{id}/if", content=b"off=note", headers={"content-type": kind})
        assert answer.status_code == 415
    bare = visitor.ask("POST", f"/room/cases/{id}/if", content=b"\xff\xfe=\xff", headers={"content-type": FORM})
    assert bare.status_code == 422
    many = "&".join(f"a{i}=1" for i in range(6_000))
    assert visitor.ask("POST", f"/room/cases/{id}/if", content=many, headers={"content-type": FORM}).status_code == 422


def test_a_table_that_changes_or_goes_is_told_and_not_misread(model: TrainedModel, table: Path, tmp_path: Path) -> None:
    copied = tmp_path / "cases.csv"
    copied.write_bytes(table.read_bytes())
    with Visitor(model, RoomPlan(stream=stream_of(model, copied))) as visitor:
        id = visitor.ids()[30]
        lines = copied.read_bytes().splitlines(keepends=True)
        copied.write_bytes(b"".join([lines[0], *reversed(lines[1:])]))
        changed = visitor.get(f"/room/cases/{id}")
        assert changed.status_code == 503
        assert "must be started again" in text_of(changed.text)
        copied.unlink()
        assert visitor.get(f"/room/cases/{id}").status_code == 503
        assert visitor.get("/room/model").status_code == 200


BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(str.encode),
    st.sampled_from([b"&" * 9000, b"drop=1;off=%00%ff", b"off=" + b"%" * 300]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_no_form_is_a_5xx(visitor: Visitor, body: bytes) -> None:
    for path in ("if", "if.json"):
        answer = visitor.ask(
            "POST",
            f"/room/cases/{visitor.ids()[1]}/{path}",
            content=body,
            headers={"content-type": FORM},
        )
        assert answer.status_code in (200, 413, 422)


WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["../../etc/passwd", "%2e%2e/", "<script>", "'\"><svg onload=alert(1)>", "=1+1", "\x00", "9" * 30, "-1", "²"]
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(
        ["/", "/room/{}", "/room/cases/{}", "/room/cases/ID/films/{}", "/room/cases/ID/{}", "/room/static/{}", "/room/cases/ID"]
    ),
    word=WORDS,
    query=st.dictionaries(
        st.sampled_from(["from", "id", "has", "lacks", "finding", "marks", "similar", "x"]), WORDS, max_size=4
    ),
)
def test_no_address_is_a_5xx_or_comes_back_as_markup(visitor: Visitor, path: str, word: str, query: dict[str, str]) -> None:
    from urllib.parse import quote, urlencode

    address = path.replace("ID", visitor.ids()[1]).replace("{}", quote(word, safe="")) + "?" + urlencode(query)
    answer = visitor.get(address)
    assert answer.status_code < 500
    if answer.headers["content-type"].startswith("text/html"):
        assert "<script>alert" not in answer.text
        assert "<svg onload" not in answer.text
        assert answer.text.count("<script") == 1 or answer.status_code in (303, 307)
