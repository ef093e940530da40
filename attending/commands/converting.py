"""`attending convert`: a finished model's attention into a cheaper one, with a receipt."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from attending.artefacts import write_text
from attending.attention.conversion import conversion_from
from attending.commands.showing import err, out
from attending.commands.using import ready_model, take_in_for
from attending.model.trained import MODEL

if TYPE_CHECKING:
    from attending.comparison.conversion import ConversionReceipt

RECEIPT_JSON, RECEIPT_HTML = "receipt.json", "receipt.html"


def convert_folder(
    path: Path,
    *,
    to: str,
    cases: Path,
    folder: Path,
    where: str | None,
    companions: Mapping[str, Path],
    only: Sequence[str],
    refits: bool,
    recover: int,
    seed: int,
    device: str,
    threads: int,
    is_strict: bool,
) -> None:
    """Convert, judge, and write the new model's folder beside its receipt."""
    from attending.comparison.conversion import ConversionPlan, convert_model
    from attending.comparison.receipt import receipt_record
    from attending.comparison.receipt_page import receipt_page

    conversion_from(to)  # what cannot be read is refused before anything is loaded
    if (folder / RECEIPT_JSON).exists():
        raise ValueError(f"{folder}: holds a finished conversion; name another --out, or remove it")
    model = ready_model(path, device=device, threads=threads)
    intake = take_in_for(
        model, cases, where=where, companions=companions, is_strict=is_strict, needs_truth=False, beside=folder
    )
    plan = ConversionPlan(to=to, only=tuple(only) or None, refits=refits, recover=recover, seed=seed)
    done = convert_model(
        model,
        intake.cases,
        plan,
        trained_on_these=model.provenance.get("data_sha256") == intake.table.sha256,
        told=lambda said: err.print(said, highlight=False),
    )
    done.model.save(folder / MODEL)
    record = json.dumps(receipt_record(done.receipt), indent=1, allow_nan=False) + "\n"
    write_text(folder / RECEIPT_JSON, record)
    write_text(folder / RECEIPT_HTML, receipt_page(done.receipt))
    show_receipt(done.receipt)
    out.print(f"model: {folder / MODEL}", highlight=False, soft_wrap=True)
    out.print(f"receipt: {folder / RECEIPT_HTML}", highlight=False, soft_wrap=True)


def show_receipt(receipt: "ConversionReceipt") -> None:
    """Layers, and what the model answers, in the terminal."""
    from attending.comparison.receipt import LAYER_HEADS, RESULT_HEADS, layer_rows, result_rows, total_of

    for title, heads, rows in (
        ("Layers: errors on inputs that no conversion saw", LAYER_HEADS, layer_rows(receipt)),
        ("Answers on the same patients, with 95 % intervals", RESULT_HEADS, result_rows(receipt)),
    ):
        grid = Grid(title=title, title_justify="left", box=None, pad_edge=False)
        for number, head in enumerate(heads):
            grid.add_column(head, justify="right" if number > 1 else "left", overflow="fold")
        for row in rows:
            grid.add_row(*row)
        out.print(grid)
    for caution in receipt.cautions:
        out.print(f"caution: {caution}", highlight=False, soft_wrap=True)
    total = total_of(receipt)
    saved = total.cache_before / total.cache_after
    out.print(
        f"cache {total.cache_before:,} → {total.cache_after:,} bytes a case ({saved:.2f} times smaller), output error "
        f"{total.median_error:.3f} in the median layer, {total.worst_error:.3f} in the worst",
        highlight=False,
        soft_wrap=True,
    )
    if receipt.recovery is not None:
        told = receipt.recovery
        out.print(
            f"recovery: {told.steps} steps, divergence from the old answers {told.divergence_before:.1e} → "
            f"{told.divergence_after:.1e} nats",
            highlight=False,
            soft_wrap=True,
        )
