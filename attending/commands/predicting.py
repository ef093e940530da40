"""`attending predict`: a delivered model on a table of any length, a piece at a time.

Cases are answered in the same batches of `EVALUATION_BATCH` whatever the size of a piece, because the last digit of an answer
depends on which cases are answered together. What was answered is kept in shards beside the file until that is whole.
A film that is changed in its place between a killed run and the next is noticed by its size and time of change alone.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attending.artefacts import MANIFEST, sha256
from attending.commands.progress import stages
from attending.commands.running import key_file
from attending.commands.shards import Shards
from attending.commands.showing import err
from attending.commands.using import ready_model
from attending.intake import declared_by
from attending.model.trained import EVALUATION_BATCH, MODEL, TrainedModel
from attending.records.companion_rows import Outcome, count_reasons
from attending.records.paged import open_table
from attending.records.values import Reading
from attending.streaming import Piece, Stream, open_stream
from attending.training.units import Progress

HEADER = ("id", "finding", "p_raw", "p_calibrated", "in_set", "abstained", "missing", "model")


def predict_table(
    path: Path,
    table: Path,
    *,
    out: Path,
    where: str | None,
    companions: Mapping[str, Path],
    device: str,
    threads: int,
    is_strict: bool,
    piece: int,
) -> None:
    """Write one row per case and finding: probability, set membership, abstention and what was missing.

    About `piece` cases are held at a time. Killed and started again, it answers only the pieces that are not there yet.
    """
    import torch

    model = ready_model(path, device=device, threads=threads)
    size = EVALUATION_BATCH * -(-piece // EVALUATION_BATCH)
    stream = open_stream(
        open_table(table),
        declared_by(model.schema),
        key_file=key_file(out),
        where=where,
        companions=companions,
        is_strict=is_strict,
        piece=size,
    )
    options = {"where": where, "strict": is_strict, "piece": size, "device": str(model.networks[0].register.device)}
    made_of = {
        "table": stream.plan.table.sha256 + _digest(str(table.resolve().parent)),
        "companions": {kind: companion.table.sha256 for kind, companion in stream.companions.items()},
        "model": sha256((path / MODEL if (path / MODEL).is_dir() else path) / MANIFEST),
        "key": _digest(stream.key.hex()),
        "options": options | {"threads": torch.get_num_threads()},
        "version": version("attending"),
    }
    shards = Shards(out, made_of=made_of, said=_say)
    pieces = [(start, min(start + size, len(stream))) for start in range(0, len(stream), size)]
    found = sum(_there(stream, shards, number, piece) is not None for number, piece in enumerate(pieces))
    changed = sum(shards.summary(number) is not None for number in range(len(pieces))) - found
    if changed:
        _say(f"{shards.folder}: films of {changed} of {len(pieces)} pieces have changed since; answered again")
    if found:
        _say(f"{shards.folder}: {found} of {len(pieces)} pieces are there already")
    told = _Told()
    for summary in _answered(model, stream, pieces, shards):
        told.add(summary)
    _show(stream, told, shards)
    shards.join(len(pieces), header=_lines([HEADER]))
    _say(f"written: {out}")


def _answered(
    model: TrainedModel, stream: Stream, pieces: Sequence[tuple[int, int]], shards: Shards
) -> Iterator[Mapping[str, Any]]:
    """The summary of every piece, in order, answered where its shard is not there."""
    with stages() as told:
        for number, (start, stop) in enumerate(pieces):
            summary = _there(stream, shards, number, (start, stop))
            if summary is None:
                try:
                    # the piece has no name here: it would be held while the next is read, and films are large
                    films = stream.films(start, stop)  # before they are read: a change meanwhile is noticed the next time
                    content, summary = _answer(model, stream.take_in(start, stop))
                    summary = {**summary, "films": films}
                except ValueError:
                    if number == 0:
                        shards.remove()  # nothing to go on from
                    raise
                shards.write(number, content, summary)
            yield summary
            told("answering", Progress(done=stop, of=len(stream), last="", seconds=0.0))


def _there(stream: Stream, shards: Shards, number: int, piece: tuple[int, int]) -> Mapping[str, Any] | None:
    """The summary of a piece that is there, made of films that are still the same."""
    summary = shards.summary(number)
    return summary if summary is not None and summary.get("films") == stream.films(*piece) else None


def _answer(model: TrainedModel, piece: Piece) -> tuple[str, Mapping[str, Any]]:
    """The rows of a piece as they are written, and what is told of it: counts and reasons, of nobody."""
    own = piece.intake.own_ids()
    rows: list[Sequence[object]] = []
    abstained: Counter[str] = Counter()
    cases = piece.intake.cases
    for start in range(0, len(cases), EVALUATION_BATCH):
        batch = cases[start : start + EVALUATION_BATCH]
        raw = model.raw_probability(batch)
        for diagnosis, of_case in zip(model.settled(batch, raw), raw, strict=True):
            abstained.update([diagnosis.abstained] if diagnosis.abstained else [])
            rows += [
                (
                    own[diagnosis.case],
                    finding.name,
                    repr(float(p_raw)),
                    repr(finding.probability),
                    int(finding.in_set),
                    diagnosis.abstained or "",
                    "+".join(diagnosis.missing),
                    diagnosis.model,
                )
                for finding, p_raw in zip(diagnosis.findings, of_case, strict=True)
            ]
    records = piece.intake.records
    return _lines(rows), {
        "missing": records.missing,
        "reasons": records.reasons,
        "companions": {kind: [(at, r.value, why) for at, r, why in told] for kind, told in piece.companion_rows.items()},
        "abstained": abstained,
    }


def _lines(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


class _Told:
    """What the pieces so far told, together: inputs that are missing, why values were not used, why no answer is given."""

    def __init__(self) -> None:
        self.missing: Sequence[str] = ()
        self.reasons: dict[str, Counter[str]] = {}
        self.abstained: Counter[str] = Counter()
        self.n_pieces = 0

    def add(self, summary: Mapping[str, Any]) -> None:
        self.missing = summary["missing"]  # by the header, so the same of every piece
        for column, reasons in summary["reasons"].items():
            self.reasons.setdefault(column, Counter()).update(reasons)
        self.abstained.update(summary["abstained"])
        self.n_pieces += 1


def _show(stream: Stream, told: _Told, shards: Shards) -> None:
    """What was missing, left out and refused, and for how many cases no answer is given and why."""
    table = stream.plan.table.name
    for column in told.missing:
        named = f"{column} was not given" if column.startswith("--") else f'input column "{column}" is not in {table}'
        err.print(f"{named}: absent evidence for every case", style="yellow", soft_wrap=True)
    for name, reasons in (*told.reasons.items(), *_companion_reasons(stream, shards, told.n_pieces)):
        for reason, count in reasons.items():
            _say(f"{name}: {count} left out: {reason}")
    plan = stream.plan
    first: dict[str, int] = {}
    for each in plan.refused:
        first.setdefault(each.reason, each.row)
    for reason, count in Counter(each.reason for each in plan.refused).items():
        _say(f"{count} rows refused: {reason} (the first: row {first[reason]})")
    _say(f"{plan.n_rows} rows: {len(plan.rows)} used in {len(plan)} cases, {len(plan.refused)} refused")
    for reason, count in told.abstained.most_common():
        _say(f"abstained: {count}: {reason}")
    n = told.abstained.total()
    _say(f"{len(plan)} cases: {len(plan) - n} answered, {n} abstained")


def _companion_reasons(stream: Stream, shards: Shards, n_pieces: int) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Why rows of a companion were not used. A row may belong to cases of several pieces."""

    def told(kind: str) -> Iterator[Outcome]:
        for number in range(n_pieces):
            summary = shards.summary(number)
            assert summary is not None
            for at, reading, why in summary["companions"][kind]:
                yield at, Reading(reading), why

    for kind, companion in stream.companions.items():
        yield kind, count_reasons(len(companion.table), told(kind))


def _say(sentence: str) -> None:
    err.print(sentence, highlight=False, soft_wrap=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
