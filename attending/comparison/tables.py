"""The comparison as two tables of words, for a terminal and a page."""

from dataclasses import dataclass

from attending.attention import name_of
from attending.comparison.clinic import CLINIC, QUANTITY
from attending.comparison.comparison import Comparison
from attending.comparison.contenders import can_be_causal, told_settings
from attending.comparison.row import LAYER, Ledger
from attending.comparison.words import (
    NOTHING,
    told_bytes,
    told_count,
    told_growth,
    told_quality,
    told_share,
    told_time,
    unit_of,
)


@dataclass(frozen=True, kw_only=True)
class ToldTable:
    """Title, heads, rows of words, and what must be known to read them."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def size_table(found: Comparison) -> ToldTable:
    """What one layer costs at the longest length."""
    ledger, timing = Ledger(found.rows), found.plan.timing
    length = max(timing.lengths)
    units = {
        phase: unit_of(ledger.among(task=LAYER, length=length, phase=phase, quantity="seconds"))
        for phase in ("prefill", "decode")
    }
    rows = []
    for one in found.contenders:
        of = {"mechanism": one.name, "task": LAYER, "length": length}
        times = {phase: ledger.one(**of, phase=phase, quantity="seconds") for phase in ("prefill", "decode")}
        exact = {name: ledger.one(**of, quantity=name) for name in ("parameters", "cache_bytes_used")}
        peak = ledger.one(**of, phase="prefill", quantity="peak_bytes")
        flops = ledger.one(**of, phase="prefill", quantity="flops_growth")
        grows = ledger.one(**of, phase="prefill", quantity="seconds_growth")
        rows.append(
            (
                one.name,
                NOTHING if (row := exact["parameters"]) is None else told_count(row.value),
                NOTHING if (row := exact["cache_bytes_used"]) is None else told_bytes(row.value),
                told_time(times["prefill"], units["prefill"]),
                told_share(times["prefill"]),
                told_time(times["decode"], units["decode"]),
                told_share(times["decode"]),
                NOTHING if peak is None else told_bytes(peak.value),
                told_growth(flops),
                told_growth(grows),
            )
        )
    first = found.contenders[0].config
    return ToldTable(
        title=f"One layer of width {first.dim} over {length:,} tokens, {timing.dtype}, threads: {found.limits.threads}",
        heads=(
            "mechanism",
            "parameters",
            "cache",
            f"read all, {units['prefill'][0]}",
            "of limit",
            f"one token, {units['decode'][0]}",
            "of limit",
            "peak",
            "FLOPs ~",
            "time ~",
        ),
        rows=tuple(rows),
        note="times: median (fastest to slowest round); of limit: the machine's floor over the time; peak: bytes of "
        "tensors that live at once while all is read; ~: the power of the length with which it grows, at the two longest",
    )


def quality_table(found: Comparison) -> ToldTable:
    """What each mechanism learned, and how that compares to the first."""
    ledger = Ledger(found.rows)
    learned = [str(name) for name in ledger.distinct("task") if name != LAYER]
    rows = []
    for one in found.contenders:
        cells = [one.name]
        for task in learned:
            of = {"mechanism": one.name, "task": task}
            cache = ledger.one(**of, quantity="cache_bytes_used")
            quantity = measure_of(task)
            decimals = 2 if quantity == "accuracy" else 3
            cells += [
                told_quality(ledger.one(**of, quantity=quantity), decimals),
                told_quality(ledger.one(**of, quantity=f"{quantity}_difference"), decimals),
                NOTHING if cache is None else told_bytes(cache.value),
            ]
        rows.append(tuple(cells))
    first, n_seeds = found.contenders[0].name, len(found.plan.seeds)
    return ToldTable(
        title=f"What is learned, {n_seeds} seeds, small tasks in {found.plan.learning.steps} steps",
        heads=("mechanism", *(head for task in learned for head in (task, f"less {first}", "cache"))),
        rows=tuple(rows) if learned else (),
        note="; ".join(_notes(learned)),
    )


def settings_table(found: Comparison) -> ToldTable:
    """Each mechanism's settings, and what it could not do as the others did."""
    rows = []
    for one in found.contenders:
        config = one.over(max(found.plan.timing.lengths))
        told = (
            "each token sees those before it"
            if can_be_causal(config)
            else "sees everything: it cannot be causal, nor be fed token by token"
        )
        rows.append((one.name, name_of(config), told_settings(config) or "as they come", told))
    return ToldTable(
        title=f"Width {found.contenders[0].config.dim}; where settings follow the length, those of the longest are told",
        heads=("mechanism", "in the catalog", "settings", "what is seen"),
        rows=tuple(rows),
    )


def measure_of(task: str) -> str:
    """What quality is counted in."""
    return QUANTITY if task == CLINIC else "accuracy"


def _notes(learned: list[str]) -> list[str]:
    notes = []
    if any(task != CLINIC for task in learned):
        notes.append(
            "small tasks: share of right answers, 95 % t interval over seeds, differences paired by seed; where all seeds "
            "agree it has no width, and is no certainty"
        )
    if CLINIC in learned:
        notes.append("clinic: mean AUROC of its findings, 95 % bootstrap over patients, differences paired by patient")
    return notes
