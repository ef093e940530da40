"""What commands say and take when nothing is wrong: names, companions, plans, and a help that loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from attending.records import Role, load_schema
from tests.command_line import ASKED, IGNORE, Said, call, declared, refused
from tests.tables import rows, write_rows

ROOT = Path(__file__).parents[1]
FAST = ("--protocol", "split", "--seeds", "1", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table inside, so that what a refused command leaves anywhere near is seen."""
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "table.csv", rows(40))
    return tmp_path / "data"


def test_a_patient_can_be_named_or_every_row_declared_a_person(folder: Path) -> None:
    renamed = [{("who" if name == "patient_id" else name): cell for name, cell in row.items()} for row in rows(40)]
    table = write_rows(folder / "changed.csv", renamed)
    for command in ("schema", "plan", "audit"):
        refused(call(command, table, *ASKED), "no column names the patient", "--patient COLUMN", '--patient "each row"')
        for patient in ("who", "each row"):
            out = ("--out", folder / f"{patient}.toml") if command == "schema" else ()
            assert call(command, table, *ASKED, "--patient", patient, *out).code == 0
    assert [column.name for column in load_schema(folder / "who.toml").of(Role.PATIENT)] == ["who"]
    assert load_schema(folder / "each row.toml").patient_rows == "each row"
    both = call("plan", table, "--schema", folder / "who.toml", "--patient", "who")
    refused(both, "who.toml declares who the patient is")
    refused(call("plan", table, *ASKED, "--patient", "whom"), 'no column "whom"', 'Did you mean "who"?')


def test_plan_takes_the_options_of_a_run(folder: Path) -> None:
    table = folder / "table.csv"
    refused(call("plan", table), "no --target: name the column to predict")
    refused(call("plan", table, *ASKED, "--protocol", "magic"), "--protocol magic: expected one of auto, split, cv")
    refused(call("plan", table, *ASKED, "--strict"), "under --strict every unit and time is declared")
    assert "3 folds × 2 repeats" in call("plan", table, *ASKED, "--folds", "3", "--repeats", "2").out
    assert "four-way split" in call("plan", table, *ASKED, "--protocol", "split").out
    everyone, few = call("plan", table, *ASKED), call("plan", table, *ASKED[:2], "--only", "age,sex")
    assert "pattern = sign+demographics" in everyone.out
    assert "+demographics" not in few.out


def test_predict_names_a_companion_that_was_not_given(folder: Path) -> None:
    values = [{"patient_id": row["patient_id"], "code": "ldh", "value": row["age"], "unit": "U/L"} for row in rows(40)]
    labs = write_rows(folder / "labs.csv", values)
    out = folder / "out"
    said = call("run", folder / "table.csv", *ASKED[:2], "--only", "age", "--labs", labs, "--out", out, *FAST)
    assert said.code == 0, said.err
    assert '--labs: joined by "patient_id"; value in "value", code in "code", unit in "unit", no time' in said.err
    predicted = call("predict", out, folder / "table.csv", "--out", folder / "p.csv")
    assert "--labs was not given: absent evidence for every case" in predicted.err
    strict = call("predict", out, folder / "table.csv", "--out", folder / "q.csv", "--strict")
    refused(strict, "the schema declares the companion labs", "--labs FILE")


def test_a_schema_is_written_with_what_companions_mean(folder: Path) -> None:
    values = [{"patient_id": "p001", "code": "lactate", "value": "2.1", "unit": "mmol/L"}]
    labs = write_rows(folder / "labs.csv", values)
    assert call("schema", folder / "table.csv", *ASKED, "--labs", labs, "--out", folder / "written.toml").code == 0
    (companion,) = load_schema(folder / "written.toml").companions
    assert (companion.kind, companion.id, dict(companion.units)) == ("labs", "patient_id", {"lactate": "mmol/L"})


def test_names_are_printed_as_they_are(folder: Path) -> None:
    renamed = {"crp_mg_l": "crp [mg/L]", "cough": "cough [/bold] :smile:", "sick": "sick [/b]"}
    entries = [{renamed.get(name, name): cell for name, cell in row.items()} for row in rows(40)]
    table = write_rows(folder / "changed.csv", entries)
    asked = ("--target", "sick [/b]", *IGNORE)
    said = call("run", table, *asked, "--out", folder / "out", *FAST)
    assert said.code == 0, said.err
    assert "sick [/b]" in said.out
    assert all(name in said.err for name in renamed.values())
    assert all(call(command, table, *asked).code == 0 for command in ("schema", "plan", "audit"))
    narrow = write_rows(folder / "narrow.csv", [{"patient_id": "p1", "age": "44", "sex": "f", "crp [mg/L]": "no number"}])
    predicted = call("predict", folder / "out", narrow, "--out", folder / "p.csv")
    assert 'input column "cough [/bold] :smile:" is not in narrow.csv' in predicted.err
    assert "crp [mg/L]: 1 left out: not a number" in predicted.err


def test_a_run_whose_mean_cannot_be_estimated_shows_its_findings(folder: Path) -> None:
    labels = ("a", "b", "c", "d")
    entries = [
        {
            **{name: row[name] for name in ("patient_id", "age", "sex")},
            **{label: str(int((n + k) % 5 < 2)) for k, label in enumerate(labels)},
        }
        for n, row in enumerate(rows(40))
    ]
    table = write_rows(folder / "changed.csv", entries)
    said = call("run", table, "--target", ",".join(labels), "--out", folder / "out", *FAST)
    assert said.code == 0, said.err
    shown = [line.split()[:2] for line in said.out.splitlines() if " fused " in f"{line} "]
    assert [label for label, model in shown if model == "fused"][:4] == list(labels)
    assert "the difference cannot be estimated (" in said.out


def test_plan_counts_what_companions_hold_as_a_run_does(folder: Path) -> None:
    sick = {"p000", "p002", "p004"}
    values = [{"patient_id": id, "code": "lactate", "value": "2.1", "unit": "mmol/L"} for id in sorted(sick)]
    write_rows(folder / "labs.csv", values)
    asked = ("plan", folder / "table.csv", *ASKED[:2], "--positive", "yes")
    narrow = [{name: cell for name, cell in row.items() if name != "crp_mg_l"} for row in rows(40)]
    write_rows(folder / "table.csv", narrow)
    without, with_ = call(*asked), call(*asked, "--labs", folder / "labs.csv")
    assert (without.code, with_.code) == (0, 0), with_.err

    def small(said: Said) -> str:
        return " ".join(said.out.split()).split("Too small to say anything about (sick):")[1]

    assert "lab" not in small(without)
    assert "pattern = lab+" in small(with_)  # three patients with a value are too few
    refused(call(*asked, "--labs", folder / "nothing.csv"), "nothing.csv: no such file")


def test_plan_says_which_declared_companion_is_not_given(folder: Path) -> None:
    write_rows(folder / "labs.csv", [{"patient_id": "p000", "code": "lactate", "value": "2.1", "unit": "mmol/L"}])
    schema = declared(folder, folder / "table.csv")
    companion = '[companions.labs]\nid = "patient_id"\ncode = "code"\nvalue = "value"\nunit = "unit"\n'
    schema.write_text(schema.read_text() + "\n" + companion)
    lacking = call("plan", folder / "table.csv", "--schema", schema)
    assert lacking.code == 0, lacking.err
    assert '"--labs" is not there: absent evidence for every case' in " ".join(lacking.err.split())
    assert "is not there" not in call("plan", folder / "table.csv", "--schema", schema, "--labs", folder / "labs.csv").err


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys; from attending.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'polars', 'sklearn', 'numpy') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert said.splitlines()[-1] == "[]"
