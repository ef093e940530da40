"""A conversion's receipt as JSON values and as the rows of its tables; the page and the terminal show the same."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from attending.attention import MechanismConfig, name_of, settings_of
from attending.attention.conversion import LayerReceipt
from attending.comparison.conversion import CONVERTED, ORIGINAL, RECOVERED, ConversionReceipt
from attending.evaluation.result import Result, verdict

LAYER_HEADS = ("layer", "becomes", "output error", "worst head", "cache bytes", "foretold", "forward")
RESULT_HEADS = ("finding", "model", "metric", "original", "now", "difference (95 % interval)", "a difference is")
SHOWN = ("auroc", "brier")


@dataclass(frozen=True, kw_only=True)
class Total:
    """What matters of all layers of all networks together. Errors are relative, bytes of one case, `forward` a ratio."""

    median_error: float
    worst_error: float
    cache_before: int
    cache_after: int
    bytes_before: int
    bytes_after: int
    forward: float
    is_foretold: bool


def total_of(receipt: ConversionReceipt) -> Total:
    """The sums and medians."""
    layers = [layer for member in receipt.members for layer in member.layers]
    errors = [layer.error.output for layer in layers]
    prices = [(layer.price_before, layer.price_after) for layer in layers]
    return Total(
        median_error=median(errors),
        worst_error=max(errors),
        cache_before=sum(before.cache_measured for before, _ in prices),
        cache_after=sum(after.cache_measured for _, after in prices),
        bytes_before=sum(member.bytes_before for member in receipt.members),
        bytes_after=sum(member.bytes_after for member in receipt.members),
        forward=median(after.seconds / before.seconds for before, after in prices),
        is_foretold=all(price.cache_foretold == price.cache_measured for pair in prices for price in pair),
    )


def layer_rows(receipt: ConversionReceipt) -> list[tuple[str, ...]]:
    """A row for each layer of each network, as `LAYER_HEADS`."""
    several = len(receipt.members) > 1
    return [
        _layer_row(layer, f"{number + 1}: " if several else "")
        for number, member in enumerate(receipt.members)
        for layer in member.layers
    ]


def result_rows(receipt: ConversionReceipt) -> list[tuple[str, ...]]:
    """A row for each finding and shown metric, and again after recovery, as `RESULT_HEADS`; the record has all metrics."""
    rows: list[tuple[str, ...]] = []
    for name in (CONVERTED, RECOVERED):
        differences = [r for r in receipt.results if r.model == name and r.comparator == ORIGINAL and r.metric in SHOWN]
        for difference in differences:
            before, after = (_value(receipt.results, model, difference) for model in (ORIGINAL, name))
            said = "" if difference.low is None else verdict(difference)
            rows.append((difference.finding, name, difference.metric, before, after, _interval(difference), said))
    return rows


def receipt_record(receipt: ConversionReceipt) -> dict[str, Any]:
    """JSON values; errors of heads in the order of the original's heads."""
    return {
        "to": receipt.plan.to,
        "refitted": receipt.plan.refits,
        "seed": receipt.plan.seed,
        "model_before": receipt.before,
        "model_after": receipt.after,
        "n_calibration": receipt.n_calibration,
        "n_judged": receipt.n_judged,
        "total": asdict(total_of(receipt)),
        "networks": [
            {
                "parameter_bytes_before": member.bytes_before,
                "parameter_bytes_after": member.bytes_after,
                "layers": [_layer_record(layer) for layer in member.layers],
                "left": dict(member.left),
            }
            for member in receipt.members
        ],
        "recovery": None if receipt.recovery is None else asdict(receipt.recovery),
        "results": [row.to_row() for row in receipt.results],
        "cautions": list(receipt.cautions),
    }


def short(config: MechanismConfig) -> str:
    """A mechanism in a few words."""
    settings = settings_of(config)
    told = {
        "grouped": ("n_heads", "n_kv_heads"),
        "latent": ("latent_dim", "rope_dim"),
        "clustered": ("n_heads", "n_clusters"),
        "windowed": ("before", "after", "n_global"),
    }
    name = name_of(config)
    return f"{name} " + ", ".join(f"{key} {settings[key]}" for key in told.get(name, ()) if settings[key] is not None)


def _layer_row(layer: LayerReceipt, member: str) -> tuple[str, ...]:
    before, after = layer.price_before, layer.price_after
    heads = [error for error in layer.error.by_head if error is not None]
    agrees = before.cache_foretold == before.cache_measured and after.cache_foretold == after.cache_measured
    return (
        f"{member}{layer.name}",
        short(layer.after),
        f"{layer.error.output:.3f}",
        f"{max(heads):.3f}" if heads else "",
        f"{before.cache_measured:,} → {after.cache_measured:,}",
        "to the byte" if agrees else f"{before.cache_foretold:,} → {after.cache_foretold:,}",
        f"{after.seconds / before.seconds:.2f} ×",
    )


def _layer_record(layer: LayerReceipt) -> dict[str, Any]:
    return {
        "name": layer.name,
        "before": {"mechanism": name_of(layer.before), **settings_of(layer.before)},
        "after": {"mechanism": name_of(layer.after), **settings_of(layer.after)},
        "told": layer.told,
        "heads": list(layer.heads),
        "output_error": layer.error.output,
        "head_errors": list(layer.error.by_head),
        "price_before": asdict(layer.price_before),
        "price_after": asdict(layer.price_after),
    }


def _value(results: Sequence[Result], model: str, like: Result) -> str:
    for row in results:
        same = (row.model, row.metric, row.finding) == (model, like.metric, like.finding)
        if same and row.comparator is None and row.slice is None:
            return "cannot be estimated" if row.value is None else f"{row.value:.3f}"
    return ""


def _interval(row: Result) -> str:
    if row.value is None or row.low is None or row.high is None:
        return f"cannot be estimated: {row.note or 'no interval'}"
    return f"{row.value:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
