"""`attending serve` under load: seconds of a case alone, throughput and waiting at 16 clients, memory over many requests.

    python -m benchmarks.service MODEL TABLE [--labs FILE] [--cases 64] [--requests 3000] [--clients 16] [--json FILE]

for instance, after `make demo`,

    python -m benchmarks.service out/demo/report out/demo/clinic/patients.csv --labs out/demo/clinic/labs.csv

The service is a process of its own and so are the clients, which share the machine with it, as on a small one they would.
`attending predict` is what the command does after its imports: read the table and its files, answer all cases at once; the
answers alone stand beside it. The memory slope is fitted to the last two thirds of the requests; 30,000 are asked for. Times
mean something on a quiet machine only.
"""

import argparse
import base64
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from attending.artefacts import write_text
from attending.case import Case, Censoring, Chart, Demographics, Embedding, Lab, Note, Scan, Sign
from benchmarks.runs import circumstances

P50_SECONDS, P50_EXPLAINED_SECONDS = 0.050, 0.500
LEAST_THROUGHPUT_SHARE, MOST_P95_TIMES = 0.70, 16.0
MOST_BYTES_A_REQUEST = 512.0
PASSES = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure and what is asked of it. `at_least` says on which side of `must` it has to lie."""

    name: str
    value: float
    unit: str
    must: float | None = None
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it lies where it has to."""
        return self.must is None or (self.value >= self.must if self.at_least else self.value <= self.must)


def message_of(chart: Chart) -> dict[str, Any]:
    """What a chart is as the body of a request."""
    found: dict[str, Any] = {"notes": [], "values": [], "signs": [], "images": [], "embeddings": []}
    for each in chart.evidence:
        at = {"at_hours": each.at}
        match each:
            case Note():
                found["notes"].append({"field": each.field_name, "text": each.text, **at})
            case Lab():
                unit = None if each.unit.symbol == "unstated" else each.unit.symbol
                value = {"code": each.code, "value": each.value, "unit": unit, **at}
                if each.reference:
                    value["reference"] = dict(zip(("low", "high"), each.reference, strict=True))
                if each.censoring is not Censoring.NONE:
                    value["limit"] = each.censoring.value
                found["values"].append(value)
            case Sign():
                found["signs"].append({"name": each.name, "level": each.value, **at})
            case Scan():
                buffer = io.BytesIO()
                Image.fromarray((each.pixels * 255).round().astype(np.uint8)).save(buffer, "PNG")
                found["images"].append({"field": each.field_name, "data": base64.b64encode(buffer.getvalue()).decode(), **at})
            case Embedding():
                found["embeddings"].append({"name": each.name, "vector": each.vector.tolist(), **at})
            case Demographics():
                found |= {"age_years": each.age_years, "sex": each.sex}
    return found


@contextmanager
def served(model: Path, folder: Path, *, threads: int, more: Sequence[str | Path] = ()) -> Iterator[tuple[int, int]]:
    """`attending serve` with an audit log and `more` options, as a process; gives its port and its process id."""
    told = folder / "told.txt"
    command = [Path(sys.executable).parent / "attending", "serve", model, "--port", "0", "--rate", "0"]
    own = ["--audit-log", folder / "audit.jsonl", "--threads", str(threads), "--device", "cpu"]
    with told.open("wb") as handle:
        process = subprocess.Popen([*command, *own, *more], stderr=handle)
    try:
        while " on http://" not in told.read_text():
            if process.poll() is not None:
                raise RuntimeError(f"attending serve ended: {told.read_text()[-500:]}")
            time.sleep(0.05)
        port = int(told.read_text().split(" on ")[1].split()[0].rpartition(":")[2])
        _wait(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError("the service was not ready within 30 seconds")


def ask(port: int, bodies: Sequence[bytes], n: int) -> list[float]:
    """Seconds of each of `n` requests, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seconds = []
    for number in range(n):
        began = time.perf_counter()
        connection.request("POST", "/v1/diagnoses", bodies[number % len(bodies)], {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the service answered {answer.status}")
        seconds.append(time.perf_counter() - began)
    connection.close()
    return seconds


def resident_bytes(process: int) -> int:
    """Memory that a process holds."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(
    model: Path, table: Path, companions: Mapping[str, Path], *, n_cases: int, requests: int, clients: int, threads: int
) -> list[Row]:
    """All figures."""
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(max_workers=clients) as pool:
        list(pool.map(abs, range(clients)))  # the clients start before torch is here
        charts, _ = _taken_in(model, table, companions, folder=Path(place), n=n_cases)
        messages = [message_of(chart) for chart in charts]
        bodies = [json.dumps(message).encode() for message in messages]
        explained = [json.dumps({**message, "explanation": "shapley"}).encode() for message in messages]
        reading, answering, n = _predict_seconds(model, table, companions, folder=Path(place), threads=threads)
        with served(model, Path(place), threads=threads) as (port, process):
            ask(port, bodies, min(len(bodies), 20))
            alone = ask(port, bodies, max(20, min(200, requests // 10)))
            told_why = ask(port, explained, max(5, min(50, requests // 40)))
            share = max(1, requests // (clients * 30))
            memory, together = [], []
            began = time.perf_counter()
            for _ in range(30):
                together += list(pool.map(ask, [port] * clients, [bodies] * clients, [share] * clients))
                memory.append(resident_bytes(process))
            spent = time.perf_counter() - began
    waits = np.concatenate(together)
    asked = np.arange(1, 31) * share * clients
    slope = float(np.polyfit(asked[10:], memory[10:], 1)[0])
    return [
        Row(name="case alone, p50", value=median(alone), unit="s", must=P50_SECONDS),
        Row(name="case alone with Shapley values, p50", value=median(told_why), unit="s", must=P50_EXPLAINED_SECONDS),
        Row(name="attending predict", value=n / (reading + answering), unit="cases/s"),
        Row(name="attending predict, answers alone", value=n / answering, unit="cases/s"),
        Row(name=f"served, {clients} clients", value=len(waits) / spent, unit="cases/s"),
        Row(
            name="served / predict",
            value=len(waits) / spent * (reading + answering) / n,
            unit="",
            must=LEAST_THROUGHPUT_SHARE,
            at_least=True,
        ),
        Row(
            name=f"p95 at {clients} clients / p50 alone",
            value=float(np.quantile(waits, 0.95)) / median(alone),
            unit="",
            must=MOST_P95_TIMES,
        ),
        Row(name="memory at the end", value=memory[-1] / 1e6, unit="MB"),
        Row(name=f"memory slope over {len(waits)} requests", value=slope, unit="bytes/request", must=MOST_BYTES_A_REQUEST),
    ]


def _taken_in(
    model: Path, table: Path, companions: Mapping[str, Path], *, folder: Path, n: int
) -> tuple[Sequence[Chart], Sequence[Case]]:
    from attending.intake import declared_by, read_table, take_in
    from attending.model.trained import load_model

    schema = declared_by(load_model(model).schema)
    key = folder / "privacy.key"
    intake = take_in(read_table(table), schema, key_file=key, companions=companions, needs_truth=False)
    return intake.records.charts[:n], intake.cases[:n]


def _predict_seconds(
    model: Path, table: Path, companions: Mapping[str, Path], *, folder: Path, threads: int
) -> tuple[float, float, int]:
    """Seconds to read the whole table, to answer its cases, and how many they are."""
    import torch

    from attending.model.trained import load_model

    if threads:
        torch.set_num_threads(threads)
    loaded = load_model(model)
    reading, answering = [], []
    cases: Sequence[Case] = ()
    for _ in range(PASSES):
        began = time.perf_counter()
        _, cases = _taken_in(model, table, companions, folder=folder, n=sys.maxsize)
        read = time.perf_counter()
        loaded.diagnose(cases)
        reading.append(read - began)
        answering.append(time.perf_counter() - read)
    return median(reading), median(answering), len(cases)


def tell(rows: Sequence[Row], *, command: str, load: float, keep: Path | None) -> int:
    """Print the figures with their circumstances, and keep them; 1 where something that is asked for was missed."""
    grid = Table(box=None, pad_edge=False)
    for name in ("figure", "value", "unit", "must", ""):
        grid.add_column(name, justify="right" if name in ("value", "must") else "left")
    for row in rows:
        must = "" if row.must is None else f"{'≥' if row.at_least else '≤'} {row.must:g}"
        verdict = "" if row.must is None else "met" if row.is_met else "MISSED"
        grid.add_row(row.name, f"{row.value:.4g}", row.unit, must, verdict)
    told = {**circumstances(), "load": round(load, 2), "command": command}
    console = Console()
    console.print(grid)
    console.print(told)
    if keep is not None:
        write_text(keep, json.dumps({**told, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    return 0 if all(row.is_met for row in rows) else 1


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 where something that is asked for was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    for kind in ("labs", "notes", "images"):
        parser.add_argument(f"--{kind}", type=Path)
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    companions = {kind: path for kind in ("labs", "notes", "images") if (path := getattr(chosen, kind)) is not None}
    load = os.getloadavg()[0]
    rows = measured(
        chosen.model,
        chosen.table,
        companions,
        n_cases=chosen.cases,
        requests=chosen.requests,
        clients=chosen.clients,
        threads=chosen.threads,
    )
    command = " ".join(["python -m benchmarks.service", *arguments])
    return tell(rows, command=command, load=load, keep=chosen.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
