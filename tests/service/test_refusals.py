"""What is refused, with the field and the remedy, and what no body may bring about: an answer 5xx."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from attending.model.trained import TrainedModel
from tests.service.asking import WHOLE, Client

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(model: TrainedModel) -> Iterator[Client]:
    with Client(model) as made:
        yield made


def png(width: int, height: int) -> bytes:
    """A picture that says it is so large, and holds one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = png(4, 1)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def value(**changed: Any) -> dict[str, Any]:
    return {"values": [{"code": "crp", "value": 5.0, "unit": "mg/L", **changed}]}


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": ({"note": "fever"}, "", 'did you mean "notes"?'),
    "unknown field, not near one": ({"mrn": "17"}, "", "known are"),
    "unknown field of a value": (value(units="mg/L"), "/values/0", 'did you mean "unit"?'),
    "unknown code": (value(code="crpp"), "/values/0/code", 'did you mean "crp"?'),
    "wrong unit": (value(unit="mmHg"), "/values/0/unit", 'converts to "mg/L"'),
    "unknown unit": (value(unit="bananas"), "/values/0/unit", 'converts to "mg/L"'),
    "no unit": (value(unit=None), "/values/0/unit", 'the model holds "mg/L"'),
    "text for a number": (value(value="5"), "/values/0/value", "openapi"),
    "true for a number": (value(value=True), "/values/0/value", "openapi"),
    "too large once converted": (value(value=1e308, unit="kg/L"), "/values/0/value", "check the value"),
    "range upside down": (value(reference={"low": 5, "high": 1}), "/values/0/reference", "exchange"),
    "later than the question": (value(at_hours=0.5), "/values/0/at_hours", "0 or below"),
    "unknown sign": ({"signs": [{"name": "sneeze", "level": "no"}]}, "/signs/0/name", '"cough"'),
    "level not listed": ({"signs": [{"name": "cough", "level": "loud"}]}, "/signs/0/level", '"dry", "no", "wet"'),
    "unknown note field": ({"notes": [{"field": "letter", "text": "x"}]}, "/notes/0/field", '"note"'),
    "a million characters": ({"notes": [{"text": "a" * 1_000_000}]}, "/notes/0/text", "shorten"),
    "half a character": ({"notes": [{"text": "\ud800"}]}, "/notes/0/text", "whole characters"),
    "sex": ({"sex": "unsaid"}, "/sex", '"female", "male"'),
    "age below": ({"age_years": -1}, "/age_years", "check"),
    "age above": ({"age_years": 131}, "/age_years", "130"),
    "age of 400 digits": ({"age_years": 10**400}, "/age_years", "openapi"),
    "embedding": ({"embeddings": [{"name": "emb", "vector": [1.0]}]}, "/embeddings/0/name", "leave it out"),
    "no base64": ({"images": [{"data": "!!"}]}, "/images/0/data", "RFC 4648"),
    "no picture": ({"images": [{"data": encoded(b"GIF89a")}]}, "/images/0/data", "PNG or JPEG"),
    "a picture bomb": ({"images": [{"data": encoded(png(65_000, 65_000))}]}, "/images/0/data", "shrink"),
    "explanation": ({"explanation": "lime"}, "/explanation", "lists them"),
    "too many notes": ({"notes": [{"text": "x"}] * 101}, "/notes", "leave some out"),
    "a list": ([], "", "openapi"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_field_and_remedy(client: Client, name: str) -> None:
    case, pointer, remedy = FAULTS[name]
    answer = client.ask("POST", "/v1/diagnoses", content=json.dumps(case), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (fault,) = answer.json()["faults"]
    assert fault["pointer"] == pointer
    assert remedy in fault["remedy"]


def test_all_faults_of_a_case_are_told_at_once(client: Client) -> None:
    answer = client.diagnose({**value(unit="mmHg"), "sex": "x", "signs": [{"name": "cough", "level": "loud"}] * 30})
    said = answer.json()
    assert [fault["pointer"] for fault in said["faults"][:2]] == ["/values/0/unit", "/signs/0/level"]
    assert len(said["faults"]) == 20
    assert said["more_faults"] == 12
    assert said["detail"].startswith("32 fields")


def test_a_case_full_of_faults_costs_no_more_than_a_few(client: Client) -> None:
    """Two thousand unknown codes and units, each of which somebody might have meant something by."""
    odd = [{"code": f"crq{number}", "value": number, "unit": f"mq/{number}"} for number in range(2000)]
    units = [{**each, "code": "crp"} for each in odd]
    shapes = [{**each, "value": "x", f"valu{each['value']}": 1} for each in odd]
    began = process_time()
    answers = [client.diagnose({"values": values}).json() for values in (odd, units, shapes)]
    assert process_time() - began < 3.0
    assert [len(answer["faults"]) + answer["more_faults"] for answer in answers] == [100, 100, 4000]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b'{"age_years": NaN}', 400, "not finite"),
        (b'{"age_years": 1e999}', 422, "cannot be read"),
        (b'{"age_years": ' + b"1" * 5000 + b"}", 400, "JSON"),
        (b'{"sex": "f", "sex": "m"}', 400, "twice"),
        (b"[" * 200_000, 400, "deeply"),
        (b"null", 422, "cannot be read"),
    ],
)
def test_what_is_no_case_is_refused(client: Client, body: bytes, status: int, says: str) -> None:
    answer = client.ask("POST", "/v1/diagnoses", content=body, headers=JSON)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


def test_media_types_and_compression_are_refused(client: Client) -> None:
    assert client.ask("POST", "/v1/diagnoses", content=b"{}").status_code == 415
    assert client.ask("POST", "/v1/diagnoses", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.ask("POST", "/v1/diagnoses", content=b"{}", headers=JSON | {"content-encoding": "gzip"}).status_code == 415
    assert client.ask("POST", "/v1/diagnoses/upload", content=b"{}", headers=JSON).status_code == 415


FORM = {"content-type": "multipart/form-data; boundary=B"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nothing", 400),
        (b"--B\r\n", 400),
        (b'--B\r\nContent-Disposition: form-data; name="film"\r\n\r\nno picture\r\n--B--\r\n', 422),
        (b'--B\r\nContent-Disposition: form-data; name="other"\r\n\r\n\r\n--B--\r\n', 422),
        (b"--B\r\nX: y\r\n\r\n\r\n--B--\r\n", 422),
        (b'--B\r\nContent-Disposition: form-data; name="case"\r\n\r\n{}\r\n' * 2 + b"--B--\r\n", 422),
        (b'--B\r\nContent-Disposition: form-data; name="film"\r\n\r\n\r\n' * 40 + b"--B--\r\n", 422),
        (b"--B\r\n" + b"X: y\r\n" * 1000 + b"\r\n--B--\r\n", 400),
        (b'--B\r\nContent-Disposition: form-data; name="case"\r\n\r\n{}\r\n--B--\r\n', 200),
    ],
)
def test_uploads_that_are_none_are_refused(client: Client, body: bytes, status: int) -> None:
    assert client.ask("POST", "/v1/diagnoses/upload", content=body, headers=FORM).status_code == status


def test_a_picture_is_looked_at_before_it_is_decoded(client: Client) -> None:
    """16 bits, colour, palette and transparency are read; what holds less than its header says is refused."""
    for mode in ("L", "RGB", "RGBA", "P", "I;16", "LA", "1"):
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((8, 6), dtype=np.uint16 if mode == "I;16" else np.uint8)).convert(mode).save(buffer, "PNG")
        assert client.diagnose({"images": [{"data": encoded(buffer.getvalue())}]}).status_code == 200, mode
    assert client.diagnose({"images": [{"data": encoded(PICTURE[:45])}]}).status_code == 422


def test_a_long_note_is_answered(client: Client) -> None:
    """As long as a note may be, and of what patterns like least."""
    text = "a-" * 25_000
    assert client.diagnose({"notes": [{"text": text}]}).status_code == 200
    answer = client.diagnose({"notes": [{"text": text}], "explanation": "shapley"})
    assert (answer.status_code, "no explanation" in answer.text) == (422, True)


def test_extreme_values_are_answered_or_turned_away_by_the_model(client: Client) -> None:
    for amount in (0.0, -1e300, 1e300, 5e-324):
        answer = client.diagnose({**WHOLE, **value(value=amount)})
        assert answer.status_code == 200, answer.text


words = st.text(max_size=30) | st.sampled_from(["crp", "cough", "note", "film", "mg/L", "wet", "f", "shapley"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words, lambda each: st.lists(each, max_size=3), max_leaves=5
)
entries = st.lists(
    st.dictionaries(
        st.sampled_from(["field", "text", "code", "value", "unit", "name", "level", "at_hours", "data", "vector", "limit"]),
        plain,
        max_size=4,
    ),
    max_size=3,
)
members = st.sampled_from(
    ["notes", "values", "signs", "images", "embeddings", "age_years", "sex", "identity", "explanation", "else"]
)
cases = st.dictionaries(members, plain | entries, max_size=5)


def is_told(answer: Any) -> bool:
    return bool(answer.status_code < 500 and (answer.status_code == 200 or answer.json()["detail"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases | plain)
def test_no_json_is_answered_5xx(client: Client, case: Any) -> None:
    assert is_told(client.ask("POST", "/v1/diagnoses", content=json.dumps(case), headers=JSON))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["/v1/diagnoses", "/v1/diagnoses/upload"]))
def test_no_bytes_are_answered_5xx(client: Client, body: bytes, path: str) -> None:
    for headers in (JSON, FORM):
        assert is_told(client.ask("POST", path, content=body, headers=headers))


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases)
def test_no_json_is_answered_5xx_at_length(client: Client, case: Any) -> None:
    assert is_told(client.ask("POST", "/v1/diagnoses", content=json.dumps(case), headers=JSON))


valid = st.fixed_dictionaries(
    {},
    optional={
        "notes": st.lists(st.fixed_dictionaries({"text": st.text(st.characters(exclude_categories=["Cs"]))}), max_size=3),
        "values": st.lists(
            st.fixed_dictionaries(
                {
                    "code": st.just("crp"),
                    "value": st.floats(allow_nan=False, allow_infinity=False),
                    "unit": st.sampled_from(["mg/L", "mg/dL", "g/L"]),
                },
                optional={"at_hours": st.floats(-1e6, 0), "limit": st.sampled_from(["below", "above"])},
            ),
            max_size=3,
        ),
        "signs": st.lists(
            st.fixed_dictionaries({"name": st.just("cough"), "level": st.sampled_from(["no", "dry", "wet", "unknown"])}),
            max_size=2,
        ),
        "age_years": st.floats(0, 130),
        "sex": st.sampled_from(["m", "F", "male", "unknown"]),
        "explanation": st.sampled_from([None, "shapley"]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(valid)
@example({"values": [{"code": "crp", "value": 1.7527508064907574e308, "unit": "mg/L"}]})
def test_what_is_right_is_answered(client: Client, case: Any) -> None:
    """200 with a number between 0 and 1 or an abstention; 422 only for a value that the unit makes too large."""
    answer = client.ask("POST", "/v1/diagnoses", content=json.dumps(case), headers=JSON)
    if answer.status_code == 422:
        assert {fault["pointer"].split("/")[-1] for fault in answer.json()["faults"]} == {"value"}
        return
    assert answer.status_code == 200, answer.text
    said = answer.json()
    for estimate in said["estimates"]:
        p = estimate["estimated_probability"]
        assert (p is None) == (said["abstained"] is not None)
        assert p is None or 0.0 <= p <= 1.0
