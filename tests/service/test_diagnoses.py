"""What is answered: as `attending predict`, whoever else asks; missing inputs and abstentions by name; Shapley values."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attending.model.trained import TrainedModel
from tests.command_line import call
from tests.explanation.models_at_hand import EITHER, model_of
from tests.service.asking import WHOLE, Client, case_of_row

NOTICE = "Research software, not a medical device; not for decisions about patients"


@pytest.fixture(scope="module")
def client(model: TrainedModel) -> Iterator[Client]:
    with Client(model) as made:
        yield made


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def predicted(folder: Path) -> list[dict[str, str]]:
    out = folder / "predictions.csv"
    said = call("predict", folder / "model", folder / "table.csv", "--out", out, "--threads", "1")
    assert said.code == 0, said.err
    return rows_of(out)


def test_the_served_estimate_is_that_of_predict(client: Client, folder: Path, predicted: list[dict[str, str]]) -> None:
    rows = rows_of(folder / "table.csv")
    assert len(rows) == len(predicted) == 40
    requests = [{"method": "POST", "url": "/v1/diagnoses", "json": case_of_row(row, folder)} for row in rows]
    for expected, answer in zip(predicted, client.together(*requests), strict=True):
        assert answer.status_code == 200, answer.text
        said = answer.json()
        (estimate,) = said["estimates"]
        assert said["notice"] == NOTICE
        assert said["model"] == expected["model"]
        assert estimate["finding"] == expected["finding"]
        assert (said["abstained"] or "") == expected["abstained"]
        assert "+".join(said["missing"]) == expected["missing"]
        if expected["abstained"]:
            assert estimate["estimated_probability"] is None
            continue
        assert abs(estimate["estimated_probability"] - float(expected["p_calibrated"])) <= 1e-6
        assert estimate["presence_in_set"] == bool(int(expected["in_set"]))


def test_company_changes_no_answer(client: Client, folder: Path) -> None:
    cases = [case_of_row(row, folder) for row in rows_of(folder / "table.csv")[:16]]
    alone = [client.diagnose(case).json()["estimates"][0]["estimated_probability"] for case in cases]
    requests = [{"method": "POST", "url": "/v1/diagnoses", "json": case} for case in cases]
    together = [answer.json()["estimates"][0]["estimated_probability"] for answer in client.together(*requests)]
    assert together == pytest.approx(alone, abs=1e-6)


def test_an_empty_case_abstains_and_names_what_is_missing(client: Client) -> None:
    answer = client.diagnose({"explanation": "shapley"})
    assert answer.status_code == 200
    said = answer.json()
    assert said["abstained"] == "no evidence of a kind that the model reads"
    assert set(said["missing"]) == {"lab", "sign", "demographics", "note", "image"}
    assert set(said["missing_fields"]) == {"crp", "cough", "age_years", "sex", "note", "film"}
    assert said["estimates"] == [
        {"finding": "sick", "estimated_probability": None, "presence_in_set": None, "absence_in_set": None}
    ]
    assert said["explanation"] is None


def test_shapley_values_add_up_to_the_estimate(client: Client) -> None:
    said = client.diagnose({**WHOLE, "explanation": "shapley"}).json()
    (shares,) = said["explanation"]["findings"]
    p = said["estimates"][0]["estimated_probability"]
    assert [each["modality"] for each in shares["contributions"]] == ["lab", "sign", "demographics", "note"]
    assert shares["with_all_evidence"] == pytest.approx(math.log(p / (1 - p)), abs=1e-5)
    total = shares["without_evidence"] + sum(each["value"] for each in shares["contributions"])
    assert total == pytest.approx(shares["with_all_evidence"], abs=1e-9)
    assert "not the effect of a treatment" in said["explanation"]["meaning"]


@pytest.mark.parametrize(
    "changed",
    [
        {"values": [{"code": "crp", "value": 3.15, "unit": "mg/dL"}]},
        {"values": [{"code": "crp", "value": 31_500, "unit": "ug/L"}]},
        {"sex": "female"},
        {"signs": [{"name": "cough", "level": "Wet"}]},
        {"notes": [{"text": "   "}, *WHOLE["notes"]]},
    ],
)
def test_the_same_in_other_words_is_answered_the_same(client: Client, changed: dict[str, Any]) -> None:
    first, second = (client.diagnose(case).json()["estimates"] for case in (WHOLE, {**WHOLE, **changed}))
    assert second[0]["estimated_probability"] == pytest.approx(first[0]["estimated_probability"], abs=1e-6)


def test_a_film_as_a_file_is_the_film_as_base64(client: Client, folder: Path) -> None:
    row = rows_of(folder / "table.csv")[0]
    case = case_of_row(row, folder)
    by_json = client.diagnose(case).json()
    film = (folder / row["film"]).read_bytes()
    rest = json.dumps({key: value for key, value in case.items() if key != "images"}).encode()
    files = [("case", ("case.json", rest, "application/json")), ("film", ("film.png", film, "image/png"))]
    answer = client.ask("POST", "/v1/diagnoses/upload", files=files)
    assert answer.status_code == 200, answer.text
    assert answer.json()["estimates"] == by_json["estimates"]
    assert answer.json()["missing"] == []


def test_identity_is_taken_out_of_the_notes(client: Client) -> None:
    """The model's vocabulary has "fever": where that is the patient's name, it is not read."""
    plain = {"notes": [{"text": "fever fever fever cough"}]}
    named = client.diagnose({**plain, "identity": ["Fever"]}).json()
    replaced = client.diagnose({"notes": [{"text": "[identity] [identity] [identity] cough"}]}).json()
    assert named["estimates"] == replaced["estimates"]
    assert named["estimates"] != client.diagnose(plain).json()["estimates"]


def test_the_model_tells_what_it_reads(client: Client) -> None:
    said = client.ask("GET", "/v1/model").json()
    assert said["notice"] == NOTICE
    assert said["findings"] == ["sick"]
    assert said["values"] == [{"code": "crp", "unit": "mg/L"}]
    assert said["signs"] == [{"name": "cough", "levels": ["dry", "no", "wet"]}]
    assert said["notes"] == ["note"]
    assert said["images"] == ["film"]
    assert said["sex"] == ["female", "male"]


def test_the_description_is_openapi_and_says_what_this_is_not(client: Client) -> None:
    said = client.ask("GET", "/openapi.json").json()
    assert NOTICE in said["info"]["description"]
    assert set(said["paths"]) == {"/v1/diagnoses", "/v1/diagnoses/upload", "/v1/model", "/health", "/ready", "/metrics"}
    assert said["components"]["schemas"]["ValueIn"]["properties"]["code"]["examples"] == ["crp"]


def test_every_answer_carries_the_notice(client: Client) -> None:
    for method, path in (("GET", "/health"), ("GET", "/ready"), ("GET", "/v1/model"), ("GET", "/nowhere"), ("PUT", "/ready")):
        answer = client.ask(method, path)
        assert answer.json()["notice"] == NOTICE
        assert answer.headers["attending-notice"] == NOTICE
    assert NOTICE in client.ask("GET", "/metrics").text


def test_findings_that_exclude_each_other_sum_to_one_and_share_log_probabilities(model: TrainedModel) -> None:
    either = replace(model_of(task=EITHER, members=1), schema=model.schema)
    with Client(either) as asked:
        said = asked.diagnose({"age_years": 61, "sex": "f", "explanation": "shapley"}).json()
    assert said["exclusive"] is True
    assert [each["finding"] for each in said["estimates"]] == ["sick", "old"]
    assert sum(each["estimated_probability"] for each in said["estimates"]) == pytest.approx(1.0)
    assert {each["absence_in_set"] for each in said["estimates"]} == {None}
    assert {each["unit"] for each in said["explanation"]["findings"]} == {"log-probability"}
