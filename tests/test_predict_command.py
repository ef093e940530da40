"""`attending predict` over a table of any length: the same bytes however it is cut, kept when killed, abstentions told."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from attending import load
from attending.intake import declare, declared_by, read_table, take_in
from attending.records import Role, to_toml
from tests.command_line import Said, call
from tests.explanation.models_at_hand import model_of
from tests.tables import rows, with_notes_and_films, write_rows

ROOT = Path(__file__).parents[1]
N = 700
CUTS = (1, 300, 10_000)  # a piece is whole batches of 256 cases, so three, two and one
NAMES = ("Anna Kern", "Bo Lund", "Cem Yildiz", "Dora Weiss", "Emil Roth")


def name_of(case: int) -> str:
    """The name in the table at this visit; the patient has another at each, so only the other visit's row gives it."""
    return NAMES[(case + case // 300) % len(NAMES)]


def visits(folder: Path, n: int = N) -> list[dict[str, str]]:
    """Rows of joined cases and of several visits that lie far apart, each visit under another name; few films, two odd rows."""
    made = []
    for number, row in enumerate((*with_notes_and_films(folder, rows(40)), *rows(n - 40, seed=1))):
        # a case of two rows every 50 rows, of which the second lies half a table further down
        case = number - n // 2 if number >= n // 2 and number % 50 == 0 else number
        patient = case % 300
        note = row.get("note", "worse since yesterday, cough")
        made.append(
            {
                **row,
                "patient_id": f"p{patient:03d}",
                "case_id": f"c{case}",
                "name": name_of(case),
                "sick": "yes" if case % 2 else "no",
                "note": f'{note} Was {name_of((case + 300) % 600)} once,\n"in haste", p{patient:03d}.',
                "film": row.get("film", ""),
            }
        )
    made[5]["patient_id"] = ""
    made[n - 50]["patient_id"] = "p299"  # joined with a row of another patient: neither can be used
    return made


def labs(n: int = N) -> list[dict[str, str]]:
    """Values by patient, whose visits lie in several pieces, and of nobody."""
    return [
        {
            "patient_id": f"p{number:03d}",
            "code": "lactate",
            "value": f"{number % 9}.5",
            "unit": "mmol/L",
        }
        for number in (*range(0, 300, 2), 900, 901)
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights and a gate, and a table as CSV and Parquet with labs beside it."""
    folder = tmp_path_factory.mktemp("project")
    table = write_rows(folder / "table.csv", visits(folder))
    pl.DataFrame(visits(folder)).write_parquet(folder / "table.parquet", row_group_size=90)
    write_rows(folder / "labs.csv", labs())
    read = read_table(table)
    schema = declare(read, schema=None, targets=("sick",), positive="yes", ignore=("kind", "a", "b"), only=())
    roles = {"case_id": Role.CASE, "name": Role.IDENTITY}
    columns = tuple(replace(c, role=roles.get(c.name, c.role)) for c in schema.columns)
    intake = take_in(
        read, replace(schema, columns=columns), companions={"labs": folder / "labs.csv"}, key_file=folder / "privacy.key"
    )
    model = model_of(task=intake.task, cases=intake.cases[:60], members=1)
    gated = replace(model, tokenizers=model.tokenizers.with_gate(intake.cases), schema=to_toml(intake.schema))
    gated.save(folder / "model")
    return folder


def whole(project: Path, table: Path, *, where: str | None = None) -> str:
    """The file by way of the whole table in memory."""
    model = load(project / "model")
    intake = take_in(
        read_table(table, where=where),
        declared_by(model.schema),
        companions={"labs": project / "labs.csv"},
        key_file=project / "privacy.key",
        needs_truth=False,
    )
    raw, own = model.raw_probability(intake.cases), intake.own_ids()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "finding", "p_raw", "p_calibrated", "in_set", "abstained", "missing", "model"])
    for case, diagnosis, row in zip(intake.cases, model.diagnose(intake.cases), raw, strict=True):
        for f, p in zip(diagnosis.findings, row, strict=True):
            told = (diagnosis.abstained or "", "+".join(diagnosis.missing), diagnosis.model)
            writer.writerow([own[case.id], f.name, repr(float(p)), repr(f.probability), int(f.in_set), *told])
    return buffer.getvalue()


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def predict(project: Path, table: Path, out: Path, *options: str | Path, code: int = 0) -> Said:
    said = call("predict", project / "model", table, "--out", out, "--threads", "1", *options)
    assert said.code == code, said.err
    return said


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("where", [None, "age > 30 and sex = 'f'"], ids=["all", "where"])
def test_the_bytes_are_those_of_the_whole_table_however_it_is_cut(project: Path, name: str, where: str | None) -> None:
    expected = whole(project, project / name, where=where)
    asked = () if where is None else ("--where", where)
    for cut in CUTS:
        out = project / f"cut-{cut}.csv"
        predict(project, project / name, out, "--labs", project / "labs.csv", "--piece", str(cut), *asked)
        assert out.read_text() == expected
        assert not out.with_name(out.name + ".pieces").exists()
        out.unlink()


def test_every_row_is_used_or_named_and_counted_whatever_the_cut(project: Path, tmp_path: Path) -> None:
    key(project, tmp_path)
    told = set()
    for cut in CUTS:
        said = predict(project, project / "table.csv", tmp_path / "p.csv", "--labs", project / "labs.csv", "--piece", str(cut))
        lines = said.err.splitlines()
        told.add(tuple(line for line in lines if "left out" in line or "refused" in line or "abstained" in line))
        assert any(re.fullmatch(r"700 rows: 697 used in \d+ cases, 3 refused", line) for line in lines)
        assert '1 rows refused: column "patient_id" (patient) is blank (the first: row 7)' in lines
        # row 652 is joined with row 302, which has another patient
        assert "2 rows refused: rows of one case name different patients (the first: row 302)" in lines
        assert "labs: 2 left out: its id is of no case" in lines
        reported = {row["id"] for row in read(tmp_path / "p.csv")}
        assert f"{len(reported)} cases" in next(line for line in lines if line.endswith(" abstained"))
    assert len(told) == 1


def key(project: Path, folder: Path) -> None:
    """The project's key beside another folder's outputs: other dates in notes are other words."""
    shutil.copy(project / "privacy.key", folder / "privacy.key")


def test_an_id_that_stands_twice_is_refused_before_anything_is_answered(project: Path, tmp_path: Path) -> None:
    entries = visits(tmp_path)
    model = load(project / "model")
    one_row = replace(
        declared_by(model.schema),
        columns=tuple(replace(c, role=Role.ID) if c.role is Role.CASE else c for c in declared_by(model.schema).columns),
    )
    replace(model, schema=to_toml(one_row)).save(tmp_path / "model")
    said = predict(tmp_path, write_rows(tmp_path / "t.csv", entries), tmp_path / "p.csv", code=2)
    assert 't.csv row 352, column "case_id": the id already stands in row 2' in said.sentence
    assert not list(tmp_path.glob("p.csv*"))


def test_abstentions_say_why_and_are_counted(project: Path, tmp_path: Path) -> None:
    odd = [{"patient_id": f"x{n}", "case_id": f"x{n}", "name": "", "note": "", "age": "", "crp_mg_l": ""} for n in range(4)]
    odd[0]["crp_mg_l"], odd[1]["crp_mg_l"], odd[2]["age"] = "90000", "80000", "44"
    said = predict(project, write_rows(tmp_path / "t.csv", odd), tmp_path / "p.csv")
    found = {row["id"]: row["abstained"] for row in read(tmp_path / "p.csv")}
    strange = "crp is unlike what the model was trained on"
    nothing = "no evidence of a kind that the model reads"
    assert found == {"x0": strange, "x1": strange, "x2": "", "x3": nothing}
    assert said.err.splitlines()[-4:-1] == [
        f"abstained: 2: {strange}",
        f"abstained: 1: {nothing}",
        "4 cases: 1 answered, 3 abstained",
    ]


@pytest.fixture
def stopped(project: Path, tmp_path: Path) -> Path:
    """A folder in which a prediction stopped in its second piece of three."""
    entries = visits(tmp_path)
    entries[301]["film"] = "link.png"
    write_rows(tmp_path / "t.csv", entries)
    (tmp_path / "link.png").symlink_to(project / "film1.png")
    key(project, tmp_path)
    said = predict(project, tmp_path / "t.csv", tmp_path / "p.csv", code=2)
    assert 't.csv row 303, column "film"' in said.sentence
    (tmp_path / "link.png").unlink()
    (tmp_path / "link.png").write_bytes((tmp_path / "film1.png").read_bytes())
    assert not (tmp_path / "p.csv").exists()
    assert sorted(path.name for path in (tmp_path / "p.csv.pieces").iterdir()) == [
        "made_of.json",
        "piece-000000.csv",
        "piece-000000.json",
    ]
    return tmp_path


def fresh(project: Path, folder: Path) -> str:
    """The file that an undisturbed run writes."""
    predict(project, folder / "t.csv", folder / "fresh.csv")
    return (folder / "fresh.csv").read_text()


def spoil(film: Path) -> None:
    """Other content of the same size and time of change: whoever reads it again finds no picture, and answers otherwise."""
    before = film.stat()
    film.write_bytes(b"x" * before.st_size)
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_answered_is_not_answered_again(project: Path, stopped: Path) -> None:
    expected = fresh(project, stopped)
    for film in stopped.glob("film*.png"):
        spoil(film)
    said = predict(project, stopped / "t.csv", stopped / "p.csv")
    assert "p.csv.pieces: 1 of 3 pieces are there already" in said.err
    assert (stopped / "p.csv").read_text() == expected
    assert not (stopped / "p.csv.pieces").exists()


def test_a_film_that_was_changed_meanwhile_is_answered_again(project: Path, stopped: Path) -> None:
    before = fresh(project, stopped)
    film, other = sorted(path for path in stopped.glob("film*.png") if path.name != "film1.png")[:2]
    film.write_bytes(other.read_bytes())
    said = predict(project, stopped / "t.csv", stopped / "p.csv")
    assert "p.csv.pieces: films of 1 of 3 pieces have changed since; answered again" in " ".join(said.err.split())
    assert "are there already" not in said.err
    assert (stopped / "p.csv").read_text() == fresh(project, stopped) != before


def test_a_damaged_piece_is_answered_again(project: Path, stopped: Path) -> None:
    expected = fresh(project, stopped)
    piece = stopped / "p.csv.pieces" / "piece-000000.csv"
    piece.write_bytes(piece.read_bytes()[:-9])
    said = predict(project, stopped / "t.csv", stopped / "p.csv")
    assert "are there already" not in said.err
    assert (stopped / "p.csv").read_text() == expected


def other_table(project: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
    table = folder / "t.csv"
    table.write_text(table.read_text().replace("p017", "p018"))
    return project, ()


def other_options(project: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
    return project, ("--where", "age > 30")


def other_model(project: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
    model = load(project / "model")
    replace(model, provenance={"made": "again"}).save(folder / "model")
    return folder, ()


CHANGES: dict[str, Callable[[Path, Path], tuple[Path, tuple[str, ...]]]] = {
    "table": other_table,
    "options": other_options,
    "model": other_model,
}


@pytest.mark.parametrize("changed", CHANGES)
def test_pieces_of_anything_else_are_begun_anew_with_a_sentence(project: Path, stopped: Path, changed: str) -> None:
    asked, options = CHANGES[changed](project, stopped)
    said = predict(asked, stopped / "t.csv", stopped / "p.csv", *options)
    assert f"its pieces were made with another {changed}; begun anew" in " ".join(said.err.split())
    assert "are there already" not in said.err
    predict(asked, stopped / "t.csv", stopped / "fresh.csv", *options)
    assert (stopped / "p.csv").read_text() == (stopped / "fresh.csv").read_text()


def test_somebody_elses_folder_is_left_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv.pieces").mkdir()
    mine = tmp_path / "p.csv.pieces" / "mine.txt"
    mine.write_text("mine")
    said = predict(project, project / "table.csv", tmp_path / "p.csv", code=2)
    assert "is no folder of pieces; move it away" in said.sentence
    assert mine.read_text() == "mine"


def test_a_killed_run_goes_on(project: Path, tmp_path: Path) -> None:
    key(project, tmp_path)
    out = tmp_path / "p.csv"
    asked = ["predict", str(project / "model"), str(project / "table.csv"), "--out", str(out), "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", "from attending.cli import main; main()", *asked],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        first = tmp_path / "p.csv.pieces" / "piece-000000.json"
        while running.poll() is None and not first.exists():
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    assert first.exists(), "the run ended before it could be killed"
    assert not out.exists()
    said = predict(project, project / "table.csv", out)
    assert "pieces are there already" in said.err
    predict(project, project / "table.csv", tmp_path / "fresh.csv")
    assert out.read_text() == (tmp_path / "fresh.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.csv", "p.csv", "privacy.key"]
