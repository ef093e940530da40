"""Bad input: one sentence that says where and what to do, exit code 2, and nothing half-written."""

import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from attending.case import Scan
from attending.intake import read_table, take_in
from attending.records import load_schema
from tests.command_line import ASKED, Said, call, declared, refused
from tests.tables import rows, with_notes_and_films, write_rows

ROOT = Path(__file__).parents[1]
FAST = ("--protocol", "split", "--seeds", "1", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table inside, so that what a refused command leaves anywhere near is seen."""
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "table.csv", rows(40))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished")
    write_rows(folder / "table.csv", rows(40))
    said = call("run", folder / "table.csv", *ASKED, "--out", folder / "run", *FAST)
    assert said.code == 0, said.err
    return folder


def everything(folder: Path) -> set[Path]:
    return set(folder.parent.rglob("*"))


def column(name: str, change: Callable[[int, str], str]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        return write_rows(
            folder / "changed.csv", [{**row, name: change(number, row[name])} for number, row in enumerate(rows(40))]
        )

    return made


def appended(line: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / "changed.csv"
        path.write_text((folder / "table.csv").read_text() + line + "\n")
        return path

    return made


def encoded(encoding: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / "changed.csv"
        path.write_bytes((folder / "table.csv").read_text().replace("dry", "trocken-wäßrig").encode(encoding))
        return path

    return made


def with_ids(folder: Path) -> Path:
    entries: list[Mapping[str, str]] = [{"case_id": f"c{min(number, 38)}", **row} for number, row in enumerate(rows(40))]
    return write_rows(folder / "changed.csv", entries)


def with_visits(folder: Path) -> Path:
    entries: list[Mapping[str, str]] = [{"visit_id": f"v{min(number, 38)}", **row} for number, row in enumerate(rows(40))]
    return write_rows(folder / "changed.csv", entries)


def with_film(reference: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        entries = with_notes_and_films(folder, rows(40))
        entries[3]["film"] = reference
        return write_rows(folder / "changed.csv", entries)

    return made


def unchanged(folder: Path) -> Path:
    return folder / "table.csv"


def no_file(folder: Path) -> Path:
    return folder / "nothing.csv"


def content(data: bytes, name: str = "changed.csv") -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return made


BAD_TABLES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], tuple[str, ...]]] = {
    "target column": (unchanged, ("--target", "sik"), ('table.csv: no column "sik"', 'Did you mean "sick"?')),
    "only column": (unchanged, (*ASKED[:2], "--only", "crp_mg"), ('no column "crp_mg"', "(--only)")),
    "ignored column": (unchanged, (*ASKED[:2], "--ignore", "nothing"), ('no column "nothing"',)),
    "duplicate ids": (with_ids, ASKED, ('changed.csv row 41, column "case_id"', "already stands in row 40", "mend the id")),
    "duplicate visits": (with_visits, ASKED, ('changed.csv row 41, column "visit_id"', "already stands in row 40", '"case"')),
    "ragged, short": (appended("p900,44,f"), ASKED, ("changed.csv row 42: found 3 fields, expected 9",)),
    "ragged, long": (appended("p900,44,f" + ",1" * 9), ASKED, ("changed.csv row 42: found 12 fields, expected 9",)),
    "Latin-1": (encoded("latin-1"), ASKED, ("changed.csv line", "not UTF-8", "save the table as CSV UTF-8")),
    "UTF-16": (encoded("utf-16"), ASKED, ("changed.csv: found UTF-16, expected UTF-8",)),
    "mixed decimal commas": (
        column("crp_mg_l", lambda number, cell: cell.replace(".", ",") if number % 2 else cell),
        ASKED,
        ('changed.csv column "crp_mg_l"', "decimal comma", "decimal point", "expected one of them"),
    ),
    "one class": (column("sick", lambda *_: "yes"), ASKED, ('changed.csv column "sick": the target has 1 class',)),
    "no class": (column("sick", lambda *_: ""), ASKED, ('column "sick": the target has 0 class among 0 known rows',)),
    "too rare": (column("sick", lambda number, _: "yes" if number < 2 else "no"), ASKED, ('"sick" has its rarer class in 2',)),
    "positive value": (unchanged, (*ASKED, "--positive", "maybe"), ('column "sick": no row has the positive value "maybe"',)),
    "outside the data folder": (
        with_film("../../secret.png"),
        ASKED,
        ('changed.csv row 5, column "film"', 'outside the data folder "data"'),
    ),
    "no file": (no_file, ASKED, ("nothing.csv: no such file; expected a CSV or Parquet table",)),
    "empty file": (content(b""), ASKED, ("changed.csv: the file is empty",)),
    "only a header": (content(b"patient_id,age,sick\n"), ("--target", "sick"), ("has a header and no rows",)),
    "no Parquet": (content(b"PAR1 nothing", "changed.parquet"), ASKED, ("changed.parquet: not readable as Parquet",)),
    "where": (unchanged, (*ASKED, "--where", "age >>> 3"), ("table.csv: --where cannot be evaluated",)),
    "where that keeps nobody": (unchanged, (*ASKED, "--where", "age > 3000"), ("--where keeps none of 40 rows",)),
    "no target": (unchanged, (), ("no --target: name the column to predict",)),
    "protocol": (unchanged, (*ASKED, "--protocol", "magic"), ("--protocol magic: expected one of auto, split, cv",)),
    "device": (unchanged, (*ASKED, "--device", "abacus"), ('--device abacus: expected "auto", "cpu" or "cuda"',)),
    "encoder for no notes": (unchanged, (*ASKED, "--text-encoder", "minilm"), ("no case has a note",)),
    "no schema file": (unchanged, ("--schema", "nothing.toml"), ("nothing.toml: cannot be read",)),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_before_anything_is_written(folder: Path, name: str) -> None:
    make, arguments, parts = BAD_TABLES[name]
    table = make(folder)
    before = everything(folder)
    protocol = () if "--protocol" in arguments else FAST[:2]
    refused(call("run", table, *arguments, "--out", folder.parent / "out", *protocol, *FAST[2:]), *parts)
    left = everything(folder) - before
    assert {path.name for path in left} <= {"privacy.key"}  # the project's key is whole, and made once


def test_a_patient_column_that_the_schema_names_must_be_there(folder: Path) -> None:
    schema = declared(folder, folder / "table.csv")
    nobody = [{name: cell for name, cell in row.items() if name != "patient_id"} for row in rows(40)]
    table = write_rows(folder / "changed.csv", nobody)
    said = call("run", table, "--schema", schema, "--out", folder.parent / "out", *FAST)
    refused(said, 'changed.csv: no column "patient_id", which was named as the patient')
    assert not (folder.parent / "out").exists()


def with_units(folder: Path, odd: str) -> Path:
    entries = [
        {**{name: cell for name, cell in row.items() if name != "crp_mg_l"}, "crp": row["crp_mg_l"], "crp_unit": "mg/L"}
        for row in rows(40)
    ]
    entries[0]["crp_unit"] = odd
    return write_rows(folder / "changed.csv", entries)


@pytest.mark.parametrize("odd", ["apples", "mmHg"])
def test_a_unit_that_does_not_fit_is_refused_unless_the_schema_has_it_counted(folder: Path, odd: str) -> None:
    table = with_units(folder, odd)
    said = call("run", table, *ASKED, "--out", folder.parent / "out", *FAST)
    refused(said, 'changed.csv row 2, column "crp_unit"', f'found unit "{odd}", expected one that converts to "mg/L"', "misfit")
    assert not (folder.parent / "out").exists()
    schema = declared(folder, table)
    schema.write_text(schema.read_text().replace("[columns.crp]", '[columns.crp]\nrules = { misfit = "refused" }'))
    counted = call("run", table, "--schema", schema, "--out", folder.parent / "out", *FAST)
    assert counted.code == 0, counted.err
    assert odd in (folder.parent / "out" / "report.html").read_text()


def bomb(path: Path, side: int) -> None:
    """A PNG of a thousand bytes that says it is a square of `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + image)


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_an_image_bomb_is_refused_before_it_is_decoded(folder: Path, side: int) -> None:
    table = with_film("bomb.png")(folder)
    bomb(folder / "bomb.png", side)
    before = everything(folder)
    for command in (("run", "--out", folder.parent / "out", *FAST), ("plan",), ("audit",)):
        said = call(command[0], table, *ASKED, *command[1:])
        refused(said, 'changed.csv row 5, column "film"', "pixels", "limit of 67108864", "shrink it, or blank the cell")
    films = [{"patient_id": "p001", "image": "bomb.png"}]
    images = write_rows(folder / "images.csv", films)
    refused(call("plan", folder / "table.csv", *ASKED, "--images", images), 'images.csv row 2, column "image"', "pixels")
    assert everything(folder) - before == {images}


def test_a_film_that_cannot_be_read_is_absent_and_an_error_under_strict(folder: Path) -> None:
    table = with_film("broken.png")(folder)
    (folder / "broken.png").write_bytes((folder / "film0.png").read_bytes()[:60])
    schema = declared(folder, table)
    said = call("run", table, "--schema", schema, "--out", folder.parent / "out", *FAST, "--strict")
    refused(said, 'changed.csv row 5, column "film"')
    assert not (folder.parent / "out").exists()
    intake = take_in(read_table(table), load_schema(schema), key_file=folder / "privacy.key")
    (absence,) = intake.cases[3].absent
    assert (absence.kind, absence.name) == (Scan, "film")
    assert "not a readable PNG or JPEG picture" in absence.reason
    assert not intake.cases[3].of(Scan)
    assert sum(bool(case.of(Scan)) for case in intake.cases) == 40 - 5 - 1


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_corrupt_model_is_refused(finished: Path, tmp_path: Path, command: str) -> None:
    weights = finished / "run" / "model" / "member-0.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        said = call(command, finished / "run", finished / "table.csv", "--out", tmp_path / "out")
        refused(said, "member-0.safetensors: content does not match its SHA-256", "restore the whole folder")
        weights.unlink()
        said = call(command, finished / "run", finished / "table.csv", "--out", tmp_path / "out")
        refused(said, "member-0.safetensors is listed in manifest.json and missing")
    finally:
        weights.write_bytes(whole)
    assert not list(tmp_path.iterdir())
    nothing = call(command, tmp_path / "nothing", finished / "table.csv", "--out", tmp_path / "out")
    refused(nothing, "no such folder; MODEL is the folder")


MISUSE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "command": (("runn",), ("No such command", "see attending --help")),
    "option": (("run", "--bogus"), ("No such option: --bogus", "see attending run --help")),
    "no table": (("run",), ("Missing parameter: table", "see attending run --help")),
    "no --out": (("run", "table.csv"), ("--out: Missing parameter",)),
    "no number": (("run", "table.csv", "--out", "out", "--folds", "five"), ("--folds: ", "integer")),
    "one fold": (("run", "table.csv", "--out", "out", "--folds", "1"), ("--folds: ", "2")),
    "threads": (("plan", "table.csv", "--seed", "1.5"), ("--seed: ",)),
}


@pytest.mark.parametrize("name", MISUSE)
def test_a_command_line_that_cannot_be_taken_is_one_sentence(name: str) -> None:
    arguments, parts = MISUSE[name]
    said = call(*arguments)
    refused(said, *parts)
    assert len(said.err.strip().splitlines()) == 1
    assert call().out == call("--help").out


def test_a_place_that_cannot_be_written_into_is_refused_with_a_remedy(folder: Path, finished: Path) -> None:
    table = folder / "table.csv"
    for out in (table, table / "run"):
        refused(call("run", table, *ASKED, "--out", out, *FAST), "table.csv: ", "name another --out, which is a folder")
    said = call("predict", finished / "run", finished / "table.csv", "--out", folder)
    refused(said, "is a directory; expected the name of a file")


def test_other_commands_refuse_in_the_same_way(folder: Path) -> None:
    refused(call("judge", folder / "nothing.csv"), "nothing.csv: no such file", "check the path")
    refused(call("judge", folder / "table.csv"), "table.csv row 1: no column 'id'; needed are id, finding, truth")
    refused(call("plan", folder / "table.csv", "--target", "sik"), 'no column "sik"')
    refused(call("clinic", "--patients", "0", "--out", folder / "clinic"), "a clinic needs n_patients >= 1")
    assert call("schema", folder / "table.csv", "--target", "sick").code == 0
    refused(call("schema", folder / "table.csv", "--target", "sick"), "table.schema.toml: exists already")


LIMITED = """
import resource, sys
from attending.cli import main
from attending import artefacts
write = artefacts.write_bytes
def limited(path, content):  # the disk is full when the model is written
    if path.suffix == ".safetensors":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    return write(path, content)
import attending.model.trained
attending.model.trained.write_bytes = limited
main()
"""


def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on_afterwards(folder: Path) -> None:
    out = folder.parent / "out"
    arguments = ["run", str(folder / "table.csv"), *ASKED, "--out", str(out), *FAST]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], check=False, capture_output=True, text=True, env=environment
    )
    said = Said(code=ended.returncode, out=ended.stdout, err=ended.stderr)
    refused(said, f"attending: {out}/", ": file too large; raise the limit", "a run goes on from where it stopped")
    assert not (out / "report.json").exists()
    assert not (out / "model" / "manifest.json").exists()  # without it a folder is not a model
    assert not list(out.rglob(".*safetensors*"))  # no temporary file stays
    refused(call("predict", out, folder / "table.csv", "--out", folder / "p.csv"), "no readable manifest.json")
    fits = {path.name: path.stat().st_mtime_ns for path in (out / ".work").glob("*.npz")}
    assert fits
    again = call(*arguments)
    assert again.code == 0, again.err
    journal = (out / "journal.jsonl").read_text()
    assert len(re.findall(r'"seconds"', journal)) == len(fits)  # no fit was done again
    assert call("predict", out, folder / "table.csv", "--out", folder / "p.csv").code == 0
