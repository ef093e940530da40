"""The reading room's first view: seconds from the request to the whole first page, of the list and of one case.

    python -m benchmarks.service_room MODEL [--cases 800 20000] [--passes 3] [--json FILE]

for instance, after `make demo`, with out/demo/report: MODEL has to be of the synthetic clinic, of which the table is. 800 of
its patients with films, notes and values are drawn and repeated under new ids until there are so many cases. Each pass starts
the service anew, so its first list was never read before. A page is whole when its style, its program and all its films are
there and no row of the list is still being read; the list asks again as its program does. The marks of a case come after its
page and are not in these times. They mean something on a quiet machine only.
"""

import argparse
import csv
import http.client
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from attending.records.clinic import ClinicConfig, draw_clinic, write_clinic
from benchmarks.service import Row, served, tell

MUST_SECONDS = 1.0
DRAWN, SEED = 800, 8100
WAITS_SECONDS = 0.7
"""How long the list's program waits until it asks for rows that were not there (`room.js`)."""
MOST_ASKED = 60
FURNITURE = ("/room/static/style.css", "/room/static/room.js", "/room/static/icon.svg")
_WAITING = b" data-waiting>"
_CASE = re.compile(r'href="(/room/cases/[^"]+)" data-row')
_FILM = re.compile(r'<img src="(/room/cases/[^"]+/films/\d+)"')


def write_cases(folder: Path, n: int) -> tuple[Path, Path]:
    """A table of `n` cases and its values, in the folder of a drawn clinic; patients are repeated under new ids."""
    if not (folder / "patients.csv").is_file():
        write_clinic(draw_clinic(ClinicConfig(n_patients=min(n, DRAWN), seed=SEED)), folder)
    table, labs = folder / f"cases-{n}.csv", folder / f"labs-{n}.csv"
    people, values = _rows(folder / "patients.csv"), _rows(folder / "labs.csv")
    copies = range(-(-n // len(people)))
    more = [_named(row, copy) for copy in copies for row in people][:n]
    kept = {row["visit_id"] for row in more}
    _write(table, more)
    _write(labs, [row for copy in copies for value in values if (row := _named(value, copy))["visit_id"] in kept])
    return table, labs


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _named(row: Mapping[str, str], copy: int) -> dict[str, str]:
    ids = {name: f"{row[name]}-{copy}" for name in ("visit_id", "patient_id") if name in row}
    return {**row, **ids}


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Visitor:
    """Somebody who opens pages, over a connection of their own."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def get(self, path: str) -> bytes:
        """What lies there. Raises `RuntimeError` for anything but a page."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the room answered {answer.status}")
        return content

    def list_seconds(self) -> tuple[float, str]:
        """Seconds until the first page of the list is whole, and the page."""
        began = time.perf_counter()
        page = self.get("/")
        for path in FURNITURE:
            self.get(path)
        for _ in range(MOST_ASKED):
            if _WAITING not in page:
                break
            time.sleep(WAITS_SECONDS)
            page = self.get("/")
        else:
            raise RuntimeError(f"rows of the list were still being read after {MOST_ASKED} times")
        return time.perf_counter() - began, page.decode()

    def case_seconds(self, path: str) -> float:
        """Seconds until a case is whole with its films."""
        began = time.perf_counter()
        page = self.get(path).decode()
        for film in _FILM.findall(page):
            self.get(film)
        return time.perf_counter() - began


def measured(model: Path, sizes: Sequence[int], *, passes: int, threads: int) -> list[Row]:
    """Three figures for each size of the table, medians over the passes."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for n in sizes:
            table, labs = write_cases(Path(place) / "clinic", n)
            ready, lists, cases = [], [], []
            for _ in range(passes):
                began = time.perf_counter()
                with served(model, Path(place), threads=threads, more=("--cases", table, "--labs", labs)) as (port, _):
                    ready.append(time.perf_counter() - began)
                    with closing(Visitor(port)) as visitor:
                        seconds, page = visitor.list_seconds()
                        lists.append(seconds)
                        cases.append(visitor.case_seconds(_CASE.findall(page)[0]))
            rows += [
                Row(name=f"list, whole first page, {n} cases", value=median(lists), unit="s", must=MUST_SECONDS),
                Row(name=f"one case, whole page, {n} cases", value=median(cases), unit="s", must=MUST_SECONDS),
                Row(name=f"service started, {n} cases", value=median(ready), unit="s"),
            ]
    return rows


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 where something that is asked for was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=[800, 20_000])
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    rows = measured(chosen.model, chosen.cases, passes=chosen.passes, threads=chosen.threads)
    command = " ".join(["python -m benchmarks.service_room", *arguments])
    return tell(rows, command=command, load=load, keep=chosen.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
