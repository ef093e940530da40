"""kill -9 at any moment, start again, and the bits are those of what was never killed. The killed ones are real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from attending.artefacts import ArtefactError
from attending.case import Case
from attending.diagnosis import Task
from attending.study import Plan, Study, hold_study
from attending.training import checkpoint
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.network import EpochRecord
from attending.training.units import JOURNAL, Progress, WorkerError, Workplace, run_units
from tests.tables import rows, sick_cases, taken_in, tiny_recipe, write_rows
from tests.training.napping import Collapse, Nap

TASK = Task(findings=("sick",))
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Callable[[str, Callable[[], bool]], None]]:
    """Run a call in a process of its own, and kill it as soon as something is seen."""
    started: list[subprocess.Popen[bytes]] = []

    def run(call: str, seen: Callable[[], bool]) -> None:
        module = call.partition(".")[0]
        script = f"from pathlib import Path; from tests.training import {module}; {call}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
        started.append(process)
        until = time.monotonic() + PATIENCE_SECONDS
        while not seen():
            assert process.poll() is None, f"ended before it could be killed: {process.communicate()[1].decode()[-2000:]}"
            assert time.monotonic() < until, "nothing was seen"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


EPOCHS = 40


def long_fit(folder: Path, *, begun: Path | None = None, watched: bool = False) -> dict[str, bytes]:
    """A fit that keeps a checkpoint after every epoch; `begun` grows by a byte an epoch. Gives the weights' bits."""
    torch.set_num_threads(1)
    recipe = tiny_recipe(epochs=EPOCHS, patience=EPOCHS)
    learner = DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)

    def heard(_: object) -> None:
        if begun is not None:
            with begun.open("ab") as handle:
                handle.write(b".")
            time.sleep(0.02)

    diary = Diary(heard=heard, checkpoint=folder / "fit.checkpoint")
    cases = _cases(folder)
    checkpoint.SECONDS_BETWEEN = 0.0
    if watched:
        fitted, _ = learner.fit_watched(cases[:30], cases[30:], task=TASK, seed=5, diary=diary)
    else:
        fitted = learner.fit(cases, length=EPOCHS, task=TASK, seed=5, diary=diary)
    return {name: value.tobytes() for name, value in fitted.weights().items()}


def _cases(folder: Path) -> list[Case]:
    return sick_cases(folder / "table")


def test_a_fit_killed_in_its_middle_continues_with_the_same_bits(
    tmp_path: Path, killed: Callable[[str, Callable[[], bool]], None]
) -> None:
    begun, path = tmp_path / "begun", tmp_path / "fit.checkpoint"
    killed(
        f"test_resume.long_fit(Path({str(tmp_path)!r}), begun=Path({str(begun)!r}), watched=True)",
        lambda: begun.exists() and begun.stat().st_size >= 7,
    )
    assert 7 <= begun.stat().st_size < EPOCHS
    assert path.exists()
    epochs: list[int] = []
    continued = _heard(tmp_path, epochs)
    assert not path.exists()
    assert epochs[0] >= 6  # it went on, and did not begin again
    assert continued == long_fit(tmp_path, watched=True)


def _heard(folder: Path, epochs: list[int]) -> dict[str, bytes]:
    """The continued fit, and which epochs it did."""
    done = folder / "continued"
    before = checkpoint.load(_content(folder / "fit.checkpoint"))
    epochs.append(int(before["epochs_done"]))
    found = long_fit(folder, begun=done, watched=True)
    assert done.stat().st_size == EPOCHS - epochs[0]
    return found


class _PowerCutError(Exception):
    """The light goes out."""


def test_a_fit_of_a_given_length_continues_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    recipe = tiny_recipe(epochs=6)
    learner = DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)
    cases, path = _cases(tmp_path), tmp_path / "fit.checkpoint"

    def until_epoch_4(record: EpochRecord) -> None:
        if record.epoch == 4:
            raise _PowerCutError

    def fit(diary: Diary) -> dict[str, bytes]:
        fitted = learner.fit(cases, length=6, task=TASK, seed=5, diary=diary)
        return {name: value.tobytes() for name, value in fitted.weights().items()}

    with pytest.raises(_PowerCutError):
        fit(Diary(heard=until_epoch_4, checkpoint=path))
    records: list[EpochRecord] = []
    continued = fit(Diary(heard=records.append, checkpoint=path))
    assert [record.epoch for record in records] == [4, 5, 6]
    assert continued == fit(Diary())


def _content(path: Path) -> bytes:
    return path.read_bytes()[checkpoint.DIGEST_BYTES :]


@pytest.fixture(autouse=True)
def _seconds_between() -> Iterator[None]:
    before = checkpoint.SECONDS_BETWEEN
    yield
    checkpoint.SECONDS_BETWEEN = before


def tiny_study(folder: Path, out: Path) -> Study:
    """A study of a tiny table under cross-validation."""
    intake = taken_in(folder / "table.csv", target="sick", ignore="kind,a,b")
    plan = Plan(protocol="cv", folds=2, repeats=1, threads=1, recipe=tiny_recipe(members=2))
    return hold_study(intake, plan=plan, out=out)


def test_a_run_killed_in_its_middle_gives_the_files_of_one_never_killed(
    tmp_path: Path, killed: Callable[[str, Callable[[], bool]], None]
) -> None:
    write_rows(tmp_path / "table.csv", rows(40))
    out, work = tmp_path / "out", tmp_path / "out" / ".work"
    taken_in(tmp_path / "table.csv", target="sick", ignore="kind,a,b")  # makes the project's key
    killed(f"test_resume.tiny_study(Path({str(tmp_path)!r}), Path({str(out)!r}))", lambda: len(list(work.glob("*.npz"))) >= 12)
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert not (out / "report.json").exists()
    entries = [json.loads(line) for line in (work / JOURNAL).read_text().splitlines()]
    tiny_study(tmp_path, out)
    continued = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert continued[: len(entries)] == entries
    finished = [entry["unit"] for entry in continued if "seconds" in entry]
    assert len(finished) == len(set(finished)) > len(done)  # no fit that was done is done again
    assert not work.exists()

    tiny_study(tmp_path, tmp_path / "whole")
    for name in (
        "predictions.csv",
        "split.csv",
        "model/member-0.safetensors",
        "model/member-1.safetensors",
        "model/settling.json",
    ):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_damaged_result_is_not_there_and_its_fit_is_done_again(tmp_path: Path) -> None:
    write_rows(tmp_path / "table.csv", rows(40))
    intake = taken_in(tmp_path / "table.csv", target="sick", ignore="kind,a,b")
    plan = Plan(protocol="quick", threads=1, recipe=tiny_recipe())
    out, work = tmp_path / "out", tmp_path / "out" / ".work"

    def until_four_are_done(stage: str, progress: Progress) -> None:
        if len(list(work.glob("*.npz"))) >= 4:
            raise _PowerCutError

    with pytest.raises(_PowerCutError):
        hold_study(intake, plan=plan, out=out, told=until_four_are_done)
    short, garbled, *kept = sorted(work.glob("*.npz"))
    short.write_bytes(short.read_bytes()[:-30])
    content = bytearray(garbled.read_bytes())
    content[len(content) // 2] ^= 1
    garbled.write_bytes(content)
    before = {path.name: path.stat().st_mtime_ns for path in kept}
    said: list[str] = []
    remade: list[str] = []

    def heard(stage: str, progress: Progress) -> None:
        remade.extend(path.name for path in (short, garbled) if path.exists())
        assert {path.name: path.stat().st_mtime_ns for path in kept} == before

    hold_study(intake, plan=plan, out=out, said=said.append, told=heard)
    told = [sentence for sentence in said if "damaged" in sentence]
    assert [Path(sentence.partition(":")[0]) for sentence in told] == [short, garbled]
    assert {short.name, garbled.name} <= set(remade)
    hold_study(intake, plan=plan, out=tmp_path / "whole")
    assert (out / "predictions.csv").read_bytes() == (tmp_path / "whole" / "predictions.csv").read_bytes()


def test_the_journal_tells_every_epoch_and_every_fit(tmp_path: Path) -> None:
    write_rows(tmp_path / "table.csv", rows(40))
    intake = taken_in(tmp_path / "table.csv", target="sick", ignore="kind,a,b")
    plan = Plan(protocol="split", threads=1, recipe=tiny_recipe(epochs=4, members=2))
    hold_study(intake, plan=plan, out=tmp_path / "out")
    entries = [json.loads(line) for line in (tmp_path / "out" / JOURNAL).read_text().splitlines()]
    assert all(entry["at"] > 1.7e9 for entry in entries)
    for member in range(2):
        unit = f"fused member {member} watched"
        epochs = [entry for entry in entries if entry["unit"] == unit and "epoch" in entry]
        assert [entry["epoch"] for entry in epochs] == list(range(1, len(epochs) + 1))
        assert all(np.isfinite(entry["loss"]) and entry["learning_rate"] >= 0 for entry in epochs)
        assert sum(entry["unit"] == unit and "seconds" in entry for entry in entries) == 1


def test_workers_of_a_killed_run_do_not_stay_behind(tmp_path: Path, killed: Callable[[str, Callable[[], bool]], None]) -> None:
    killed(f"napping.nap(Path({str(tmp_path)!r}))", lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    until = time.monotonic() + 20.0
    workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    while any(_is_alive(worker) for worker in workers):
        assert time.monotonic() < until, "a worker outlived the run that started it"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_damaged_work_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_rows(tmp_path / "table" / "table.csv", rows(40))
    (tmp_path / "fit.checkpoint").write_bytes(b"\0" * 100)
    with pytest.raises(ArtefactError, match=r"fit\.checkpoint: the checkpoint is damaged; remove it"):
        long_fit(tmp_path)
    unit = Nap(name="one", seed=0)
    (tmp_path / unit.file_name).write_bytes(b"half")
    with pytest.raises(ArtefactError, match="the result of a fit is damaged; remove it"):
        list(run_units([unit], workplace=Workplace(cases={}, folder=tmp_path), threads=1))


def test_a_worker_that_ends_is_one_sentence_with_what_to_do() -> None:
    units = [Collapse(name="one", seed=0), Collapse(name="two", seed=0)]
    with pytest.raises(WorkerError, match="goes on from here"):
        list(run_units(units, workplace=Workplace(cases={}), threads=2))
