"""Planted faults in the attention library: each is one line changed in a copy of the package, and some test must fail.

    python benchmarks/attention_mutants.py [--only WORD ...]

Prints which mutants were killed, by which test, and which survived. The working tree is not touched. Not a search over all
possible changes: a hand-made list of the mistakes that attention code is known for.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIME_LIMIT_S = 600
CONTRACT, CACHES, CORE, NATIVE = "test_contract.py", "test_contract_caches.py", "test_core.py", "test_native_sparse.py"
BLOCKS, WINDOWED, BANDED, PACKING = "test_block_choice.py", "test_windowed.py", "test_banded.py", "test_packing.py"

PROJECTION, ROWS = "test_projection.py", "test_rows.py"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`old` stands exactly once in attending/attention/`file`; `tests` are the files that should notice, the nearest first."""

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = (CONTRACT, CACHES)


MUTANTS = (
    # products with rows of tables
    Mutant(fault="tokens of a product stay side by side", file="rows.py", tests=(PROJECTION,),
           old="made.view(table.shape[0], -1).T.contiguous()", new="made.view(-1, table.shape[0])"),
    Mutant(fault="heads begin as if nothing lay between them", file="rows.py", tests=(ROWS,),
           old="rows = heads[:, None] * apart", new="rows = heads[:, None] * n_rows"),
    Mutant(fault="values begin as if every slot were read", file="rows.py", tests=(ROWS,),
           old="(groups * apart + _places(0, n_key))", new="(groups * n_key + _places(0, n_key))"),
    Mutant(fault="one running sum over all keys", file="rows.py", tests=(ROWS,),
           old="part = PART if values.dtype == torch.float32 else", new="part ="),
    Mutant(fault="parts of a sum in 16 bits", file="rows.py", tests=(ROWS,),
           old="part = PART if values.dtype == torch.float32 else weights.shape[1]", new="part = PART"),
    Mutant(fault="any layout is taken for rows of a table", file="rows.py", tests=(ROWS,),
           old="return along == 1 and down == laid.shape[2] and", new="return along == 1 and"),
    Mutant(fault="gradients pass by", file="rows.py", tests=(PROJECTION,),
           old="        and not torch.is_grad_enabled()\n", new=""),
    Mutant(fault="counters are passed by", file="rows.py", tests=(PROJECTION,),
           old="        and not is_in_torch_dispatch_mode()\n", new=""),
    Mutant(fault="autocast is passed by", file="rows.py", tests=(PROJECTION,),
           old='        and not torch.is_autocast_enabled("cpu")\n', new=""),
    Mutant(fault="the bias of a single token is forgotten", file="projection.py", tests=(PROJECTION,),
           old="return made if self.bias is None else made + self.bias", new="return made"),
    Mutant(fault="the bias of a chosen head is the first's", file="projection.py", tests=(PROJECTION,),
           old="made + bias[list(heads), None]", new="made + bias[: len(heads), None]"),
    Mutant(fault="turns kept for other places", file="positions.py", tests=(CACHES, "test_positions.py"),
           old="key = (first, heads.dtype", new="key = (0, heads.dtype"),
    Mutant(fault="turns of the first kept place for all", file="positions.py", tests=(CACHES, "test_positions.py"),
           old="here = slice(places.start - first, places.stop - first)", new="here = slice(0, places.stop - places.start)"),
    # the cores
    Mutant(fault="plain core drops the scale", file="eager.py", tests=(CORE,),
           old="folded = (q * scoring.scale).reshape(", new="folded = q.reshape("),
    Mutant(fault="blocked core drops the scale", file="blocked.py", tests=(CORE,),
           old="self.q = (q * scoring.scale).unflatten", new="self.q = q.unflatten"),
    Mutant(fault="soft-cap without its factor", file="eager.py", tests=(CORE,),
           old=".tanh() * scoring.softcap", new=".tanh()"),
    Mutant(fault="soft-cap multiplies first", file="blocked.py", tests=(CORE,),
           old="scores.div_(scoring.softcap).tanh_()", new="scores.mul_(scoring.softcap).tanh_()"),
    Mutant(fault="gradient of the soft-cap forgotten", file="blocked.py", tests=(CORE,),
           old="                d_scores.mul_(slope)", new="                pass"),
    Mutant(fault="gradient through the log-sum-exp has the wrong sign", file="blocked.py", tests=(CORE,),
           old="delta = delta - d_lse", new="delta = delta + d_lse"),
    Mutant(fault="gradient of the keys not scaled", file="blocked.py", tests=(CORE,),
           old="return d_q.mul_(self.scoring.scale).flatten(1, 2)", new="return d_q.flatten(1, 2)"),
    Mutant(fault="log-sum-exp adds the logarithm of the weight", file="blocked.py", tests=(CORE,),
           old="return before - after.log()", new="return before + after.log()"),
    Mutant(fault="log-sum-exp told from a weight that vanished", file="blocked.py", tests=(CORE,),
           old="if column is not None and bool((after < least).any()):", new="if False:"),
    Mutant(fault="columns at the left edge of a window not hidden", file="blocked.py", tests=(CORE, "test_windowed.py"),
           old="for columns in (slice(0, start), slice(stop, keys.shape[2])):",
           new="for columns in (slice(stop, keys.shape[2]),):"),
    Mutant(fault="merge without its weights", file="core.py", tests=(CORE,),
           old="shares = (sums / total)[..., None]", new="shares = (sums / sums)[..., None]"),
    Mutant(fault="merged log-sum-exp forgets the peak", file="core.py", tests=(CORE,),
           old="total.log() + peak)", new="total.log())"),
    Mutant(fault="sink takes no weight", file="core.py", tests=(CORE,),
           old="attended.output * share[..., None].to(attended.output.dtype)", new="attended.output"),
    Mutant(fault="sink forgotten in the weights", file="inspection.py",
           old="weights = torch.cat([scores, logit], dim=-1).softmax(dim=-1)[..., :-1]",
           new="weights = scores.softmax(dim=-1)"),
    Mutant(fault="heads and positions transposed in the output", file="core.py", tests=("test_grouped.py",),
           old="result = output(heads.transpose(1, 2).flatten(2))",
           new="result = output(heads.reshape(heads.shape[0], heads.shape[2], -1))"),
    Mutant(fault="heads cut across instead of side by side", file="heads.py", tests=("test_grouped.py",),
           old="return x.unflatten(-1, (-1, width)).transpose(1, 2)",
           new="return x.unflatten(-1, (width, -1)).permute(0, 3, 1, 2)"),
    # rules
    Mutant(fault="causal hides the token itself", file="rules.py", tests=("test_masks.py", CORE),
           old="(query[:, :, None] >= places_tensor", new="(query[:, :, None] > places_tensor"),
    Mutant(fault="causal aligned to the beginning of the keys", file="grid.py", tests=(CORE,),
           old="device=device, offset=n_key - n_query)", new="device=device)"),
    Mutant(fault="window one token too long", file="rules.py", tests=("test_masks.py", CORE),
           old="near = distance <= self.before\n", new="near = distance <= self.before + 1\n"),
    Mutant(fault="window looks ahead instead of back", file="grid.py", tests=("test_masks.py", CORE),
           old="return query[:, :, None] - key[:, None, :]", new="return key[:, None, :] - query[:, :, None]"),
    Mutant(fault="reach cut one column short", file="rules.py", tests=(CORE,),
           old="stop = n_key if after is None else query.stop + after - first.start",
           new="stop = n_key if after is None else query.stop + after - first.start - 1"),
    Mutant(fault="columns called sure one too many", file="rules.py", tests=(CORE,),
           old="query.start + 1 + after - first.start", new="query.start + 2 + after - first.start"),
    Mutant(fault="a row that sees nothing is the mean", file="eager.py", tests=(CORE,),
           old="return output if alive is None else torch.where(alive, output, 0.0)\n", new="return output\n"),
    Mutant(fault="either rule means both", file="rules.py", tests=("test_masks.py", CORE),
           old="seen = one if seen is None else seen | one", new="seen = one if seen is None else seen & one"),
    # positions
    Mutant(fault="rotary turns the other way", file="positions.py", tests=("test_positions.py", CONTRACT),
           old="torch.cat([-sine, sine], dim=-1)", new="torch.cat([sine, -sine], dim=-1)"),
    Mutant(fault="rotary layouts swapped", file="positions.py", tests=("test_positions.py", CONTRACT),
           old='if self.config.layout == "half":\n            first',
           new='if self.config.layout != "half":\n            first'),
    Mutant(fault="the turns of another step are kept", file="positions.py", tests=("test_positions.py", CACHES),
           old="if kept is None or kept[0] != key:", new="if kept is None:"),
    Mutant(fault="rotary turns in the type of the heads", file="positions.py", tests=("test_positions.py",),
           old="precise = torch.promote_types(dtype, torch.float32)", new="precise = dtype"),
    Mutant(fault="ALiBi rewards distance", file="positions.py", tests=("test_positions.py", CONTRACT),
           old="return -slopes[:, None, None]", new="return slopes[:, None, None]"),
    Mutant(fault="T5 buckets of past and future swapped", file="positions.py", tests=("test_positions.py", CONTRACT),
           old="offset = (distance < 0) * n_buckets", new="offset = (distance > 0) * n_buckets"),
    Mutant(fault="Llama 3 scaling ramps the wrong way", file="scalings.py", tests=("test_positions.py",),
           old="return (1.0 - kept) * plain / self.factor + kept * plain",
           new="return kept * plain / self.factor + (1.0 - kept) * plain"),
    # looking
    Mutant(fault="rows of weights turned to the places of the first rows", file="grouped.py",
           tests=("test_grouped.py", CONTRACT),
           old="places_tensor(places, x.device)[:, chosen]", new="places_tensor(places, x.device)[:, : len(chosen)]"),
    # caches
    Mutant(fault="slots read ahead where the mask has no entry for them", file="caching.py", tests=(CACHES,),
           old="if is_slow and self._hides_empty else 1", new="if is_slow else 1"),
    Mutant(fault="cropped slots keep what stood there", file="buffers.py", tests=("test_buffers.py", CACHES),
           old="tensor[sample, :, new:old] = 0", new="pass"),
    Mutant(fault="growing forgets the old tokens", file="buffers.py", tests=("test_buffers.py",),
           old="            new[:, :, : old.shape[2]] = old\n", new=""),
    Mutant(fault="ring one slot off when it wraps", file="buffers.py", tests=("test_buffers.py", "test_windowed.py"),
           old="head = min(stop - start, n_slots - start % n_slots)",
           new="head = min(stop - start, n_slots - start % n_slots - 1)"),
    Mutant(fault="int8 scale of 128", file="buffers.py", tests=("test_buffers.py",),
           old="keepdim=True) / 127.0", new="keepdim=True) / 128.0"),
    Mutant(fault="padding counted as tokens", file="buffers.py", tests=("test_buffers.py", CACHES),
           old="if real is None else real.cumsum(dim=1) - 1", new=""),
    # latent and indexed
    Mutant(fault="rotary key of the latent not turned", file="latents.py",
           old="        rope = rope if places is None else self.rotary.rotate(rope, places)\n        return torch.cat([self",
           new="        return torch.cat([self"),
    Mutant(fault="latent not normed", file="latents.py",
           old="torch.cat([self.latent_norm(latent), rope]", new="torch.cat([latent, rope]"),
    Mutant(fault="rotary part before the rest of the query", file="latent.py",
           old="torch.cat([queries.nope, queries.rope], dim=-1)", new="torch.cat([queries.rope, queries.nope], dim=-1)"),
    Mutant(fault="heads and samples transposed in the absorbed form", file="latents.py", tests=("test_latent.py", CONTRACT),
           old="return torch.bmm(rows, matrices).view(n_heads, batch, n_query, matrices.shape[2]).transpose(0, 1)",
           new="return torch.bmm(rows, matrices).view(batch, n_heads, n_query, matrices.shape[2])"),
    Mutant(fault="indexer without its ReLU", file="indexed.py", tests=("test_indexed.py", CONTRACT),
           old="keys[:, 0].mT).relu()", new="keys[:, 0].mT)"),
    Mutant(fault="hidden keys among the picked count as picked", file="indexed.py", tests=("test_indexed.py", CONTRACT),
           old="valid=scores.gather(2, chosen) > -torch.inf", new="valid=torch.ones_like(chosen, dtype=torch.bool)"),
    # windows with global tokens, low rank
    Mutant(fault="global tokens counted twice", file="global_tokens.py", tests=("test_windowed.py", CONTRACT),
           old="return ((distance > self.before) | (distance < -self.after)) &", new="return (distance == distance) &"),
    Mutant(fault="global queries use the ordinary projection", file="windowed.py", tests=("test_windowed.py", CONTRACT),
           old="self._turned(self.global_query, chosen.of(asking, 1)", new="self._turned(self.query, chosen.of(asking, 1)"),
    Mutant(fault="keys that are turned are absorbed", file="windowed_shape.py", tests=(WINDOWED, CONTRACT),
           old="if isinstance(self.position, RotaryConfig):", new="if False:"),
    Mutant(fault="the dearer way for global rows", file="windowed_shape.py", tests=(WINDOWED,),
           old='return "" if absorbed < expanded', new='return "" if absorbed > expanded'),
    Mutant(fault="taking queries to the tokens not counted", file="windowed_shape.py", tests=(WINDOWED,),
           old="self.absorbed_dim * (self.width + n_key)", new="self.absorbed_dim * n_key"),
    Mutant(fault="cost of absorbed rows as of expanded ones", file="windowed_shape.py", tests=(WINDOWED, CONTRACT),
           old="per_own_pair = 2 * self.n_heads * self.absorbed_dim", new="pass"),
    Mutant(fault="absorbed rows without the bias of values", file="global_tokens.py", tests=(WINDOWED, CONTRACT),
           old="tokens.new_ones(*tokens.shape[:2], 1)", new="tokens.new_zeros(*tokens.shape[:2], 1)"),
    Mutant(fault="absorbed rows take means through the keys' matrix", file="global_tokens.py", tests=(WINDOWED, CONTRACT),
           old="return _through(means, values.mT)", new="return _through(means, keys.mT)"),
    Mutant(fault="heads and samples transposed in absorbed rows", file="global_tokens.py", tests=(WINDOWED, CONTRACT),
           old=".unflatten(1, (batch, n_heads // n_kv_heads, n_rows))\n    return taken.transpose(0, 1).flatten(1, 2)",
           new=".unflatten(1, (n_heads // n_kv_heads, batch, n_rows))\n    return taken.permute(2, 0, 1, 3, 4).flatten(1, 2)"),
    Mutant(fault="extra keys take nothing from the others", file="blocks.py", tests=(WINDOWED,),
           old="local.output.mul_((local.lse - total).exp()[..., None].to(v.dtype))", new="local.output"),
    Mutant(fault="hidden extra keys are added", file="blocks.py", tests=(WINDOWED,),
           old="    scores = scores if alive is None else scores.masked_fill(~alive, -torch.inf)\n", new=""),
    Mutant(fault="a row that sees nothing divides by nothing", file="blocks.py", tests=(WINDOWED,),
           old="    total = torch.where(total == -torch.inf, 0.0, total)", new="    total = total"),
    Mutant(fault="slots without a global token are written, too", file="global_tokens.py", tests=(WINDOWED,),
           old="scatter_(2, index, torch.where(chosen.valid[:, None, :, None], own, ordinary.gather(2, index)))",
           new="scatter_(2, index, own)"),
    # runs of a window
    Mutant(fault="runs begin one key late", file="banded.py", tests=(BANDED,),
           old="_runs(each[sample, :, first - before :], n_runs,", new="_runs(each[sample, :, first - before + 1 :], n_runs,"),
    Mutant(fault="rows at the beginning miss their first key", file="banded.py", tests=(BANDED,),
           old="near = slice(max(rows.start - before, 0),", new="near = slice(max(rows.start - before, 0) + 1,"),
    Mutant(fault="rows at the end miss what follows them", file="banded.py", tests=(BANDED,),
           old="min(rows.stop + after, n))", new="min(rows.stop, n))"),
    Mutant(fault="windows that hang over the end called whole", file="banded.py", tests=(BANDED,),
           old="max((n - after - first) // ROWS, 0)", new="max((n - first) // ROWS, 0)"),
    Mutant(fault="numbers read side by side where they are not", file="banded.py", tests=(BANDED,),
           old="return heads if heads.stride(3) == 1 else heads.contiguous()", new="return heads"),
    # windows over what is not there
    Mutant(fault="tokens that are not there keep an output", file="packing.py", tests=(PACKING, CONTRACT),
           old="clean = torch.where(self.there[..., None], output, 0.0)", new="clean = output"),
    Mutant(fault="packed outputs not moved back", file="packing.py", tests=(PACKING,),
           old="return torch.zeros_like(clean).scatter(1, self.order[..., None].expand_as(clean), clean)",
           new="return clean"),
    Mutant(fault="before a short sample something is seen", file="packing.py", tests=(PACKING,),
           old="    there = places >= 0\n", new="    there = places == places\n"),
    Mutant(fault="the window of a ring read one slot off", file="packing.py", tests=(PACKING,),
           old="(places % ring.n_slots)[:, None]", new="((places + 1) % ring.n_slots)[:, None]"),
    Mutant(fault="rules over tables asked about places in a window", file="packing.py", tests=(PACKING,),
           old="    if not all(isinstance(rule, (Causal, Window)) for rule in mask.rules):\n        return False\n", new=""),
    Mutant(fault="holes are packed under rules that look places up", file="packing.py", tests=(NATIVE, CONTRACT),
           old=" and all(isinstance(rule, (KeyRule, Causal, Window)) for rule in mask.rules)", new=""),
    Mutant(fault="low rank projects values with the keys' matrix", file="low_rank.py", tests=("test_low_rank.py", CONTRACT),
           old="(self.key if self.value is None else self.value)[:, :, :n_key]", new="self.key[:, :, :n_key]"),
    Mutant(fault="low rank lets padding under a bias into its slots", file="low_rank.py", tests=("test_low_rank.py", CONTRACT),
           old="if order.kept is not None and self.config.bias:", new="if False:"),
    # clustered heads
    Mutant(fault="outputs in the order of clusters", file="membership.py", tests=("test_clustered.py",),
           old="of_head = (leads.cumsum(dim=1) - 1).gather(1, leaders)",
           new="of_head = (leads.cumsum(dim=1) - 1).gather(1, leaders).sort(dim=1).values"),
    Mutant(fault="heads take other heads' values", file="shared.py", tests=("test_clustered.py",),
           old="output = mixed_by_head(by_head(weights.view(*q.shape[:3], v.shape[2]), of_head), v)",
           new="output = mixed_by_head(by_head(weights.view(*q.shape[:3], v.shape[2]), of_head), v.flip(1))"),
    Mutant(fault="a single sample keeps the keys of the last one", file="clustered_cache.py", tests=("test_clustered.py",),
           old="if self._heads is None or self._heads[0] is not members:", new="if self._heads is None:"),
    Mutant(fault="a single sample projects the first heads", file="projection.py", tests=("test_clustered.py",),
           old="None if bias is None else bias[head]) for head in heads]",
           new="None if bias is None else bias[head]) for head in range(len(heads))]"),
    Mutant(fault="clusters by single linkage", file="clusters.py", tests=("test_clustered.py",),
           old="row = (of_low * between[sample, low] + of_high * between[sample, high]) / (of_low + of_high)",
           new="row = torch.minimum(between[sample, low], between[sample, high])"),
    # native sparse
    Mutant(fault="a run is seen from its first token on", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="offsets = (runs.size - 1,) if", new="offsets = (0,) if"),
    Mutant(fault="a run that mixes in a hidden token is seen", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="        seen = seen & seen_keys(_at(scoring, starts + offset))",
           new="        seen = seen_keys(_at(scoring, starts + offset))"),
    Mutant(fault="blocks picked by the first head of a group", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old=".unflatten(1, (n_groups, -1)).sum(dim=2)", new=".unflatten(1, (n_groups, -1))[:, :, 0]"),
    Mutant(fault="overlap starts one run early", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old='rounding_mode="floor") + 1 + torch', new='rounding_mode="floor") + torch'),
    Mutant(fault="every overlap counts alike", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="torch.maximum(first, start)).clamp(min=0)",
           new="torch.maximum(first, start)).clamp(min=0, max=1)"),
    Mutant(fault="neither the first nor the own block is sure", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="scores = torch.where(forced, torch.inf, important)", new="scores = important"),
    Mutant(fault="blocks of which nothing is seen are picked", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="torch.inf, important).masked_fill(~seen, -torch.inf)", new="torch.inf, important)"),
    Mutant(fault="hidden keys of picked blocks are read", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="return keys, valid & seen.expand(*keys.shape[:3], -1).gather(3, keys)", new="return keys, valid"),
    Mutant(fault="many queries copy the blocks of the first group", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="index, shape = (some.blocks + of_group)", new="index, shape = (some.blocks + 0 * of_group)"),
    Mutant(fault="the place in a run forgotten", file="block_choice.py", tests=(BLOCKS, NATIVE),
           old="self.inner((runs + self.place).flatten(3))", new="self.inner(runs.flatten(3))"),
    Mutant(fault="gates shared out instead of each for itself", file="native_sparse.py", tests=(NATIVE, CONTRACT),
           old="self.gate(x).sigmoid().unflatten(-1, (3, -1))", new="self.gate(x).unflatten(-1, (3, -1)).softmax(-2)"),
    Mutant(fault="gates of two branches swapped", file="native_sparse.py", tests=(NATIVE, CONTRACT),
           old="asked.gates[1] * selected + asked.gates[2] * window",
           new="asked.gates[2] * selected + asked.gates[1] * window"),
    Mutant(fault="the window reads the keys of the picked branch", file="native_sparse.py", tests=(NATIVE, CONTRACT),
           old="self._turned(self.window_key, x, places)", new="self._turned(self.key, x, places)"),
    Mutant(fault="runs turned by their places", file="native_sparse.py", tests=(CONTRACT,),
           old='"run_key": self._heads(self.run_key, x)', new='"run_key": self._turned(self.run_key, x, places)'),
    Mutant(fault="blocks count holes", file="native_sparse.py", tests=(NATIVE, CONTRACT),
           old="places_tensor(grid.query_place, grid.device) if grid.query_count is None else grid.query_count",
           new="places_tensor(grid.query_place, grid.device)"),
    Mutant(fault="runs pooled over holes", file="native_sparse.py", tests=(NATIVE, CONTRACT),
           old="pooling(held[name] if order is None else taken(held[name], order))", new="pooling(held[name])"),
    Mutant(fault="a run pooled from one token late", file="native_sparse_cache.py", tests=(CACHES,),
           old="first = (torch.tensor(done,", new="first = 1 + (torch.tensor(done,"),
    Mutant(fault="a shorter sample remembers a run that is not whole", file="native_sparse_cache.py", tests=(NATIVE, CACHES),
           old="None if min(n_new) == most else is_new", new="None"),
    Mutant(fault="whole numbers read without their scale", file="stored.py", tests=(NATIVE, CACHES),
           old="numbers.mul_(parts[1].to(self.reads_as))", new="numbers"),
    Mutant(fault="a step converts all tokens", file="native_sparse.py", tests=(NATIVE,),
           old="if n_query > FEW_QUERIES or not self._gathers(n_query, scoring):", new="if True:"),
    Mutant(fault="cropped runs are kept", file="native_sparse_cache.py", tests=(NATIVE, CACHES),
           old="self._runs.crop([self._module.config.runs.whole(count) for count in kept])", new="pass"),
    Mutant(fault="a wide ring reads one token less than its window", file="buffers.py", tests=(NATIVE, CACHES),
           old="start = max(self.longest - n_new - self.lookback, 0)\n            first",
           new="start = max(self.longest - n_new - self.lookback + 1, 0)\n            first"),
    # configurations
    Mutant(fault="scale of the configuration ignored", file="heads.py",
           old="return self.width**-0.5 if self.scale is None else self.scale", new="return self.width**-0.5"),
    Mutant(fault="scores scaled by the whole width", file="heads.py",
           old="return self.width**-0.5 if self.scale is None", new="return self.dim**-0.5 if self.scale is None"),
)  # fmt: skip


def verdicts(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str | None]]:
    """Each mutant with the first test that failed, or None if it survived."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("attending", "tests/attention"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "tests/__init__.py"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, copy / name)
        for mutant in mutants:
            path = copy / "attending" / "attention" / mutant.file
            source = path.read_text(encoding="utf-8")
            if source.count(mutant.old) != 1:
                raise ValueError(f"{mutant.fault}: {mutant.old!r} stands {source.count(mutant.old)} times in {mutant.file}")
            path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
            try:
                yield mutant, _first_failure(copy, mutant.tests)
            finally:
                path.write_text(source, encoding="utf-8")


def _first_failure(copy: Path, tests: Sequence[str]) -> str | None:
    files = [f"tests/attention/{name}" for name in tests]
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {TIME_LIMIT_S} s"
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"pytest ended with {done.returncode}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdicts; the exit status is the number of survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="mutants whose fault or file has one of these words")
    words = parser.parse_args(arguments).only
    chosen = [m for m in MUTANTS if words is None or any(word in f"{m.fault} {m.file}" for word in words)]
    survivors = []
    for mutant, killer in verdicts(chosen):
        sys.stdout.write(f"{'survived' if killer is None else 'killed  '}  {mutant.file}: {mutant.fault}  {killer or ''}\n")
        sys.stdout.flush()
        if killer is None:
            survivors.append(mutant)
    sys.stdout.write(f"{len(chosen) - len(survivors)} of {len(chosen)} killed\n")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
