"""Traces as one HTML file: words with links, maps of every head, what heads have in common, and every step with its shape.

No script and no network, light and dark. The page says of itself that attention is not explanation. It holds the words that it
was given as labels: of a patient's case these are de-identified at best, and the caller must say so in `cautions`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from markupsafe import Markup

from attending.attention.profiles import HeadProfile, profile
from attending.attention.tracing import Trace, range_of, shape_of
from attending.drawing.heads import Measure, diversity_plot, head_dots
from attending.drawing.heat_maps import head_maps, heat_map, similarity_map
from attending.drawing.pages import ROOM, environment, style
from attending.drawing.word_links import word_links

MOST = 40
"""Words of one layer that are drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerView:
    """One layer of the page: a trace, which sample of its batch, and what its queries and keys are called.

    What is not there is not drawn. Of more than `MOST` queries the first are, of more keys those with the largest weights; what
    is said of heads is said of all. Raises `ValueError` when the names are not as many
    as the queries and keys. `told` says in words who asks whom.
    """

    name: str
    trace: Trace
    rows: Sequence[str]
    columns: Sequence[str]
    told: str = ""
    sample: int = 0

    def __post_init__(self) -> None:
        found, expected = (len(self.rows), len(self.columns)), tuple(self.trace.weights.shape[2:])
        if found != expected:
            raise ValueError(f"{self.name}: found names for {found[0]} queries and {found[1]} keys, expected {expected}")

    @property
    def drawn(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " column"]]:
        """The queries and keys that are drawn, in order."""
        there = np.flatnonzero(self.trace.exists(self.sample).cpu().numpy())
        if self.trace.is_self:
            return there[:MOST], there[:MOST]
        weights = self.trace.weights[self.sample].abs().sum(dim=0)
        rows = np.flatnonzero((weights.sum(dim=1) > 0).cpu().numpy())[:MOST]
        by_weight = weights[rows].sum(dim=0).cpu().numpy()[there]
        return rows, np.sort(there[np.argsort(-by_weight, kind="stable")[:MOST]])

    @property
    def weights(self) -> Float[np.ndarray, "head row column"]:
        """The weights that are drawn."""
        rows, columns = self.drawn
        whole = self.trace.weights[self.sample].to(torch.float64).cpu().numpy()
        return whole[:, rows][:, :, columns]

    @property
    def words(self) -> tuple[list[str], list[str]]:
        """The names of what is drawn."""
        rows, columns = self.drawn
        return [self.rows[i] for i in rows], [self.columns[j] for j in columns]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not drawn."""
        rows, columns = self.drawn
        told, batch = [], self.trace.weights.shape[0]
        if batch > 1:
            told.append(f"Sample {self.sample + 1} of {batch} is drawn; a long text is read in chunks, a sample each.")
        if len(rows) < len(self.rows):
            told.append(f"{len(rows)} of {len(self.rows)} queries are drawn: the first of those there.")
        if len(columns) < len(self.columns):
            kind = "first" if self.trace.is_self else "most looked at"
            told.append(f"{len(columns)} of {len(self.columns)} keys are drawn: the {kind} of those there.")
        return tuple(told)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands above the layers."""

    title: str
    sentence: str
    cautions: tuple[str, ...] = ()


def attention_page(page: Page, views: Sequence[LayerView]) -> str:
    """The whole page, in the order of the views."""
    templates = environment("attending.drawing")
    profiles = [profile(view.trace, sample=view.sample) for view in views]
    return templates.get_template("attention.html").render(
        page=page,
        style=style((ROOM, "attention.css")),
        most_panels=1 + max((view.trace.weights.shape[1] for view in views), default=0),
        layers=[_layer(view, found) for view, found in zip(views, profiles, strict=True)],
        diversity=Markup(diversity_picture(views)) if len(views) > 1 else "",
    )


def pictures(views: Sequence[LayerView]) -> dict[str, str]:
    """Every plot of the page by a name that can be a file's, as SVG."""
    found = {"diversity": diversity_picture(views)} if len(views) > 1 else {}
    for number, view in enumerate(views, start=1):
        said = profile(view.trace, sample=view.sample)
        rows, columns = view.words
        mean = view.weights.mean(axis=0)
        found |= {
            f"layer-{number}-mean": heat_map(mean, rows=rows, columns=columns, title=f"{view.name}: mean over heads"),
            f"layer-{number}-links": word_links(mean, rows=rows, columns=columns, title=f"{view.name}: mean over heads"),
            f"layer-{number}-heads": head_maps(view.weights, names=_names(said), title=f"{view.name}: every head"),
            f"layer-{number}-similarity": _similarity(view, said),
            f"layer-{number}-numbers": _dots(view, said),
        }
    return found


def diversity_picture(views: Sequence[LayerView]) -> str:
    """How different the heads of each layer are."""
    values = [profile(view.trace, sample=view.sample).diversity for view in views]
    return diversity_plot(values, names=[view.name for view in views], title="Mean distance between two heads, by layer")


def _layer(view: LayerView, said: HeadProfile) -> dict[str, object]:
    rows, columns = view.words
    weights = view.weights
    shown = {"mean of heads": weights.mean(axis=0)} if len(weights) > 1 else {}
    shown |= dict(zip(_names(said), weights, strict=True))
    panels = [
        {
            "name": name,
            "links": Markup(word_links(drawn, rows=rows, columns=columns, title=f"{view.name}, {name}: links")),
            "heat_map": Markup(heat_map(drawn, rows=rows, columns=columns, title=f"{view.name}, {name}: map")),
        }
        for name, drawn in shown.items()
    ]
    return {
        "view": view,
        "panels": panels,
        "maps": Markup(head_maps(weights, names=_names(said), title=f"{view.name}: every head")),
        "similarity": Markup(_similarity(view, said)),
        "dots": Markup(_dots(view, said)),
        "n_clusters": said.clusters.n_clusters,
        "told": _told(said),
        "steps": [(one.name, shape_of(one), range_of(one.values), one.told) for one in view.trace.steps],
    }


def _names(said: HeadProfile) -> list[str]:
    return [f"head {head}" for head in range(len(said.entropy))]


def _similarity(view: LayerView, said: HeadProfile) -> str:
    title = f"{view.name}: heads that are alike"
    return similarity_map(said.distance.cpu().numpy(), clusters=said.clusters.leaders, title=title)


def _dots(view: LayerView, said: HeadProfile) -> str:
    measures = [Measure(name="Entropy, nats", values=said.entropy.tolist(), most=_known(said.most_entropy))]
    if said.reach is not None:
        measures.insert(0, Measure(name="Mean distance, tokens", values=said.reach.tolist()))
    if said.sink_mass is not None:
        measures.append(Measure(name="Weight on the first token", values=said.sink_mass.tolist(), most=1.0))
    return head_dots(measures, names=_names(said), title=f"{view.name}: what each head does")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _told(said: HeadProfile) -> str:
    told = " Entropy: 0 is one key; its axis ends where even weights over all that is seen would lie."
    if said.sink_mass is not None:
        told += " Weight on the first token, and on learned sinks: where heads that look for nothing put it."
    elif said.is_over_slots:
        told += " The weights may be negative and are no shares: entropy and likeness are those of the weights over slots."
    else:
        told += " Of distances and sinks nothing is said: the keys stand elsewhere."
    return told
