"""Whole runs, each as a process of its own: how long, how much processor, how much memory, beside what was asked for.

    python -m benchmarks.runs [--only JOB ...] [--repeats 1] [--json FILE]

Jobs: help (`attending --help`), demo (`make demo` after installation), clinic (`attending run` at its defaults on 2,000
patients of the synthetic clinic), appendicitis (the same on bedside and laboratory), covidcxr (the same with the issue's
--where and --mask-labels). The last two need the real tables under ATTENDING_DATA (default ../shared/data); without them they
are left out, and that is said. Preparation, also what `make` still has to install, is not timed. All jobs take three quarters
of an hour on two free cores; demo replaces out/demo.

Memory is that of the largest process of a job. `seconds` mean something on a quiet machine only: `load` is from before it.
"""

# Light imports only: a child's largest memory includes that of the process that started it.
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from attending.artefacts import write_text

ROOT = Path(__file__).parents[1]
ATTENDING = Path(sys.executable).parent / "attending"
WHERE = "source in ('radiopaedia','eurorad') and dx not in ('no_finding','unknown')"
Command = Sequence[str | Path]


class LeftOutError(Exception):
    """This job cannot be timed here; the message says what it lacks."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """`prepare` makes in a folder what the timed command needs, and gives the command. A must that is None asks for nothing."""

    prepare: Callable[[Path], Command]
    must_seconds: float | None = None
    must_megabytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One repetition. `cpu_seconds` are of all its processes, `largest_megabytes` of the largest; `load` is from before it."""

    job: str
    repeat: int
    seconds: float
    cpu_seconds: float
    largest_megabytes: float
    must_seconds: float | None
    must_megabytes: float | None
    load: float

    @property
    def is_met(self) -> bool:
        """Whether nothing that was asked for is exceeded."""
        pairs = ((self.seconds, self.must_seconds), (self.largest_megabytes, self.must_megabytes))
        return all(must is None or measured <= must for measured, must in pairs)


def _help(_: Path) -> Command:
    return [ATTENDING, "--help"]


def _demo(_: Path) -> Command:
    make = ("make", f"VENV={sys.prefix}")
    _done([*make, f"{sys.prefix}/.installed"])
    return [*make, "demo"]


def _clinic(folder: Path) -> Command:
    _done([ATTENDING, "clinic", "--patients", "2000", "--seed", "7", "--out", folder / "clinic"])
    drawn = folder / "clinic"
    files = (drawn / "patients.csv", "--labs", drawn / "labs.csv", "--schema", drawn / "schema.toml")
    return [ATTENDING, "run", *files, "--out", folder / "run"]


def _appendicitis(folder: Path) -> Command:
    table, schema = _data("appendicitis"), folder / "schema.toml"
    script = (
        "import sys; from pathlib import Path; from attending.records import write_schema; "
        "from recipes.appendicitis import schema_of; table, schema = map(Path, sys.argv[1:]); "
        "write_schema(schema_of(table, target='diagnosis', predictors='bedside'), schema)"
    )
    _done([sys.executable, "-c", script, table, schema])
    return [ATTENDING, "run", table, "--schema", schema, "--out", folder / "run"]


def _covidcxr(folder: Path) -> Command:
    asked = ("--where", WHERE, "--target", "dx", "--positive", "covid19", "--mask-labels")
    return [ATTENDING, "run", _data("covidcxr"), *asked, "--out", folder / "run"]


JOBS: Mapping[str, Job] = {
    "help": Job(prepare=_help, must_seconds=0.4),
    "demo": Job(prepare=_demo, must_seconds=120.0, must_megabytes=2000.0),
    "clinic": Job(prepare=_clinic, must_seconds=900.0),
    "appendicitis": Job(prepare=_appendicitis, must_seconds=600.0),
    "covidcxr": Job(prepare=_covidcxr, must_seconds=1200.0),
}


def _data(name: str) -> Path:
    table = (ROOT / os.environ.get("ATTENDING_DATA", "../shared/data") / name / "patients.csv").resolve()
    if not table.is_file():
        raise LeftOutError(f"no {name}/patients.csv under ATTENDING_DATA (default ../shared/data)")
    return table


def _done(command: Command) -> None:
    ended = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        raise LeftOutError(f"preparation ended with code {ended.returncode}: {_last(ended.stderr)}")


def timed(name: str, job: Job, *, repeat: int) -> Row:
    """One run of a job in a folder of its own. Raises `LeftOutError` where it cannot begin or does not end well."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = job.prepare(folder)
        with (folder / "said").open("wb") as said:
            load = os.getloadavg()[0]
            began = time.monotonic()
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)  # counts the processes that it waited for, too
            seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            last = _last((folder / "said").read_text(encoding="utf-8", errors="replace"))
            raise LeftOutError(f"ended with code {process.returncode} after {seconds:.1f} s: {last}")
    return Row(
        job=name,
        repeat=repeat,
        seconds=round(seconds, 3),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 3),
        largest_megabytes=round(used.ru_maxrss * 1024 / 1e6, 1),
        must_seconds=job.must_seconds,
        must_megabytes=job.must_megabytes,
        load=round(load, 2),
    )


def _last(text: str) -> str:
    """The last line, which is where a command says why."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "nothing was said"


def circumstances() -> dict[str, object]:
    """Machine, threads and commit, without which a time means nothing."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "commit": _commit(),
        "machine": f"{models[0] if models else platform.machine()}, {memory / 1e6:.0f} GB, {platform.system()}",
        "threads": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).is_file() else []


def _commit() -> str:
    def git(*arguments: str) -> str:
        ended = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
        return ended.stdout.strip() if not ended.returncode else ""

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit}, changed since" if git("status", "--porcelain", "--untracked-files=no") else commit


def table_of(rows: Sequence[Row], left_out: Mapping[str, str]) -> Table:
    """All rows, for people."""
    table = Table(box=None, pad_edge=False)
    table.add_column("job", no_wrap=True)
    for name in ("repeat", "seconds", "must", "cpu seconds", "MB", "must", "load"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        musts = ["" if must is None else f"{must:g}" for must in (row.must_seconds, row.must_megabytes)]
        figures = (f"{row.seconds:.2f}", musts[0], f"{row.cpu_seconds:.2f}", f"{row.largest_megabytes:.0f}", musts[1])
        verdict = "[green]met[/]" if row.is_met else "[red]MISSED[/]"
        table.add_row(row.job, str(row.repeat), *figures, f"{row.load:.1f}", verdict)
    for name, why in left_out.items():
        table.add_row(name, *[""] * 7, f"left out: {why}")
    return table


def main(arguments: Sequence[str] | None = None, *, jobs: Mapping[str, Job] = JOBS) -> int:
    """Time, print the table, write the rows as they come. 1 where a job was left out: silence is not speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(jobs), metavar="JOB", help=f"some of {', '.join(jobs)}")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here, also")
    asked = parser.parse_args(arguments)
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    told = circumstances()
    say.print(", ".join(f"{name} {value}" for name, value in told.items()), style="dim")
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    for name in asked.only or tuple(jobs):
        for repeat in range(asked.repeats):
            try:
                rows.append(timed(name, jobs[name], repeat=repeat))
                say.print(f"{name}: {rows[-1].seconds:.2f} s", style="dim")
            except LeftOutError as error:
                left_out[name] = str(error)
                say.print(f"{name}: left out: {error}", style="dim")
                break
            finally:
                if asked.json is not None:
                    content = {**told, "rows": [asdict(row) for row in rows], "left_out": left_out}
                    write_text(asked.json, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table_of(rows, left_out))
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
