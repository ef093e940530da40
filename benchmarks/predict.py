"""Memory and time of `attending predict` as the table grows: the largest memory should stay where it is.

    python -m benchmarks.predict [--rows 2000] [--times 1 4 16] [--films] [--whole] [--piece 256] [--json FILE]

Draws tables of a note, four numbers, two signs and an age a row, with --films also one of 300 films of 512 pixels, trains a
model on 300 rows, and predicts each table in a process of its own. --whole predicts them also the former way, with the whole
table in memory, for comparison. Memory is that of the process at its largest, the interpreter and the model with it; `growth`
is what each further row costs, in bytes, from the smallest table to the largest. `seconds` mean something on a quiet machine.
"""

# Light imports only: a child's largest memory includes that of the process that started it.
import argparse
import csv
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attending.artefacts import write_text
from benchmarks.runs import Command, circumstances

ATTENDING = Path(sys.executable).parent / "attending"
FIELDS = ("patient_id", "age", "sex", "crp_mg_l", "ldh_u_l", "wbc", "sodium_mmol_l", "cough", "pain", "note", "film", "sick")
N_TRAINED, N_FILMS, SIDE = 300, 300, 512
WORDS = ("fever", "cough", "since", "days", "no", "chest", "pain", "dry", "wet", "worse", "left", "right", "smoker", "asthma")
WHOLE = """
import sys
from pathlib import Path
from attending import load
from attending.intake import declared_by, read_table, take_in
model, table = load(sys.argv[1]), Path(sys.argv[2])
intake = take_in(read_table(table), declared_by(model.schema), key_file=table.parent / "privacy.key", needs_truth=False)
model.raw_probability(intake.cases)
model.diagnose(intake.cases)
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One table predicted. `largest_megabytes` is the process at its largest."""

    way: str
    rows: int
    seconds: float
    largest_megabytes: float


def write_film(path: Path, *, side: int, seed: int) -> None:
    """A grey PNG of noise, by the standard library alone."""
    drawn = random.Random(seed)
    lines = b"".join(b"\0" + drawn.randbytes(side) for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b""))


def write_table(path: Path, *, n: int, seed: int, has_films: bool) -> None:
    """`n` rows, each another patient; every value and sign tells a little of `sick`."""
    drawn = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow([name for name in FIELDS if has_films or name != "film"])
        for number in range(n):
            sick = drawn.random() < 0.4
            values = [f"{drawn.gammavariate(2, 3) + 3 * sick:.1f}" if drawn.random() < 0.8 else "" for _ in range(4)]
            note = " ".join(drawn.choices(WORDS, k=30)) + (" fever cough" if sick else "")
            row = [f"p{number:07d}", drawn.randint(20, 90), drawn.choice("fm"), *values]
            row += [drawn.choice(("no", "mild", "severe")), drawn.choice(("no", "yes")), note]
            row += [f"film{number % N_FILMS}.png"] if has_films else []
            writer.writerow([*row, "yes" if sick else "no"])


def measured(way: str, command: Command, *, rows: int) -> Row:
    """A command in a process of its own. Raises `RuntimeError` with its last line where it does not end well."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise RuntimeError(f"{way} of {rows} rows ended with code {process.returncode}: {lines[-1] if lines else 'silently'}")
    seconds = time.monotonic() - began
    return Row(way=way, rows=rows, seconds=round(seconds, 2), largest_megabytes=round(used.ru_maxrss * 1024 / 1e6, 1))


def growth(rows: Sequence[Row]) -> float:
    """Bytes that each further row costs, from the smallest table to the largest; 0 where there is only one."""
    first, last = min(rows, key=lambda row: row.rows), max(rows, key=lambda row: row.rows)
    return 1e6 * (last.largest_megabytes - first.largest_megabytes) / max(last.rows - first.rows, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, predict each table, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="rows of the table at 1×")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16], help="sizes, times --rows")
    parser.add_argument("--piece", type=int, default=256)
    parser.add_argument("--films", action="store_true", help="a film in every row")
    parser.add_argument("--whole", action="store_true", help="also with the whole table in memory")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args(arguments)
    told = circumstances()
    print(", ".join(f"{name} {value}" for name, value in told.items()), f"films {asked.films}, piece {asked.piece}", sep=", ")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number in range(N_FILMS if asked.films else 0):
            write_film(folder / f"film{number}.png", side=SIDE, seed=number)
        write_table(folder / "trained.csv", n=N_TRAINED, seed=0, has_films=asked.films)
        quick = ("--protocol", "split", "--seeds", "1", "--threads", str(asked.threads))
        train: Command = [ATTENDING, "run", folder / "trained.csv", "--target", "sick", "--out", folder / "run", *quick]
        measured("run", train, rows=N_TRAINED)
        for times in asked.times:
            n = times * asked.rows
            write_table(folder / "table.csv", n=n, seed=times, has_films=asked.films)
            given = (folder / "run", folder / "table.csv")
            options = ("--out", folder / "p.csv", "--piece", str(asked.piece), "--threads", str(asked.threads))
            ways: dict[str, Command] = {"predict": [ATTENDING, "predict", *given, *options]}
            if asked.whole:
                ways["whole table"] = [sys.executable, "-c", WHOLE, *given]
            for way, command in ways.items():
                rows.append(measured(way, command, rows=n))
                row = rows[-1]
                print(f"{way:12} {n:9,} rows {row.largest_megabytes:9.1f} MB {row.seconds:9.1f} s", flush=True)
    by_way = {way: growth([row for row in rows if row.way == way]) for way in dict.fromkeys(row.way for row in rows)}
    for way, grown in by_way.items():
        print(f"{way:12} {grown:9.0f} bytes a further row")
    if asked.json is not None:
        content = {**told, "films": asked.films, "piece": asked.piece, "rows": [asdict(row) for row in rows], "growth": by_way}
        write_text(asked.json, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
