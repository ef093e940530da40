"""Every remedy names an option that exists; the options that declare, applied as the finding says, make it go away."""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from attending.audit import Finding, Material, Severity, audit
from attending.case import Lab
from attending.cli import entry
from attending.intake import declare
from attending.records import NOTHING_AMENDED, Amendments, Role, SchemaError, read_charts, read_table, rows_where
from attending.records.clinic import ClinicConfig, Leak, draw_clinic, write_clinic
from tests.audit.conftest import Look
from tests.command_line import Said, call
from tests.tables import rows, write_rows

Row = Mapping[str, str]
IGNORED = ("kind", "a", "b")
AUDIT = Path(__file__).parents[2] / "attending" / "audit"


def options_of(*names: str) -> set[str]:
    """The options of these commands."""
    commands = typer.main.get_command(entry.app).commands  # type: ignore[attr-defined]
    return {option for name in names for held in commands[name].params for option in held.opts if option.startswith("--")}


def test_remedies_name_only_options_that_exist() -> None:
    known = options_of("audit", "run")
    for path in AUDIT.glob("*.py"):
        for option in set(re.findall(r"(?<![\w{-])--[a-z][a-z-]+", path.read_text(encoding="utf-8"))):
            assert option in known, (path.name, option)


@pytest.mark.parametrize("trap", ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T11"])
def test_what_is_planted_has_a_remedy_with_an_option(trap: str, clinic: Look) -> None:
    for one in audit(clinic(trap)).findings:
        if one.severity is not Severity.NOTE:
            assert re.search(r"--[a-z]", one.remedy) or "add other sources" in one.remedy, one


def option(one: Finding, name: str) -> list[str]:
    """The option and its value as the remedy writes them, read as a shell reads them."""
    written = re.search(name + r""" ("[^"]*"|'[^']*'|[^\s;]+)""", one.remedy)
    assert written is not None, one.remedy
    return [name, shlex.split(written[1])[0] if written[1][0] in "\"'" else written[1].rstrip("),")]


def looked_at(path: Path, *, where: str | None = None, amendments: Amendments = NOTHING_AMENDED) -> Material:
    table = read_table(path, where=where)
    names = [name for name in IGNORED if name in table.frame.columns]
    schema = declare(table, schema=None, targets=["sick"], positive=None, ignore=names, only=(), amendments=amendments)
    return Material(table=table, records=read_charts(table, schema))


def write(folder: Path, change: Callable[[int, Row], Row], *, n: int = 120) -> Path:
    return write_rows(folder / "table.csv", [{**row, **change(number, row)} for number, row in enumerate(rows(n))])


def found(material: Material, *traps: str, check: str = "") -> list[Finding]:
    return [one for one in audit(material).findings if one.trap in traps and one.check.startswith(check)]


# Groups


def test_naming_the_group_keeps_one_person_in_one_part(tmp_path: Path) -> None:
    folder = tmp_path / "clinic"
    write_clinic(draw_clinic(ClinicConfig(n_patients=120, seed=2, film_size=32, leaks=(Leak(trap="T1"),))), folder)
    given = ("audit", folder / "patients.csv", "--schema", folder / "schema.toml", "--labs", folder / "labs.csv")

    def findings(said: Said, file: Path) -> list[dict[str, str]]:
        assert said.code in (0, 1), said.err
        held: list[dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))["findings"]
        return [one for one in held if one["trap"] == "T1"]

    before = call(*given, "--json", tmp_path / "before.json")
    (torn,) = findings(before, tmp_path / "before.json")
    assert (before.code, torn["severity"]) == (1, "block")
    assert '--group "record_number"' in torn["remedy"]
    after = call(*given, "--group", "record_number", "--json", tmp_path / "after.json")
    assert after.code == 0
    assert not findings(after, tmp_path / "after.json")


def test_a_named_group_is_no_input_and_still_hidden_in_notes(tmp_path: Path) -> None:
    path = write(tmp_path, lambda n, row: {"ward": f"W{n % 20:03d}"})
    plain, grouped = looked_at(path), looked_at(path, amendments=Amendments(groups=("ward",)))
    assert plain.schema.column("ward").role is not Role.GROUP
    assert grouped.schema.column("ward").role is Role.GROUP
    assert len(np.unique(grouped.groups)) == 20
    assert len(np.unique(plain.groups)) == 120
    assert all(chart.identity.values["ward"].startswith("W") for chart in grouped.charts)


def test_twin_films_that_share_a_group_no_longer_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    entries = []
    for number, row in enumerate(rows(40)):
        pixels = rng.integers(0, 255, (80, 80)) if number != 31 else pixels_of_first
        pixels_of_first = pixels if number == 4 else locals().get("pixels_of_first", pixels)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
        entries.append({**row, "film": f"{number}.png", "body": "one" if number in (4, 31) else f"b{number}"})
    path = write_rows(tmp_path / "table.csv", entries)
    (twins,) = found(looked_at(path), "T12")
    assert twins.severity is Severity.BLOCK
    assert "--group COLUMN" in twins.remedy
    (within,) = found(looked_at(path, amendments=Amendments(groups=("body",))), "T12")
    assert within.severity is Severity.WARN  # they count twice, and cannot part


@pytest.mark.parametrize("name", ["patient_id", "sick"])
def test_who_a_patient_is_and_what_is_asked_are_no_groups(name: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="already"):
        looked_at(write(tmp_path, lambda n, row: {}), amendments=Amendments(groups=(name,)))


# Units


def haemoglobin(folder: Path) -> Path:
    rng = np.random.default_rng(1)

    def change(number: int, row: Row) -> Row:
        grams = rng.uniform(11, 16)
        is_litre = number % 3 == 0
        return {"haemo_content": f"{grams * (10 if is_litre else 1):.3f}", "written_in": "g/L" if is_litre else "g/dL"}

    return write(folder, change)


def test_naming_the_column_of_units_converts_and_the_finding_goes(tmp_path: Path) -> None:
    path = haemoglobin(tmp_path)
    (mixed,) = found(looked_at(path), "data")
    assert option(mixed, "--unit-column") == ["--unit-column", "haemo_content=COLUMN"]
    mended = looked_at(path, amendments=Amendments(unit_columns={"haemo_content": "written_in"}))
    assert not found(mended, "data")
    labs = [lab for chart in mended.charts for lab in chart.of(Lab) if lab.code == "haemo_content"]
    assert len(labs) == 120
    assert {lab.unit.symbol for lab in labs} == {"g/dL"}  # two of three are written so
    assert all(11.0 <= lab.value <= 16.0 for lab in labs)
    assert mended.schema.column("written_in").role is Role.UNIT


def test_a_declared_unit_is_what_values_are_converted_to(tmp_path: Path) -> None:
    held = looked_at(
        haemoglobin(tmp_path),
        amendments=Amendments(units={"haemo_content": "g/L"}, unit_columns={"haemo_content": "written_in"}),
    )
    values = [lab.value for chart in held.charts for lab in chart.of(Lab) if lab.code == "haemo_content"]
    assert all(110.0 <= value <= 160.0 for value in values)


def test_declaring_the_unit_makes_impossible_values_possible(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = write(tmp_path, lambda n, row: {"temperature": f"{rng.uniform(96, 104):.1f}"})
    (wrong,) = found(looked_at(path), "data")
    assert option(wrong, "--unit") == ["--unit", "temperature=UNIT"]
    said = call("audit", path, "--target", "sick", "--ignore", "kind,a,b", "--unit", "temperature=°F")
    assert said.code == 0, said.err
    assert not found(looked_at(path, amendments=Amendments(units={"temperature": "°F"})), "data")
    assert found(looked_at(path, amendments=Amendments(units={"temperature": "°C"})), "data")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--unit", "temperature"), "expected COLUMN=…"),
        (("--unit", "crp_mg_l=mg/L", "--unit", "crp_mg_l=g/L"), "twice"),
        (("--unit", "crp_mgl=mg/L"), 'Did you mean "crp_mg_l"?'),
        (("--unit", "cough=mg/L"), "no number column"),
        (("--unit", "crp_mg_l=parsec"), "not known"),
        (("--unit-column", "crp_mg_l=nowhere"), 'no column "nowhere"'),
        (("--unit-column", "crp_mg_l=sick"), "target already"),
        (("--group", "famly"), 'no column "famly"'),
        (("--look-back", "0"), "positive number"),
    ],
)
@pytest.mark.parametrize("command", ["audit", "plan"])
def test_what_cannot_be_declared_is_refused_in_a_sentence(
    command: str, given: Sequence[str], said: str, tmp_path: Path
) -> None:
    found = call(command, write(tmp_path, lambda n, row: {}), "--target", "sick", *given)
    assert found.code == 2
    assert said in found.sentence


# Sources and windows


def test_restricting_to_matched_sources_takes_the_findings_away(tmp_path: Path) -> None:
    """Archive A has only the sick and B only the others; C and "D, new" have as many of either."""

    def change(number: int, row: Row) -> Row:
        mixed = ("C", "D, new")[number // 4 % 2]
        return {"site": mixed if number % 4 < 2 else ("A" if row["sick"] == "yes" else "B")}

    path = write(tmp_path, change, n=160)
    held = found(looked_at(path), "T6", "T7", check="origins")
    assert {one.trap for one in held} == {"T6", "T7"}
    for one in held:
        _, condition = option(one, "--where")
        assert condition == "site in ('C', 'D, new')"
        matched = looked_at(path, where=condition)
        assert {chart.site for chart in matched.charts} == {"C", "D, new"}
        assert len(matched) == 80
        assert not found(matched, "T6", "T7", check="origins")


def test_where_no_source_is_matched_it_says_so(tmp_path: Path) -> None:
    held = found(looked_at(write(tmp_path, lambda n, row: {"site": row["sick"]})), "T6", "T7", check="origins")
    assert {one.trap for one in held} == {"T6", "T7"}
    assert all("no sources" in one.remedy and "--where" not in one.remedy for one in held)


def test_a_condition_keeps_the_rows_it_names_whatever_their_type(tmp_path: Path) -> None:
    def change(n: int, row: Row) -> Row:
        return {"number": str(n % 3), "is on": ("true", "false")[n % 2], "who": ("O'Hara", "x")[n % 2]}

    path = write(tmp_path, change)
    table = read_table(path)
    assert rows_where(table, "number", ["0", "2"]) == "number in (0, 2)"
    for column, levels, share in (("number", ["0", "2"], 80), ("is on", ["true"], 60), ("who", ["O'Hara"], 60)):
        kept = read_table(path, where=rows_where(table, column, levels))
        assert len(kept) == share
        assert set(kept.cells(column)) == set(levels)
    both = rows_where(read_table(path, where="number = 0 or number = 1"), "who", ["x"])
    assert len(read_table(path, where=both)) == sum(n % 3 < 2 and n % 2 == 1 for n in range(120))


def test_judging_within_one_projection_takes_the_shortcut_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def change(number: int, row: Row) -> Row:
        is_flat = rng.random() < (0.9 if row["sick"] == "yes" else 0.1)
        return {"projection": "AP" if is_flat else "PA"}

    path = write(tmp_path, change, n=200)
    (told,) = found(looked_at(path), "T8")
    assert told.columns == ("projection",)
    _, condition = option(told, "--where")
    assert condition in ("projection = 'AP'", "projection = 'PA'")
    assert not found(looked_at(path, where=condition), "T8")


def test_a_window_that_both_classes_have_takes_the_finding_away(tmp_path: Path) -> None:
    folder = tmp_path / "clinic"
    write_clinic(draw_clinic(ClinicConfig(n_patients=200, seed=5, film_size=32, leaks=(Leak(trap="T3"),))), folder)
    given = ("audit", folder / "patients.csv", "--schema", folder / "schema.toml", "--labs", folder / "labs.csv")
    files = tmp_path / "before.json", tmp_path / "after.json"
    assert call(*given, "--json", files[0]).code == 0
    watched = next(one for one in json.loads(files[0].read_text(encoding="utf-8"))["findings"] if one["trap"] == "T3")
    hours = re.search(r"--look-back (\d+)", watched["remedy"])
    assert hours is not None
    assert call(*given, "--look-back", hours[1], "--json", files[1]).code == 0
    assert "T3" not in {one["trap"] for one in json.loads(files[1].read_text(encoding="utf-8"))["findings"]}


def test_what_a_file_beside_the_table_holds_is_left_out_with_the_file(clinic: Look) -> None:
    material = clinic("T11")
    (told,) = found(material, "T11")
    assert "--labs" in told.remedy
    assert not {"crp", "sodium"} & set(option(told, "--ignore")[1].split(",")) if "--ignore" in told.remedy else True
    assert material.leaving_out(["note"]) == "leave it out (--ignore note)"
    assert material.leaving_out(["crp"]) == "give no --labs"
    assert material.leaving_out(["note", "film", "crp"]) == "leave them out (--ignore note,film), and give no --labs"


def test_a_run_and_the_schema_it_keeps_take_the_same_options(tmp_path: Path) -> None:
    path = haemoglobin(tmp_path)
    said = call(
        "schema", path, "--target", "sick", "--group", "cough", "--unit-column", "haemo_content=written_in",
        "--look-back", "48", "--out", tmp_path / "kept.toml",
    )  # fmt: skip
    assert said.code == 0, said.err
    table = read_table(path)
    kept = declare(table, schema=tmp_path / "kept.toml", targets=(), positive=None, ignore=(), only=())
    assert (kept.column("cough").role, kept.look_back_hours) == (Role.GROUP, 48.0)
    assert (kept.column("haemo_content").unit_column, kept.column("haemo_content").unit) == ("written_in", "g/dL")
    for name in ("run", "audit", "schema", "plan"):
        assert {"--group", "--unit", "--unit-column", "--look-back"} <= options_of(name)


def test_a_plan_parts_patients_by_the_groups_that_a_run_will(tmp_path: Path) -> None:
    path = write(tmp_path, lambda n, row: {"ward": f"W{int(n**0.5)}"})
    asked = ("plan", path, "--target", "sick", "--ignore", "kind,a,b", "--protocol", "split")
    plain, grouped = call(*asked), call(*asked, "--group", "ward")
    assert (plain.code, grouped.code) == (0, 0), grouped.err
    assert "four-way split by whole groups" in grouped.out
    assert grouped.out.splitlines()[0] != plain.out.splitlines()[0]  # eleven wards of 1 to 21 patients, none of them parted


def test_a_plan_reads_companions_as_far_back_as_a_run_will(tmp_path: Path) -> None:
    path = write(tmp_path, lambda n, row: {"visit_date": "2020-03-10 08:00"})
    labs = write_rows(
        tmp_path / "labs.csv",
        [{"patient_id": f"p{n:03d}", "code": "lactate", "value": "2.1", "unit": "mmol/L",
          "time": "2020-03-07 02:00"} for n in range(0, 120, 10)],
    )  # fmt: skip
    asked = ("plan", path, "--target", "sick", "--only", "age", "--labs", labs)
    everything, recent = call(*asked), call(*asked, "--look-back", "48")
    assert (everything.code, recent.code) == (0, 0), recent.err
    assert "pattern = lab+" in everything.out
    assert "pattern = lab+" not in recent.out
