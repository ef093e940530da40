"""Nothing of a patient in any log, error, metric or audit entry, at any level, on any route, also where it is sent amiss."""

import base64
import contextlib
import io
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from attending.model.trained import TrainedModel
from attending.service.audit_log import AuditLog
from attending.service.credentials import new_token, read_tokens
from attending.service.desk import Desk
from tests.service.asking import HERE, WHOLE, Client, listening

NAME = "Zwentibold"
NUMBERS = ("7391.25", "739125", "73.125")
"""A value, an age and a number in a path that stand nowhere else."""
SENTINELS = (NAME, NAME.lower(), base64.b64encode(NAME.encode()).decode()[:12], *NUMBERS)


def film() -> bytes:
    """A picture whose texts and EXIF hold the name."""
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", NAME)
    info.add_itxt("Comment", NAME)
    exif = Image.Exif()
    exif[0x010E] = NAME
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((24, 20), dtype=np.uint8)).save(buffer, "PNG", pnginfo=info, exif=exif)
    return buffer.getvalue()


def photograph() -> bytes:
    """The same as JPEG."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x0112] = NAME, NAME, 6
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((24, 20), dtype=np.uint8)).save(buffer, "JPEG", exif=exif, comment=NAME.encode())
    return buffer.getvalue()


def everywhere() -> list[Any]:
    """Cases with the name and the numbers in every field, right and wrong."""
    note = {"text": f"{NAME} is 73.125 years old, MRN 739125"}
    value = {"code": "crp", "value": 7391.25, "unit": "mg/L"}
    right = {**WHOLE, "notes": [note], "values": [value], "age_years": 73.125, "identity": [NAME], "explanation": "shapley"}
    pictures = [{"data": base64.b64encode(each).decode()} for each in (film(), photograph(), film()[:-60] + NAME.encode())]
    return [
        right,
        *({**right, "images": [picture]} for picture in pictures),
        {NAME: NAME},
        {**right, NAME: 739125},
        {"notes": [{"field": NAME, "text": NAME}]},
        {"notes": [{NAME: NAME, "text": NAME}]},
        {"notes": [{"text": f"{NAME} \ud800"}]},
        {"notes": NAME},
        {"notes": [NAME]},
        {"notes": [{"text": NAME * 9000}]},
        {"values": [{**value, "code": NAME}]},
        {"values": [{**value, "unit": NAME}]},
        {"values": [{**value, "unit": "mmHg"}]},
        {"values": [{**value, "value": f"{NAME} 7391.25"}]},
        {"values": [{**value, "value": [7391.25]}]},
        {"values": [{**value, "limit": NAME}]},
        {"values": [{**value, "reference": {"low": 7391.25, "high": 1, NAME: 1}}]},
        {"values": [{**value, "reference": {"low": 7391.25, "high": 1}}]},
        {"values": [{**value, "at_hours": 7391.25}]},
        {"values": {NAME: value}},
        {"signs": [{"name": NAME, "level": NAME}]},
        {"signs": [{"name": "cough", "level": NAME}]},
        {"age_years": 7391.25},
        {"age_years": NAME},
        {"sex": NAME},
        {"images": [{"data": NAME}]},
        {"images": [{"field": NAME, "data": NAME}]},
        {"images": [{"data": base64.b64encode(NAME.encode() * 9).decode()}]},
        {"embeddings": [{"name": NAME, "vector": [7391.25]}]},
        {"identity": {NAME: NAME}},
        {"explanation": NAME},
        NAME,
        [NAME],
    ]


def bodies() -> list[bytes]:
    """What is no case at all."""
    return [
        NAME.encode(),
        f'{{"{NAME}": NaN}}'.encode(),
        f'{{"{NAME}": 1, "{NAME}": 2}}'.encode(),
        f'{{"age_years": 7391.25, "note": "{NAME}'.encode(),
        NAME.encode() + b"\xff",
        NAME.encode("utf-16"),
    ]


def forms() -> list[bytes]:
    """Uploads with the name wherever a name may stand."""
    part = f'--B\r\nContent-Disposition: form-data; name="{NAME}"; filename="{NAME}.png"\r\nContent-Type: image/{NAME}\r\n\r\n'
    right = part.replace(f'name="{NAME}"', 'name="film"', 1)
    end = b"\r\n--B--\r\n"
    return [
        part.encode() + film() + end,
        right.encode() + film() + end,
        right.encode() + NAME.encode() + end,
        f"--B\r\n{NAME}: {NAME}\r\n\r\n{NAME}".encode() + end,
        f"--B{NAME}\r\n{NAME}".encode(),
        NAME.encode(),
        f"--B\r\n{NAME} {NAME}\r\n\r\n".encode() + end,
        f'--B\r\nContent-Disposition: form-data; name="case"\r\n\r\n{{"{NAME}": 1}}'.encode() + end,
    ]


class Listener(logging.Handler):
    """Every record of every logger, as it would be written down, with its arguments and its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] not in ("httpx", "httpcore"):  # the client's own
            self.lines.append(f"{record.name} {self.format(record)} {record.args!r}")


@pytest.fixture
def listener() -> Iterator[Listener]:
    """All loggers at DEBUG, also those that are made later."""
    heard = Listener()
    root = logging.getLogger()
    before = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    service = logging.getLogger("attending.service")
    service.setLevel(logging.DEBUG)
    yield heard
    root.removeHandler(heard)
    root.setLevel(before)
    service.setLevel(logging.NOTSET)


def found_in(*texts: str) -> list[str]:
    return [
        f"{sentinel}: {text[max(0, at - 80) : at + 80]}"
        for text in texts
        for sentinel in SENTINELS
        if (at := text.find(sentinel)) >= 0
    ]


def test_no_word_of_a_patient_is_written_down(
    model: TrainedModel, tmp_path: Path, listener: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    path, tokens = tmp_path / "audit.jsonl", tmp_path / "tokens.txt"
    token = {"authorization": f"Bearer {new_token(tokens, 'ward-7')}"}
    errors: list[str] = []
    statuses = set()
    with Client(model, credentials=read_tokens(tokens), audit_log=AuditLog(path, model=model.id)) as client:

        def ask(method: str, url: str, **more: Any) -> None:
            more["headers"] = {"x-patient": NAME, "cookie": NAME, "user-agent": NAME, "referer": f"{HERE}/{NAME}"} | more.get(
                "headers", {}
            )
            answer = client.ask(method, url, **more)
            statuses.add(answer.status_code)
            errors.append(answer.text)
            errors.append(repr(answer.headers))

        for case in everywhere():
            ask("POST", "/v1/diagnoses", content=json.dumps(case), headers={"content-type": "application/json", **token})
        for body in bodies():
            ask("POST", "/v1/diagnoses", content=body, headers={"content-type": "application/json", **token})
        for form in forms():
            ask(
                "POST",
                "/v1/diagnoses/upload",
                content=form,
                headers={"content-type": "multipart/form-data; boundary=B", **token},
            )
        ask(
            "POST", "/v1/diagnoses/upload", content=b"", headers={"content-type": f"multipart/{NAME}; boundary={NAME}", **token}
        )
        for url in (f"/{NAME}", f"/v1/model?patient={NAME}&mrn=739125", f"/v1/model/{NAME}/739125", f"/v1/model/?{NAME}"):
            for method in ("GET", "POST", "DELETE", NAME):
                ask(method, url, headers=token)
                ask(method, url, headers={"authorization": f"Bearer {NAME}"})
        metrics = client.ask("GET", "/metrics", headers=token).text
    assert {200, 400, 401, 404, 405, 415, 422} <= statuses
    assert not [status for status in statuses if status >= 500]
    assert len(listener.lines) > 50
    said = capfd.readouterr()
    assert found_in(*errors) == []
    assert found_in(*listener.lines) == []
    assert found_in(metrics, path.read_text(), said.out, said.err) == []


def test_an_unexpected_error_is_told_by_its_place_alone(
    model: TrainedModel, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library puts into its messages."""

    def fails(*_: object) -> None:
        raise ValueError(f"cannot read {NAME} 7391.25") from KeyError(NAME)

    with Client(model) as client, monkeypatch.context() as patch:
        patch.setattr(Desk, "read", fails)
        answer = client.diagnose({"notes": [{"text": NAME}]})
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal Server Error"
    (line,) = [line for line in listener.lines if "failed" in line]
    assert answer.headers["x-request-id"] in line
    assert "ValueError at" in line
    assert found_in(*listener.lines, answer.text) == []


def test_the_server_writes_no_path_or_header(model: TrainedModel, listener: Listener) -> None:
    """What uvicorn logs by itself, over a socket."""
    with listening(model) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        for request in (
            f"GET /{NAME}?{NAME} HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {NAME}\r\nConnection: close\r\n\r\n",
            f"{NAME} {NAME}\r\n{NAME}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            f"GET /{NAME} HTTP/1.1\r\nContent-Length: {NAME}\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=0.5) as made:
                made.sendall(request.encode())
                with contextlib.suppress(TimeoutError):
                    assert NAME.encode() not in made.recv(65_536)
    assert any(line.startswith("uvicorn.error") for line in listener.lines)
    assert found_in(*listener.lines) == []
