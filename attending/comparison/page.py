"""The comparison as one HTML file: no script, no network, light and dark."""

from collections.abc import Sequence

from markupsafe import Markup

from attending.comparison.comparison import Comparison
from attending.comparison.plots import growth_plot, quality_plot
from attending.comparison.row import LAYER, Ledger
from attending.comparison.tables import measure_of, quality_table, settings_table, size_table
from attending.drawing.pages import environment, style


def page_of(found: Comparison) -> str:
    """The whole page."""
    templates = environment("attending.comparison")
    names = tuple(one.name for one in found.contenders)
    return templates.get_template("compare.html").render(
        found=found,
        style=style(("attending.comparison", "compare.css")),
        sizes=size_table(found),
        quality=quality_table(found),
        settings=settings_table(found),
        growth=[Markup(plot) for plot in _growth(found, names)],
        learned=[
            (str(task), Markup(quality_plot(found.rows, str(task), names=names, quantity=measure_of(str(task)))))
            for task in Ledger(found.rows).distinct("task")
            if task != LAYER
        ],
        gflops={name: rate / 1e9 for name, rate in found.limits.flops_per_s.items()},
        gbytes=found.limits.bytes_per_s / 1e9,
    )


def _growth(found: Comparison, names: Sequence[str]) -> list[str]:
    shown = (
        ("seconds", "prefill", "Reading all tokens: seconds"),
        ("seconds", "decode", "One more token: seconds"),
        ("peak_bytes", "prefill", "Reading all tokens: bytes alive at once"),
        ("cache_bytes_used", None, "Cache: bytes in use"),
    )
    return [growth_plot(found.rows, quantity, phase, names=names, title=title) for quantity, phase, title in shown]
