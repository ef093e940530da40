"""How fast a table is read and audited, how fast films are compared for twins, and how often the audit is right.

    python -m benchmarks.audit                          # 10,000 rows × 26 columns, no films: read and audited, aim < 60 s
    python -m benchmarks.audit --rows 1000 2000 4000    # other sizes, to see how time grows
    python -m benchmarks.audit --films 200              # films of 1,024 pixels hashed, mirrored, cropped: aim ≥ 50 a second
    python -m benchmarks.audit --clean 300 --minutes 40 # clean tables with a blocking finding: aim ≤ 1 %
    python -m benchmarks.audit --detection 3            # seeds per trap and strength: which are found

Draws invented tables into a temporary folder: names, birthdays, a site, notes, numbers and signs. Prints; run it on a
quiet machine with two threads.
"""

import argparse
import csv
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from attending.audit import Material, Severity, audit
from attending.audit.repeats import RepeatsCheck
from attending.records import infer_schema, read_charts, read_table
from attending.records.clinic.config import TRAPS

ROWS, NUMBERS, SIGNS = 10_000, 14, 4
MOST_SECONDS, LEAST_RATE = 60.0, 50.0
SIDE = 1024
_WORDS = ("cough", "fever", "since", "days", "no", "pain", "dry", "wet", "chest", "asthma", "smoker", "tired")


def write_table(path: Path, rows: int, *, seed: int = 0) -> Path:
    """A CSV of 26 columns with a binary target `sick` that age and the numbers tell a little of; nothing in it is a leak."""
    rng = np.random.default_rng(seed)
    sick = rng.random(rows) < 0.3
    columns: dict[str, list[str]] = {
        "patient_id": [f"p{number:06d}" for number in range(rows)],
        "surname": [f"name{number}" for number in rng.integers(0, rows, rows)],
        "dob": [f"{1920 + day // 360}-0{1 + day % 9}-1{day // 9 % 10}" for day in rng.integers(0, 70 * 360, rows)],
        "site": [f"site {letter}" for letter in rng.choice(list("ABC"), rows)],
        "age": [str(age) for age in rng.integers(20, 90, rows) + 2 * sick],
        "sex": rng.choice(["female", "male"], rows).tolist(),
        "note": [" ".join(rng.choice(_WORDS, 12)) for _ in range(rows)],
    }
    for number in range(NUMBERS):
        values = rng.gamma(2.0, 10.0, rows) + 2.0 * sick
        columns[f"value{number}_mg_l"] = [f"{value:.2f}" if rng.random() > 0.1 else "" for value in values]
    for number in range(SIGNS):
        columns[f"sign{number}"] = rng.choice(["no", "mild", "severe"], rows).tolist()
    columns["sick"] = ["yes" if one else "no" for one in sick]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def table(rows: int) -> None:
    """Seconds for reading, declaring and charting a table, and for every check on it."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(Path(folder) / "patients.csv", rows)
        start = time.perf_counter()
        read = read_table(path)
        schema = infer_schema(read, targets=["sick"])
        records = read_charts(read, schema)
        reading = time.perf_counter() - start
        auditing = timed(lambda: audit(Material(table=read, records=records)))
    n_columns = read.frame.width
    told = (
        f"{rows} rows × {n_columns} columns: read in {reading:.2f} s, audited in {auditing:.2f} s, {reading + auditing:.2f} s"
    )
    print(f"{told} together (must at {ROWS} rows: under {MOST_SECONDS:g} s)", flush=True)


def films(n: int) -> None:
    """Films a second through reading a file of 1,024 pixels, and through the search for twins among them."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["patient_id,film,sick"]
        for number in range(n):
            coarse = np.kron(rng.normal(size=(32, 32)), np.ones((SIDE // 32, SIDE // 32)))
            pixels = np.clip(110 + 30 * coarse + 8 * rng.normal(size=(SIDE, SIDE)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=1)
            lines.append(f"p{number},{number}.png,{number % 2}")
        (folder / "patients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        read = read_table(folder / "patients.csv")
        schema = infer_schema(read, targets=["sick"])
        start = time.perf_counter()
        material = Material(table=read, records=read_charts(read, schema))
        reading = time.perf_counter() - start
        hashing = timed(lambda: RepeatsCheck().look(material))
    print(
        f"{n} films of {SIDE} pixels: read {n / reading:.0f} a second, hashed and compared {n / hashing:.0f} a second "
        f"(must: {LEAST_RATE:g} a second)",
        flush=True,
    )


def clean(n: int, *, first: int, minutes: float) -> None:
    """The verdicts on clean tables `first` and following, until there are `n` or the time is over."""
    from tests.audit.test_at_length import at_most, audited, clean_config

    until = time.monotonic() + 60.0 * minutes
    blocked, warned, done = Counter[str](), Counter[str](), 0
    for number in range(first, first + n):
        config = clean_config(number)
        with tempfile.TemporaryDirectory() as folder:
            verdict = audited(Path(folder) / "clinic", config)
        done += 1
        at_fault = sorted({one.check for one in verdict.blocking})
        warnings = sorted({one.check for one in verdict.findings if one.severity is Severity.WARN})
        blocked.update(at_fault and ["tables", *at_fault])
        warned.update(warnings and ["tables", *warnings])
        told = f"{config.n_patients} patients, {config.noise_columns} columns of noise, odds × {config.prevalence:.3f}"
        print(f"{number}: {told}: {at_fault or 'nothing'} blocks, {warnings or 'nothing'} warns", flush=True)
        if time.monotonic() > until:
            break
    share, limit = blocked["tables"] / done, at_most(blocked["tables"], done)
    print(f"{done} clean tables ({first} to {first + done - 1}): {blocked['tables']} blocked ({100 * share:.2f} %), ", end="")
    print(f"under {100 * limit:.2f} % (exact, one-sided 95 %); blocked {dict(blocked)}, warned {dict(warned)}")


def detection(seeds: int) -> None:
    """How many of the planted traps are found, by strength."""
    from tests.audit.test_at_length import STRENGTHS, is_found

    for trap in TRAPS:
        told = []
        for strength in STRENGTHS:
            found = 0
            for seed in range(41, 41 + seeds):
                with tempfile.TemporaryDirectory() as folder:
                    found += is_found(Path(folder) / "clinic", trap, strength=strength, seed=seed)
            told.append(f"{strength:g}: {found} of {seeds}")
        print(trap, *told, sep="  ", flush=True)


def main() -> None:
    """Run what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[ROWS], metavar="N")
    parser.add_argument("--films", type=int, metavar="N")
    parser.add_argument("--clean", type=int, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--detection", type=int, metavar="SEEDS")
    asked = parser.parse_args()
    if asked.clean:
        clean(asked.clean, first=asked.first, minutes=asked.minutes)
        return
    if asked.detection:
        detection(asked.detection)
        return
    if asked.films:
        films(asked.films)
        return
    for rows in asked.rows:
        table(rows)


if __name__ == "__main__":
    main()
