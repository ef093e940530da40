"""What may be seen: masks, written with these verbs and combined with & and |.

A mask has one meaning everywhere: true is *seen*. It stays a rule until a core asks about a block of the scores, so `causal() &
window(255, 0)` over 100 000 tokens costs nothing to write down. Additive biases (ALiBi, T5) are not masks: `positions.py`.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attending.attention.errors import AttentionError, describe
from attending.attention.grid import Grid
from attending.attention.rules import Causal, Everything, Mask, Window
from attending.attention.tables import Blocks, Documents, Keep, KeepKeys, KeyRule, Padding

_ROWS_AT_ONCE = 1024


def everything() -> Mask:
    """No rule at all: the neutral element of `&`."""
    return Everything()


def causal() -> Mask:
    """Itself and what came before. With fewer queries than keys the last query stands at the last key, as in decoding."""
    return Causal()


def padding(lengths: Int[Tensor, " batch"]) -> Mask:
    """The first `lengths[b]` keys of sample b are real, the rest is padding on the right."""
    if lengths.dim() != 1 or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise AttentionError(
            f"padding: found {describe(lengths)}, expected whole numbers [batch], the real length of each sample; "
            "for a boolean tensor [batch, key] write keep_keys(tensor)"
        )
    return Padding(lengths)


def keep_keys(kept: Bool[Tensor, "batch key"]) -> Mask:
    """The keys marked true are real, wherever they lie; the others count as absent.

    A hidden key has exactly no influence, whatever it contains, and positions count real tokens only, so that a sequence with
    hidden tokens and the same sequence without them mean the same.
    """
    if kept.dim() != 2:
        raise AttentionError(f"keep_keys: found {describe(kept)}, expected boolean [batch, key]; for pairs write keep(tensor)")
    return KeepKeys(_boolean(kept, "keep_keys"))


def window(before: int | None, after: int | None) -> Mask:
    """Itself, `before` tokens before and `after` tokens after it (None: no limit on that side).

    A Longformer window of w is window(w // 2, w // 2); Mistral's and Gemma's window of w is window(w − 1, 0).
    """
    if any(side is not None and side < 0 for side in (before, after)):
        raise AttentionError(f"window: found before={before}, after={after}; both count tokens and are 0 or more")
    return Window(before, after)


def documents(ids: Int[Tensor, "batch seq"], *, of_keys: Int[Tensor, "batch key"] | None = None) -> Mask:
    """Tokens see tokens with the same id, as when several texts are packed in one row. `of_keys`: ids of another context."""
    for tensor in (ids, of_keys):
        if tensor is not None and (tensor.dim() != 2 or tensor.is_floating_point()):
            raise AttentionError(f"documents: found {describe(tensor)}, expected whole numbers [batch, seq], one id a token")
    return Documents(ids, ids if of_keys is None else of_keys)


def blocks(layout: Bool[Tensor, "*head query_block key_block"], *, size: int) -> Mask:
    """Block-sparse: tokens i and j see each other where `layout[..., i // size, j // size]` is true, per head if 3-D."""
    if layout.dim() not in (2, 3) or size < 1:
        raise AttentionError(f"blocks: found {describe(layout)} and size={size}, expected boolean [block, block], size ≥ 1")
    layout = _boolean(layout, "blocks")
    return Blocks(layout if layout.dim() == 3 else layout[None], size)


def keep(pairs: Bool[Tensor, "*batch_head query key"]) -> Mask:
    """Pairs marked true are seen. [query, key], [batch, query, key] or [batch, head, query, key]; axes of one broadcast."""
    pairs = _boolean(pairs, "keep")
    if pairs.dim() not in (2, 3, 4):
        raise AttentionError(f"keep: found {describe(pairs)}, expected [query, key], [batch, query, key] or 4-D with heads")
    return Keep(pairs[None, None] if pairs.dim() == 2 else pairs[:, None] if pairs.dim() == 3 else pairs)


def drop(pairs: Bool[Tensor, "*batch_head query key"]) -> Mask:
    """Pairs marked true are hidden: the meaning of `torch.nn.MultiheadAttention`'s masks. Shapes as for `keep`."""
    return keep(~_boolean(pairs, "drop"))


def check_mask(mask: object) -> Mask:
    """The mask, if it is one; a bare tensor could mean seen, hidden or a bias, and is refused."""
    if isinstance(mask, Mask):
        return mask
    found = describe(mask) if isinstance(mask, Tensor) else type(mask).__name__
    raise AttentionError(
        f"mask: found {found}, expected a mask. Where true is seen write keep(tensor), or keep_keys(tensor) for [batch, key]; "
        "where true is hidden, drop(tensor); numbers that are added go to bias=; for no mask at all write everything()"
    )


def present(mask: Mask, grid: Grid) -> Bool[Tensor, "batch_or_one key"] | None:
    """Keys that padding and keep_keys say exist; None: all."""
    kept = None
    for rule in mask.rules:
        if isinstance(rule, KeyRule):
            kept = rule.keys(grid) if kept is None else kept & rule.keys(grid)
    return kept


def there(mask: Mask, grid: Grid) -> Bool[Tensor, "batch_or_one key"] | None:
    """Keys that at least one query of the grid may see; None when no key is hidden from all."""
    if every_key_is_seen(mask, grid):
        return present(mask, grid)
    kept = None
    for start in range(0, grid.n_query, _ROWS_AT_ONCE):
        seen = mask.seen(grid.rows(start, min(start + _ROWS_AT_ONCE, grid.n_query)))
        if seen is None:
            return None
        some = seen.any(dim=2).any(dim=1)
        kept = some if kept is None else kept | some
    return kept


def every_key_is_seen(mask: Mask, grid: Grid) -> bool:
    """Whether each key that exists is sure to be seen by some query."""
    pair_rules = [rule for rule in mask.rules if not isinstance(rule, KeyRule)]
    return not pair_rules or (grid.is_square and all(rule.sees_itself for rule in pair_rules))


def real_keys(mask: Mask, grid: Grid) -> Bool[Tensor, "batch_or_one key"] | None:
    """Keys that `keep_keys` says exist, when positions must count them; None when indices count already."""
    kept = None
    for rule in mask.rules:
        if isinstance(rule, KeepKeys):
            kept = rule.keys(grid) if kept is None else kept & rule.keys(grid)
    return kept


def _boolean(tensor: Tensor, name: str) -> Tensor:
    if tensor.dtype != torch.bool:
        raise AttentionError(
            f"{name}: found {describe(tensor)}, expected boolean. A number may mean seen, hidden or a bias: write "
            "keep(tensor != 0) where non-zero is seen, drop(tensor != 0) where it is hidden, or pass a bias as bias=tensor"
        )
    return tensor
