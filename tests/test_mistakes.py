"""The guide's ten mistakes, made on purpose in the library: each test that the guide names must fail, and pass again without.

A test that is said to catch a mistake is one claim more, and is held like the others.
"""

import ast
import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attending.attention import Mask
from attending.attention import shared as shared_file
from attending.attention.clustered import ClusteredAttention
from attending.attention.grouped import GroupedAttention
from attending.attention.heads import SharedHeadShape
from attending.attention.latent import LatentAttention
from attending.attention.latents import LatentProjections, LatentQueries
from attending.attention.rules import Causal
from attending.attention.scoring import Scoring
from attending.attention.tables import Keep
from tests.attention.examples import EXAMPLES, MASKS

_ROOT = Path(__file__).parents[1]
GUIDE = _ROOT / "docs/guides/ten-mistakes-in-attention-code.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
Fault = Callable[[pytest.MonkeyPatch], None]


def sections() -> dict[int, list[tuple[str, str]]]:
    """The tests that each numbered section names, as (file, test)."""
    parts = re.split(r"^## (\d+)\. ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {int(number): _NAMED.findall(body) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def test_every_test_that_a_document_names_is_there() -> None:
    for path in sorted((_ROOT / "docs").rglob("*.md")):
        for file, name in _NAMED.findall(path.read_text(encoding="utf-8")):
            tree = ast.parse((_ROOT / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{path.name}: {name}"


def test_ten_mistakes_are_told_and_each_names_what_catches_it() -> None:
    assert sorted(sections()) == list(range(1, 11)) == sorted(FAULTS)
    assert all(sections().values())


def inverted(patch: pytest.MonkeyPatch) -> None:
    """Tensors are read the other way round; and a bare one is taken, as "true is hidden"."""
    plain = Keep.seen
    patch.setattr(Keep, "seen", lambda self, grid: ~plain(self, grid))

    def taken(mask: object) -> Mask:
        if isinstance(mask, Tensor):
            return Keep(~mask.view(1, 1, -1, mask.shape[-1]))
        return mask  # type: ignore[return-value]

    for name in ("mechanism", "core", "caching"):
        patch.setattr(f"attending.attention.{name}.check_mask", taken)


def scaled_by_the_model(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SharedHeadShape, "score_scale", property(lambda self: self.dim**-0.5))


def shaped_with_the_querys_length(patch: pytest.MonkeyPatch) -> None:
    """Keys and values of a context are cut to as many tokens as ask."""
    plain = GroupedAttention._before_heads

    def before(self: GroupedAttention, x: Tensor, *, context: Tensor | None, **given: object) -> object:
        mask = given.pop("mask")
        if context is not None:
            context = context[:, : x.shape[1]].reshape(x.shape[0], x.shape[1], -1)
            mask = replace(mask, lengths=mask.lengths.clamp(max=x.shape[1]))  # type: ignore[type-var, attr-defined]
        return plain(self, x, context=context, mask=mask, **given)  # type: ignore[arg-type]

    patch.setattr(GroupedAttention, "_before_heads", before)


def mixed_heads_and_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("attending.attention.heads.split_heads", lambda x, width: x.reshape(x.shape[0], -1, x.shape[1], width))


def random_clusters_in_cluster_order(patch: pytest.MonkeyPatch) -> None:
    """Leaders by lot, and the heads of an output one cluster after the other."""

    def by_lot(distance: Tensor, labels: Tensor) -> Tensor:
        lot = torch.randperm(labels.shape[1], generator=torch.Generator().manual_seed(1))
        return labels[:, lot]

    patch.setattr("attending.attention.clusters._medoids", by_lot)
    plain = shared_file.shared_output

    def in_order(q: Tensor, k: Tensor, v: Tensor, of_head: Tensor, scoring: Scoring) -> Tensor:
        output = plain(q, k, v, of_head, scoring)
        return output[:, of_head.argsort(stable=True)]

    patch.setattr("attending.attention.clustered.shared_output", in_order)


def dropout_left_on(patch: pytest.MonkeyPatch) -> None:
    """eval() does not reach the layer, and what is shown is what was dropped."""
    for kind in (GroupedAttention, ClusteredAttention, LatentAttention):
        patch.setattr(kind, "eval", lambda self: self.train())
    plain = importlib.import_module("attending.attention.steps").mixed

    def dropping(weights: Tensor, v: Tensor, *, of: str = "") -> object:
        return plain(torch.nn.functional.dropout(weights, 0.5), v, of=of)

    for name in ("grouped", "clustered", "latents"):
        patch.setattr(f"attending.attention.{name}.mixed", dropping)


def expanded_keys_kept(patch: pytest.MonkeyPatch) -> None:
    """Beside the latent, the cache holds the keys and values that are made from it."""
    kind = type(EXAMPLES["mla"].config).__mro__[1]
    plain = kind.remembered.fget  # type: ignore[attr-defined]

    def remembered(self: object) -> dict[str, tuple[int, int]]:
        return plain(self) | {"expanded": (self.n_heads, self.nope_dim + self.rope_dim + self.value_dim)}  # type: ignore[attr-defined]

    patch.setattr(kind, "remembered", property(remembered))
    project = LatentAttention._project_tokens

    def and_expanded(self: LatentAttention, x: Tensor, places: object) -> object:
        queries, held = project(self, x, places)  # type: ignore[arg-type]
        return queries, held | {"expanded": torch.cat(self.projections.expanded(held["latent"]), dim=-1)}

    patch.setattr(LatentAttention, "_project_tokens", and_expanded)


def rope_inside_the_absorbed_product(patch: pytest.MonkeyPatch) -> None:
    """What is absorbed is turned as well."""
    plain = LatentProjections.absorbed

    def turned(self: LatentProjections, queries: LatentQueries) -> Tensor:
        whole = plain(self, queries)
        inside, apart = whole.split([self.shape.latent_dim, self.shape.rope_dim], dim=-1)
        pairs = inside[..., : self.shape.rope_dim]
        inside = torch.cat([self.rotary.rotate(pairs, range(inside.shape[2])), inside[..., self.shape.rope_dim :]], dim=-1)
        return torch.cat([inside, apart], dim=-1)

    patch.setattr(LatentProjections, "absorbed", turned)


def top_left(patch: pytest.MonkeyPatch) -> None:
    plain = Causal.seen
    patch.setattr(Causal, "seen", lambda self, grid: plain(self, replace(grid, offset=0)))
    patch.setattr(Causal, "span", lambda self, grid: (0, grid.n_key))


def dead_rows_give_the_mean(patch: pytest.MonkeyPatch) -> None:
    def additive(self: Scoring, dtype: torch.dtype) -> tuple[Tensor | None, None]:
        seen = self.mask.seen(self.grid)
        return None if seen is None else torch.where(seen, 0.0, -1e9).to(dtype), None

    patch.setattr(Scoring, "additive", additive)
    patch.setattr(Scoring, "alive", lambda self: None)


FAULTS: dict[int, Fault] = {
    1: inverted,
    2: scaled_by_the_model,
    3: shaped_with_the_querys_length,
    4: mixed_heads_and_positions,
    5: random_clusters_in_cluster_order,
    6: dropout_left_on,
    7: expanded_keys_kept,
    8: rope_inside_the_absorbed_product,
    9: top_left,
    10: dead_rows_give_the_mean,
}
FAILED = (AssertionError, pytest.fail.Exception, ExceptionGroup)
"""How a test fails that finds a wrong number; Hypothesis groups what it finds. An error on the way would prove nothing."""
GIVEN: dict[str, dict[str, object]] = {
    "test_a_rule_says_what_its_plain_meaning_says": {"name": "keep"},
    "test_forward_and_weights_are_the_formula": {"example": EXAMPLES["gqa"], "kind": MASKS["causal"]},
    "test_cross_attention_is_the_formula": {"example": EXAMPLES["gqa"]},
    "test_a_trace_never_drops_and_carries_no_gradient": {"example": EXAMPLES["gqa"]},
    "test_dropout_drops_in_training_alone": {"example": EXAMPLES["gqa"]},
    "test_a_row_that_sees_nothing_gives_zero_and_no_gradient": {"example": EXAMPLES["gqa"], "learns": True},
    "test_a_dead_row_is_zero_on_every_core": {"core": "eager", "dtype": torch.float64},
}
"""What tests with parameters are called with."""
NAMED = [(number, file, name) for number, found in sections().items() for file, name in found]


def called(file: str, name: str) -> None:
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    getattr(module, name)(**GIVEN.get(name, {}))


@pytest.mark.parametrize(("number", "file", "name"), NAMED, ids=[f"{number}-{name}" for number, _, name in NAMED])
def test_the_named_test_fails_where_the_mistake_is_made(
    number: int, file: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(file, name)
    with monkeypatch.context() as patch:
        FAULTS[number](patch)
        with pytest.raises(FAILED):
            called(file, name)
    called(file, name)
