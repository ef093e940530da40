"""What a Hugging Face model lets its tokens see, as rules where it is one.

Their masks are booleans for every pair. The one made here is theirs, pair by pair, with the rule beside it that it was found
equal to: checked on the whole mask once a forward pass, not guessed from how it was asked for.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import sdpa_mask

from attending.attention.grid import Grid, aligned
from attending.attention.masks import causal, everything, keep, keep_keys, window
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias

_FEW_QUERIES = 16
"""With so few rows a mask for every pair is as good as its rule."""

_RULE = "_attending_rule"


def seen_pairs(
    *args: Any, attention_mask: Tensor | None = None, local_size: int | None = None, **settings: Any
) -> Tensor | None:
    """The mask that transformers makes for PyTorch's own attention: true is seen, None is plainly causal or everything."""
    seen = sdpa_mask(*args, attention_mask=attention_mask, local_size=local_size, **settings)
    if seen is None or seen.shape[2] <= _FEW_QUERIES or torch.compiler.is_compiling():
        return seen
    grid = aligned(seen.shape[2], seen.shape[3], seen.device)
    real = None if attention_mask is None or attention_mask.shape[-1] != grid.n_key else attention_mask
    for rule in _candidates(real, local_size):
        if _says(rule, grid, seen):
            if seen.is_inference():
                with torch.inference_mode(False):  # tensors of inference mode do not count who writes into them
                    seen = seen.clone()
            setattr(seen, _RULE, (rule, seen._version))
            break
    return seen


def rules_of(
    attention_mask: Tensor | None, *, n_query: int, is_causal: bool, dtype: torch.dtype
) -> tuple[Mask, tuple[ScoreBias, ...]]:
    """The mask, and what is added to the scores, from what a model hands to its attention."""
    if attention_mask is None:
        return (causal() if is_causal and n_query > 1 else everything()), ()
    if attention_mask.dtype == torch.bool:
        rule, version = getattr(attention_mask, _RULE, (None, None))
        # A mask that somebody wrote into since is no longer what its rule says.
        return (rule if rule is not None and version == attention_mask._version else keep(attention_mask)), ()
    # Numbers are added. Theirs hide with the least number there is, so that a row that sees nothing is uniform; ours is 0.
    shown = attention_mask > torch.finfo(attention_mask.dtype).min / 2
    bias = torch.where(shown, attention_mask, 0.0).to(dtype)
    return keep(shown), (bias,) if bool(bias.any()) else ()


def _candidates(real: Tensor | None, width: int | None) -> list[Mask]:
    plain = [causal()] if width is None else [causal() & window(width - 1, 0), causal()]
    return plain if real is None else [rule & keep_keys(real) for rule in (everything(), *plain)]


def _says(rule: Mask, grid: Grid, seen: Tensor) -> bool:
    pairs = rule.seen(grid)
    return pairs is not None and bool((pairs == seen).all())
