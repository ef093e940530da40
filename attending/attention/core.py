"""The functional core: attention over given queries, keys and values, on whichever core fits the shape.

`attend` returns the output with its log-sum-exp, so that parts of the keys can be attended apart and merged. Which core ran,
and why the others did not, is `explain`'s answer; no core changes the result beyond rounding.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.banded import ROWS, banded_attend, reach_of
from attending.attention.blocked import BUFFER_BYTES, blocked_attend, blocked_output
from attending.attention.eager import eager_attend, eager_output
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, aligned
from attending.attention.masks import check_mask, there
from attending.attention.rules import Causal, Everything, Mask
from attending.attention.scoring import ScoreBias, Scoring, check_bias
from attending.attention.tables import KeyRule

# Measured on two cores of a Zen 5 CPU (benchmarks/attention.py): up to this many keys, or with this few queries, the plain
# products are faster than either fused core; beyond, they wait for memory.
_SHORT = 256
_FEW_QUERIES = 16
_SMALL_SCORES = 64 << 20
_16_BITS = (torch.bfloat16, torch.float16)
_LOG: ContextVar["list[Choice] | None"] = ContextVar("attending.attention.core.log", default=None)


class Attended(NamedTuple):
    """The output, and the log of the sum of exponentials of each query's scores (−inf: it saw nothing)."""

    output: Float[Tensor, "batch head query value"]
    lse: Float[Tensor, "batch head query"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The core that runs, and for each of the others the reason why it does not."""

    core: str
    refused: Mapping[str, str]

    def __str__(self) -> str:
        return "\n".join([f"{self.core}: runs", *(f"{name}: {why}" for name, why in self.refused.items())])


_PLAIN = Choice(
    core="eager",
    refused=dict.fromkeys(("banded", "blocked", "sdpa"), "with few queries or keys the plain products are faster"),
)


def attend(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    v: Float[Tensor, "batch kv_head key value"],
    *,
    mask: Mask | None = None,
    bias: ScoreBias | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sink: Float[Tensor, " head"] | None = None,
) -> Attended:
    """Attention of every query over the keys it may see, with the log-sum-exp of its scores.

    Query head h reads KV head h // (heads / kv_heads). `mask` None: every key is seen. `scale` None: 1/√dim. `sink` is one
    logit a head that takes weight and gives no value. A query that sees nothing gives exactly 0 and no gradient; what stands
    in a key that no query sees cannot matter, NaN included. A key that some queries see is not covered: there 0 × NaN is NaN.
    """
    k, v, scoring = _prepared(q, k, v, mask=mask, bias=bias, scale=scale, softcap=softcap)
    attended = attended_by(q, k, v, scoring)
    return attended if sink is None else with_sink(attended, sink)


def explain(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    v: Float[Tensor, "batch kv_head key value"],
    *,
    mask: Mask | None = None,
    bias: ScoreBias | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> Choice:
    """Which core a mechanism's forward pass takes for these tensors here and now, and why not the others."""
    k, v, scoring = _prepared(q, k, v, mask=mask, bias=bias, scale=None, softcap=softcap, dropout=dropout)
    return choose(q, k, scoring, wants_lse=False)


def merge(*parts: Attended) -> Attended:
    """The attention over all keys, from attention over disjoint parts of them. A sink belongs to one part only."""
    all_lse = torch.stack([part.lse for part in parts])
    # A row that sees nothing in any part keeps −inf; the detour over finite numbers keeps NaN out of its gradient.
    peak = all_lse.detach().amax(dim=0)
    dead = peak == -torch.inf
    sums = (all_lse - torch.where(dead, 0.0, peak)).exp()
    total = torch.where(dead, 1.0, sums.sum(dim=0))
    shares = (sums / total)[..., None]
    output = sum(part.output * share.to(part.output.dtype) for part, share in zip(parts, shares, strict=True))
    return Attended(output, torch.where(dead, -torch.inf, total.log() + peak))


def with_sink(attended: Attended, sink: Float[Tensor, " head"]) -> Attended:
    """The same attention with one more logit a head in the denominator, which carries no value."""
    logit = sink.to(attended.lse.dtype)[:, None]
    share = torch.sigmoid(attended.lse - logit)
    return Attended(attended.output * share[..., None].to(attended.output.dtype), torch.logaddexp(attended.lse, logit))


def mixed_by(
    q: Tensor, k: Tensor, v: Tensor, scoring: Scoring, *, sink: Float[Tensor, " head"] | None = None
) -> Float[Tensor, "batch head query value"]:
    """The output alone. Keys that nobody sees must be finite; mechanisms clean their inputs before projecting."""
    if sink is not None:
        return with_sink(attended_by(q, k, v, scoring), sink).output
    core = choose(q, k, scoring, wants_lse=False).core
    if core == "banded":
        return _banded(q, k, v, scoring).output
    if core == "sdpa":
        return fused_output(q, k, v, scoring)
    return blocked_output(q, k, v, scoring) if core == "blocked" else eager_output(q, k, v, scoring)


def attended_by(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Attended:
    """The output and the log-sum-exp, on the same terms as `mixed_by`."""
    core = choose(q, k, scoring, wants_lse=True).core
    if core == "banded":
        return _banded(q, k, v, scoring)
    return Attended(*(blocked_attend if core == "blocked" else eager_attend)(q, k, v, scoring))


def joined(heads: Float[Tensor, "batch head query value"], output: nn.Linear, scoring: Scoring) -> Tensor:
    """The heads side by side, projected; a query that saw nothing stays exactly 0, also under an output bias."""
    result = output(heads.transpose(1, 2).flatten(2))
    if output.bias is None or scoring.rows_see_something:
        return result
    alive = scoring.alive()
    return result if alive is None else torch.where(alive, result, 0.0)


def choose(q: Tensor, k: Tensor, scoring: Scoring, *, wants_lse: bool) -> Choice:
    """The core for this call. Decided from shapes, types and rules alone, never from what the tensors hold."""
    choice = _chosen(q, k, scoring, wants_lse=wants_lse)
    if not torch.compiler.is_compiling() and (log := _LOG.get()) is not None:
        log.append(choice)
    return choice


@contextmanager
def recorded() -> Iterator[list[Choice]]:
    """Fills the list that it gives with every choice of a core that is made inside."""
    log: list[Choice] = []
    token = _LOG.set(log)
    try:
        yield log
    finally:
        _LOG.reset(token)


def note(core: str, **refused: str) -> None:
    """Put on record that a mechanism ran a core of its own."""
    if not torch.compiler.is_compiling() and (log := _LOG.get()) is not None:
        log.append(Choice(core=core, refused=refused))


def _chosen(q: Tensor, k: Tensor, scoring: Scoring, *, wants_lse: bool) -> Choice:
    if _is_plain(q, k, scoring, wants_lse=wants_lse):
        return _PLAIN
    on_cpu = q.device.type == "cpu"
    reasons = {
        "banded": _why_not_banded(q, k, scoring),
        "blocked": _why_not_blocked(scoring),
        "sdpa": _why_not_sdpa(q, scoring, wants_lse=wants_lse),
    }
    refused = {name: why for name, why in reasons.items() if why}
    small = _score_bytes(q, k) <= _SMALL_SCORES
    if len(refused) == len(reasons):
        return Choice(core="eager", refused=refused)
    if not on_cpu and small and "sdpa" in refused:
        return Choice(core="eager", refused=refused | {"blocked": "the scores are few"})
    refused["eager"] = "it would hold the scores of every pair and head"
    if "banded" not in refused:
        slower = dict.fromkeys(("blocked", "sdpa"), "runs of a window through the fused kernel are faster")
        return Choice(core="banded", refused=slower | refused)
    if "blocked" not in refused and on_cpu and q.dtype in _16_BITS:
        refused.setdefault("sdpa", "on a CPU it is slower than the blocked core in 16 bits")
    if "sdpa" in refused:
        return Choice(core="blocked", refused=refused)
    refused.setdefault("blocked", "the fused kernel is faster where no key is out of reach")
    return Choice(core="sdpa", refused=refused)


def _is_plain(q: Tensor, k: Tensor, scoring: Scoring, *, wants_lse: bool) -> bool:
    """Whether there are so few queries or keys that the plain products are faster."""
    if q.shape[2] <= _FEW_QUERIES:
        return True
    if q.device.type != "cpu" or k.shape[2] > _SHORT:
        return False
    # In 16 bits the plain core sums exponentials again in 32, and waits for memory once the scores leave the cache.
    is_slow = q.dtype in _16_BITS and (wants_lse or _score_bytes(q, k) > BUFFER_BYTES)
    return not is_slow or torch.is_grad_enabled() or _why_not_blocked(scoring) != ""


def _score_bytes(q: Tensor, k: Tensor) -> int:
    return q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * q.element_size()


def _why_not_blocked(scoring: Scoring) -> str:
    if scoring.learns_bias:
        return "the bias learns"
    if scoring.dropout > 0.0:
        return "it does not drop weights"
    return "it is not traced by torch.compile" if torch.compiler.is_compiling() else ""


def _why_not_banded(q: Tensor, k: Tensor, scoring: Scoring) -> str:
    reach = reach_of(scoring.mask) if scoring.grid.is_square and scoring.grid.query_count is None else None
    if reach is None:
        return "the rules are not one window over a sequence"
    obstacles = {
        "the window is not much narrower than the sequence": 2 * (sum(reach) + ROWS) > k.shape[2],
        "it adds no bias": len(scoring.biases) > 0,
        "it has no soft-cap": scoring.softcap is not None,
        "it does not drop weights": scoring.dropout > 0.0,
        "it is not differentiated": torch.is_grad_enabled(),
        "it runs on a CPU only": q.device.type != "cpu",
        "in 16 bits the blocked core is faster": q.dtype in _16_BITS,
        "it is not traced by torch.compile": torch.compiler.is_compiling(),
    }
    return "; ".join(reason for reason, holds in obstacles.items() if holds)


def _banded(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Attended:
    reach = reach_of(scoring.mask)
    assert reach is not None
    return Attended(*banded_attend(q, k, v, reach=reach, scale=scoring.scale))


def _why_not_sdpa(q: Tensor, scoring: Scoring, *, wants_lse: bool) -> str:
    by_key = all(isinstance(rule, KeyRule) for rule in scoring.mask.rules)
    obstacles = {
        "it does not return the log-sum-exp": wants_lse,
        "it has no soft-cap": scoring.softcap is not None,
        "the bias learns": scoring.learns_bias,
        "on a CPU it drops weights on a slow path": scoring.dropout > 0.0 and q.device.type == "cpu",
        "the bias is a function and would become a square": not all(isinstance(bias, Tensor) for bias in scoring.biases),
        "the mask would become a square": not (by_key or _is_plainly_causal(scoring)),
    }
    return "; ".join(reason for reason, holds in obstacles.items() if holds)


def _is_plainly_causal(scoring: Scoring) -> bool:
    return len(scoring.biases) == 0 and scoring.grid.is_square and scoring.mask.rules == (Causal(),)


def fused_output(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Tensor:
    """PyTorch's fused attention."""
    is_causal = _is_plainly_causal(scoring)
    added, alive = (None, None) if is_causal else scoring.additive(q.dtype)
    if added is not None:
        added = added.expand(*added.shape[:2], q.shape[2], k.shape[2])
    width = v.shape[-1]
    if q.device.type == "cpu" and width < q.shape[-1]:
        # Where widths differ PyTorch's kernel for CPUs leaves the work to plain products, which hold the whole square.
        v = torch.nn.functional.pad(v, (0, q.shape[-1] - width))
    output = torch.nn.functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=added,
        dropout_p=scoring.dropout,
        is_causal=is_causal,
        scale=scoring.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )[..., :width]
    return output if alive is None else torch.where(alive, output, 0.0)


def _prepared(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None,
    bias: ScoreBias | None,
    scale: float | None,
    softcap: float | None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor, Scoring]:
    """Checked inputs with the keys that nobody sees set to 0."""
    _check(q, k, v, softcap)
    mask = Everything() if mask is None else check_mask(mask)
    grid = aligned(q.shape[2], k.shape[2], q.device)
    mask.check(batch=q.shape[0], n_query=q.shape[2], n_key=k.shape[2])
    biases = check_bias(bias, batch=q.shape[0], n_heads=q.shape[1], n_query=q.shape[2], n_key=k.shape[2])
    k, v = hide(k, v, mask, grid)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return k, v, Scoring(mask=mask, grid=grid, scale=scale, biases=biases, softcap=softcap, dropout=dropout)


def hide(k: Tensor, v: Tensor, mask: Mask, grid: Grid) -> tuple[Tensor, Tensor]:
    """Keys and values with 0 where no query of the grid sees them."""
    kept = there(mask, grid)
    if kept is None:
        return k, v
    kept = kept[:, None, :, None]
    return torch.where(kept, k, 0.0), torch.where(kept, v, 0.0)


def _check(q: Tensor, k: Tensor, v: Tensor, softcap: float | None) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.dim() == k.dim() == v.dim() == 4:
        raise AttentionError(f"attend: found {shapes}, expected [batch, head, query or key, dim] each")
    if q.shape[0] != k.shape[0] or k.shape[:3] != v.shape[:3] or q.shape[3] != k.shape[3]:
        raise AttentionError(
            f"attend: found {shapes}; k and v share batch, heads and keys, q and k the batch and the last axis"
        )
    if q.shape[1] % k.shape[1]:
        raise AttentionError(
            f"attend: found {q.shape[1]} query heads over {k.shape[1]} KV heads; the second must divide the first"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise AttentionError(f"attend: found q {q.dtype}, k {k.dtype}, v {v.dtype}; convert them to one type first")
    if softcap is not None and not softcap > 0.0:
        raise AttentionError(f"attend: found softcap={softcap}; it is a positive bound on the scores, or None")
