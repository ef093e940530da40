"""How a message becomes a chart by what schemas declare: companions, unstated units, windows, rules, masked words, vectors."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attending.case import UNSTATED, Censoring, Chart, Demographics, Embedding, Lab, Note, Sign
from attending.model.trained import TrainedModel
from attending.model.vectors import VectorsConfig
from attending.records import EACH_ROW, Column, Companion, Role, Schema, to_toml
from attending.records.column import AT_QUESTION, INPUTS, Rule, ValueRules
from attending.service.fields import fields_of
from attending.service.problem import Problem
from attending.service.reading import chart_of, message_of
from tests.explanation.models_at_hand import model_of
from tests.model.cases_at_hand import patients


def schema_of(*columns: Column, **more: Any) -> Schema:
    """Inputs are known at the question, and what is in no unit says so."""
    declared = (replace(each, time=AT_QUESTION) if each.role in INPUTS else each for each in columns)
    stated = (replace(each, unit=each.unit or "unstated") if each.role is Role.NUMBER else each for each in declared)
    return Schema(columns=tuple(stated), patient_rows=EACH_ROW, **more)


@pytest.fixture(scope="module")
def bare() -> TrainedModel:
    return model_of(members=1)


def read(model: TrainedModel, schema: Schema, case: Mapping[str, Any]) -> Chart:
    fields = fields_of(replace(model, schema=to_toml(schema)))
    return chart_of(message_of(json.dumps(case).encode()), fields, request="r")


def pointers(model: TrainedModel, schema: Schema, case: Mapping[str, Any]) -> list[str]:
    with pytest.raises(Problem) as refused:
        read(model, schema, case)
    assert refused.value.status == 422
    return [fault.pointer for fault in refused.value.faults]


CRP = Column(name="crp", role=Role.NUMBER, unit="mg/L")


def test_a_code_of_a_companion_is_held_in_its_unit(bare: TrainedModel) -> None:
    labs = Companion(kind="labs", id="patient", value="value", code="code", unit="unit", units={"na": "mmol/L", "crp": "g/L"})
    schema = schema_of(CRP, Column(name="patient", role=Role.VISIT), companions=(labs,))
    values = [{"code": "na", "value": 0.14, "unit": "mol/L", "at_hours": -5}, {"code": "crp", "value": 1, "unit": "mg/dL"}]
    first, second = read(bare, schema, {"values": values}).of(Lab)
    assert (first.code, first.value, str(first.unit), first.at) == ("na", pytest.approx(140.0), "mmol/L", -5.0)
    assert (second.value, str(second.unit)) == (pytest.approx(10.0), "mg/L")  # the table's own column comes first


def test_notes_and_images_of_companions_have_the_names_that_training_knew(bare: TrainedModel) -> None:
    """Without a code column all are one field, which need not be named."""
    companions = tuple(Companion(kind=kind, id="patient", value="value") for kind in ("notes", "images"))
    schema = schema_of(Column(name="patient", role=Role.VISIT), companions=companions)
    fields = fields_of(replace(bare, schema=to_toml(schema)))
    assert (fields.notes, fields.images) == (("note",), ("image",))
    (note,) = read(bare, schema, {"notes": [{"text": "fever"}]}).of(Note)
    assert note.field_name == "note"


def test_a_code_in_no_unit_takes_none_and_a_pure_number_needs_none(bare: TrainedModel) -> None:
    schema = schema_of(Column(name="score", role=Role.NUMBER), Column(name="ratio", role=Role.NUMBER, unit="1"))
    values = [{"code": "score", "value": 3}, {"code": "ratio", "value": 0.5}, {"code": "ratio", "value": 50, "unit": "%"}]
    score, plain, percent = read(bare, schema, {"values": values}).of(Lab)
    assert score.unit is UNSTATED
    assert (plain.value, percent.value) == (0.5, 0.5)
    assert pointers(bare, schema, {"values": [{"code": "score", "value": 3, "unit": "mg/L"}]}) == ["/values/0/unit"]


def test_values_beyond_a_limit_follow_the_rules_of_their_column(bare: TrainedModel) -> None:
    schema = schema_of(replace(CRP, rules=ValueRules(above=Rule.REFUSED)))
    below, above = ({"values": [{"code": "crp", "value": 5, "unit": "mg/L", "limit": limit}]} for limit in ("below", "above"))
    assert [lab.censoring for lab in read(bare, schema, below).of(Lab)] == [Censoring.BELOW]
    assert pointers(bare, schema, above) == ["/values/0/limit"]


def test_a_reference_range_is_converted_with_its_value(bare: TrainedModel) -> None:
    value = {"code": "crp", "value": 1.2, "unit": "mg/dL", "reference": {"low": 0, "high": 0.5}}
    (lab,) = read(bare, schema_of(CRP), {"values": [value]}).of(Lab)
    assert lab.value == pytest.approx(12.0)
    assert lab.reference == pytest.approx((0.0, 5.0))


def test_what_is_older_than_the_window_is_refused(bare: TrainedModel) -> None:
    schema = schema_of(CRP, Column(name="note", role=Role.NOTE), look_back_hours=24.0)
    old = {"at_hours": -25}
    case = {"values": [{"code": "crp", "value": 1, "unit": "mg/L", **old}], "notes": [{"text": "x", **old}]}
    assert sorted(pointers(bare, schema, case)) == ["/notes/0/at_hours", "/values/0/at_hours"]
    assert len(read(bare, schema, {"notes": [{"text": "x", "at_hours": -24}]}).evidence) == 1


def test_words_that_name_a_label_are_masked_as_the_schema_says(model: TrainedModel) -> None:
    schema = fields_of(model).schema
    text = "sick since Monday"
    for masks, expected in ((False, text), (True, "  since Monday")):
        (note,) = read(model, replace(schema, masks_label_words=masks), {"notes": [{"text": text}]}).of(Note)
        assert note.text == expected


def test_fields_that_the_schema_lacks_are_none_of_this_model(bare: TrainedModel) -> None:
    schema = schema_of(CRP)
    case = {
        "age_years": 5,
        "sex": "f",
        "notes": [{"text": "x"}],
        "images": [{"data": ""}],
        "signs": [{"name": "cough", "level": "no"}],
        "embeddings": [{"name": "e", "vector": []}],
    }
    assert pointers(bare, schema, case) == [
        "/notes/0/field", "/signs/0/name", "/images/0/field", "/embeddings/0/name", "/age_years", "/sex"
    ]  # fmt: skip


def test_unknown_is_no_evidence(bare: TrainedModel) -> None:
    levels = ("no", "yes")
    schema = schema_of(
        Column(name="cough", role=Role.SIGN, levels=levels), Column(name="sex", role=Role.SEX, levels=("m", "f"))
    )
    case = {"signs": [{"name": "cough", "level": "not known"}, {"name": "cough", "level": "YES"}], "sex": "unknown"}
    chart = read(bare, schema, case)
    assert [sign.value for sign in chart.of(Sign)] == ["yes"]
    assert chart.of(Demographics) == ()
    assert [known.sex for known in read(bare, schema, {"sex": "W"}).of(Demographics)] == ["female"]


def test_notes_stand_in_the_order_of_the_schema(bare: TrainedModel) -> None:
    """Words are read with their neighbours, so the order in which they were sent may not matter."""
    schema = schema_of(Column(name="history", role=Role.NOTE), Column(name="indication", role=Role.NOTE))
    notes = [{"field": "indication", "text": "b"}, {"field": "history", "text": "a"}, {"field": "indication", "text": "c"}]
    assert [note.text for note in read(bare, schema, {"notes": notes}).of(Note)] == ["a", "b", "c"]
    assert pointers(bare, schema, {"notes": [{"text": "which?"}]}) == ["/notes/0/field"]


def test_a_vector_has_the_length_that_training_saw() -> None:
    cases = [
        replace_evidence(case, Embedding(name="cxr", vector=np.full(3, number, dtype=np.float32)))
        for number, case in enumerate(patients(8))
    ]
    model = model_of(members=1, modalities=(VectorsConfig(),), cases=cases)
    schema = schema_of(Column(name="cxr", role=Role.EMBEDDING))
    (embedding,) = read(model, schema, {"embeddings": [{"name": "cxr", "vector": [1, 2.5, 3]}]}).of(Embedding)
    assert embedding.vector.tolist() == [1.0, 2.5, 3.0]
    for vector in ([1, 2], [1, 2, 3, 4], [1, 2, 1e300]):
        assert pointers(model, schema, {"embeddings": [{"name": "cxr", "vector": vector}]}) == ["/embeddings/0/vector"]


def replace_evidence(case: Any, evidence: Embedding) -> Any:
    return replace(case, evidence=(evidence,))
