"""Roles from names and cells, each with its reason; what may leak is left out."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from attending.records import EACH_ROW, Role, Schema, SchemaError, TargetKind, aim, infer_schema, read_table, restrict
from attending.records.column import AT_QUESTION, UNRECORDED_TIME, UNSTATED

Write = Callable[..., Path]
PROSE = [
    "fever and dry cough since three days",
    "sent in by the family doctor with chest pain",
    "no complaints at rest today at all",
]


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Mapping[str, Callable[[int], str]]], Path]:
    """Write 60 rows, each cell a function of its row number; a patient and a target are added."""

    def write(columns: Mapping[str, Callable[[int], str]]) -> Path:
        columns = {"patient_id": lambda i: f"p{i // 2}", **columns, "dx": lambda i: "10"[i % 3 > 0]}
        lines = [",".join(columns)] + [",".join(f'"{cell(i)}"' for cell in columns.values()) for i in range(60)]
        path = tmp_path / "t.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def _noise(i: int) -> float:
    return random.Random(i).random()


@pytest.mark.parametrize(
    ("name", "cell", "role"),
    [
        ("visit_id", lambda i: str(i % 3), Role.VISIT),
        ("visit_id", lambda i: f"v{i}", Role.ID),
        ("study_id", lambda i: f"s{i}", Role.ID),
        ("case", lambda i: str(i % 2), Role.SIGN),  # case or control, not the name of a case
        ("family_id", lambda i: f"f{i // 4}", Role.GROUP),
        ("group", lambda i: "AB"[i % 2], Role.SIGN),  # an arm: parting by it would leave nothing to part
        ("hospital", lambda i: "ABC"[i % 3], Role.SITE),
        ("admission_time", lambda i: f"2020-03-{1 + i % 28:02} 10:00", Role.ASKED_AT),
        ("last_seen", lambda i: f"2020-03-{1 + i % 28:02}", Role.BOOKKEEPING),
        ("surname", lambda i: f"Name{i}", Role.IDENTITY),
        ("e_mail", lambda i: f"a{i}@b.org", Role.IDENTITY),
        ("hospital_number", lambda i: f"{i + 1000}", Role.IDENTITY),
        ("age", lambda i: str(20 + i), Role.AGE),
        ("gender", lambda i: "MF"[i % 2], Role.SEX),
        ("film", lambda i: f"images/{i}.png", Role.IMAGE),
        ("image_path", lambda i: f"images/{i}.png", Role.IMAGE),
        ("source_file", lambda i: f"{i}.png", Role.BOOKKEEPING),
        ("lung_mask", lambda i: f"masks/{i}.png", Role.OUTCOME),
        ("indication", lambda i: PROSE[i % 3] + f" {i}", Role.NOTE),
        ("anything", lambda i: PROSE[i % 3] + f" {i}", Role.NOTE),
        ("crp_mg_l", lambda i: f"{_noise(i):.3f}", Role.NUMBER),
        ("pain", lambda i: ["no", "yes"][int(_noise(i) > 0.5)], Role.SIGN),
        ("ecg_vector", lambda i: f"[0.1, 0.2, {_noise(i)}]", Role.EMBEDDING),
        ("projection", lambda i: ["PA", "AP"][i % 2], Role.VIEW),
        ("dx_confirmed_by", lambda i: ["a", "b"][i % 2], Role.OUTCOME),
        ("discharge_letter", lambda i: PROSE[i % 3], Role.OUTCOME),
        ("icd10", lambda i: ["J18", "I21"][i % 2], Role.OUTCOME),
        ("length_of_stay_days", str, Role.OUTCOME),
        ("previous_surgery", lambda i: ["no", "yes"][int(_noise(i) > 0.5)], Role.SIGN),
        ("file_name", lambda i: f"x{i}", Role.BOOKKEEPING),
        ("more", lambda i: f"https://x.org/{i}", Role.BOOKKEEPING),
        ("ct_performed", lambda i: ["no", "yes"][int(_noise(i) > 0.5)], Role.BOOKKEEPING),
        ("alvarado_score", lambda i: str(i % 9), Role.IGNORED),
        ("copy", lambda i: "yn"[int(i % 3 > 0)], Role.OUTCOME),  # the target by another name
        ("empty", lambda i: "", Role.IGNORED),
        ("constant", lambda i: "x", Role.IGNORED),
        ("colour", lambda i: f"c{i}", Role.IGNORED),
    ],
)
def test_a_column_gets_its_role(table: Callable, name: str, cell: Callable[[int], str], role: Role) -> None:
    column = infer_schema(read_table(table({name: cell})), targets=["dx"]).column(name)
    assert (column.role, bool(column.why)) == (role, True), column.why


def test_units_and_times_are_written_down_and_never_made_up(table: Callable) -> None:
    path = table(
        {
            "crp_mg_l": lambda i: f"{_noise(i):.3f}",
            "crp_time_hours": lambda i: str(-i),
            "glucose": lambda i: f"{_noise(i):.3f}",
            "glucose_unit": lambda i: ["mg/dl", "mmol/l", "mg/dL"][i % 3],
            "lactate": lambda i: f"{_noise(i + 99):.3f}",
            "ldh_u_l": lambda i: f"{_noise(i + 999):.3f}",
            "ldh_hours": lambda i: str(-i),
        }
    )
    schema = infer_schema(read_table(path), targets=["dx"])
    assert (schema.column("ldh_u_l").time, schema.column("ldh_hours").unit) == ("ldh_hours", "h")
    assert (schema.column("glucose").unit, schema.column("glucose").unit_column) == ("mg/dL", "glucose_unit")
    assert (schema.column("lactate").unit, schema.column("lactate").time) == (UNSTATED, UNRECORDED_TIME)
    assert any("lactate" in sentence for sentence in schema.undeclared())


def test_a_second_site_is_for_judging_not_for_predicting(table: Callable) -> None:
    path = table({"site": lambda i: "AB"[i % 2], "source": lambda i: "XY"[i % 2], "age": str, "age_years": str})
    schema = infer_schema(read_table(path), targets=["dx"])
    assert [schema.column(name).role for name in ("site", "source")] == [Role.SITE, Role.STRATUM]
    assert {schema.column(name).role for name in ("age", "age_years")} == {Role.AGE, Role.IGNORED}


def test_the_same_texts_twice_are_one_note(table: Callable) -> None:
    path = table({"note": lambda i: PROSE[i % 3] + str(i), "indication": lambda i: PROSE[i % 3] + str(i)})
    schema = infer_schema(read_table(path), targets=["dx"])
    assert [schema.column(name).role for name in ("note", "indication")] == [Role.NOTE, Role.IGNORED]


def test_infinity_stands_for_beyond_the_largest_value_seen(table: Callable) -> None:
    path = table({"ddimer_mg_l": lambda i: "inf" if i == 3 else str(i / 10)})
    rules = infer_schema(read_table(path), targets=["dx"]).column("ddimer_mg_l").rules
    assert (rules.detection_low, rules.detection_high) == (None, 5.9)


def test_no_patient_column_is_refused_unless_declared(csv: Write) -> None:
    path = csv("""
        name_of_row,crp,dx
        a,1,0
        b,2,1
    """)
    with pytest.raises(SchemaError, match=r"no column names the patient.*--patient"):
        infer_schema(read_table(path), targets=["dx"])
    assert infer_schema(read_table(path), targets=["dx"], patient=EACH_ROW).patient_rows == EACH_ROW
    assert infer_schema(read_table(path), targets=["dx"], patient="name_of_row").one(Role.PATIENT).name == "name_of_row"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"targets": ["dxx"]}, 'no column "dxx", which was named as the target. Did you mean "dx"'),
        ({"targets": ["dx"], "only": ["crpp"]}, 'no column "crpp", which was named as an input'),
        ({"targets": ["dx"], "ignore": ["no"]}, 'no column "no", which was named as a column to ignore'),
        ({"targets": ["dx"], "ignore": ["dx"]}, '"dx" is the target and also named'),
        ({"targets": ["dx"], "ignore": ["patient_id"]}, '"patient_id" is the patient and cannot be ignored'),
        ({"targets": ["dx"], "only": ["patient_id"]}, "cannot be an input: patient"),
        ({"targets": ["dx"], "only": ["blank"]}, "cannot be an input: ignored .empty or unknown in every row"),
        ({"targets": ["dx"], "positive": "2"}, 'no row has the positive value "2"'),
        ({"targets": ["site"]}, "the target has 1 class among 4 known rows"),
        ({"targets": ["dx"], "patient": "person"}, 'no column "person", which was named as the patient column'),
    ],
)
def test_requests_that_do_not_fit_are_refused(csv: Write, options: dict, expected: str) -> None:
    path = csv("""
        patient_id,site,crp,blank,dx
        a,A,1,,0
        b,A,2,?,1
        c,A,3,,0
        d,A,4,,?
    """)
    with pytest.raises(SchemaError, match=expected):
        infer_schema(read_table(path), **options)


def test_ignore_and_only_choose_among_inputs(table: Callable) -> None:
    path = table(
        {
            "crp": lambda i: f"{_noise(i):.3f}",
            "ldh": lambda i: f"{_noise(-i - 1):.3f}",
            "alvarado_score": lambda i: str(int(9 * _noise(i))),
        }
    )
    rows = read_table(path)
    assert [c.name for c in infer_schema(rows, targets=["dx"], ignore=["crp"]).inputs] == ["ldh"]
    only = infer_schema(rows, targets=["dx"], only=["alvarado_score"])
    assert [c.name for c in only.inputs] == ["alvarado_score"]
    assert "by itself it would be left out" in only.column("alvarado_score").why
    assert [c.name for c in restrict(infer_schema(rows, targets=["dx"]), only=["ldh"]).inputs] == ["ldh"]
    assert infer_schema(rows, targets=["dx"]).column("patient_id").role is Role.PATIENT


def test_age_and_sex_hold_at_the_question(table: Callable) -> None:
    schema = infer_schema(read_table(table({"age_years": str, "sex": lambda i: "mf"[i % 2]})), targets=["dx"])
    assert (schema.column("age_years").time, schema.column("sex").time) == (AT_QUESTION, AT_QUESTION)


def test_aiming_at_another_target_keeps_the_old_one_out(table: Callable) -> None:
    path = table({"other": lambda i: "xyz"[int(3 * _noise(i))], "crp": lambda i: f"{_noise(i):.3f}"})
    rows = read_table(path)
    schema: Schema = infer_schema(rows, targets=["dx"])
    assert aim(schema, rows, targets=["dx"]) is schema
    aimed = aim(schema, rows, targets=["other"])
    assert aimed.column("dx").role is Role.OUTCOME
    assert (aimed.findings, aimed.exclusive, aimed.targets[0].kind) == (("x", "y", "z"), True, TargetKind.CLASSES)
    assert aimed.column("crp") == schema.column("crp")
