"""A page as its reader has it: its words, the rows of its tables, and the result rows behind them."""

import re

from attending.evaluation import Result
from attending.report import Report
from attending.report.page import page_of
from attending.report.sharing import shared


def page(one: Report) -> str:
    return page_of(shared(one))


def text(html: str) -> str:
    """What a reader sees, tags and styles removed."""
    seen = re.sub(r"(?s)<style>.*?</style>", " ", html)
    seen = re.sub(r"<[^>]+>", " ", seen)
    for entity, sign in (("&nbsp;", " "), ("\u00a0", " "), ("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">")):
        seen = seen.replace(entity, sign)
    return re.sub(r"\s+", " ", seen)


def cells(html: str, first: str) -> list[str]:
    """The rows of tables that begin with this cell, each as its words."""
    rows = [text(row).strip() for row in re.findall(r"(?s)<tr[^>]*>.*?</tr>", html)]
    return [row for row in rows if row.startswith(first)]


def whole_rows(one: Report, *metrics: str) -> list[Result]:
    held = {row.metric: row for row in shared(one).results if row.model == "fused" and not row.slice and not row.comparator}
    return [held[metric] for metric in metrics]
