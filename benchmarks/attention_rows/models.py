"""Whole unmodified Hugging Face models with attn_implementation="attending" and with `absorbed`, against the same with SDPA.

Eight layers of d 1024, random weights, a prompt of 2048 tokens and 64 new ones, greedy. Few rounds, because each takes long.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from benchmarks.attention_rows.hub import hub, unmeasured
from benchmarks.attention_rows.latents import LATENT, NOPE, ROPE, VALUE
from benchmarks.attention_rows.measuring import Row, Run, difference, figures, name_of, timed

DIM, LAYERS, PROMPT, NEW, ROUNDS = 1024, 8, 2048, 64, 3
_BASE = {
    "hidden_size": DIM,
    "num_hidden_layers": LAYERS,
    "vocab_size": 1000,
    "intermediate_size": 2816,
    "num_attention_heads": 16,
}
FAMILIES = {
    "Llama": _BASE | {"num_key_value_heads": 4, "head_dim": 64},
    "Gemma2": _BASE
    | {"num_key_value_heads": 4, "head_dim": 64, "query_pre_attn_scalar": 64}
    | {"sliding_window": 512, "attn_logit_softcapping": 50.0},
    "DeepseekV3": _BASE
    | {
        "num_key_value_heads": 16, "kv_lora_rank": LATENT, "q_lora_rank": None, "qk_rope_head_dim": ROPE,
        "qk_nope_head_dim": NOPE, "v_head_dim": VALUE, "first_k_dense_replace": LAYERS,
    },
}  # fmt: skip


def models(run: Run) -> Iterator[Row]:
    """Prefill and greedy decoding, apart and by family."""
    prompt, new = run.length(PROMPT), run.length(NEW)
    for dtype in (torch.float32, torch.bfloat16):
        for family, settings in FAMILIES.items():
            peer = f'the same with "{"eager" if family == "Gemma2" else "sdpa"}"'
            shape = f"{family}, {LAYERS} layers, d {DIM}, prompt {prompt}"
            transformers = hub()
            if transformers is None:
                for kind in ("prefill", f"{new} new tokens"):
                    yield from unmeasured(f"model, {kind}", {peer: None}, shape, dtype)
                continue
            yield from _model_rows(run, family, settings, dtype, peer, shape, prompt=prompt, new=new)


def _model_rows(
    run: Run, family: str, settings: dict[str, Any], dtype: torch.dtype, peer: str, shape: str, *, prompt: int, new: int
) -> Iterator[Row]:
    from attending.attention.core import recorded
    from attending.attention.projection import streamed
    from attending.attention.transformers import NAME, absorbed, register

    register()
    transformers = hub()
    config = getattr(transformers, f"{family}Config")(**settings, max_position_embeddings=prompt + new)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval().to(dtype)
    ids = torch.randint(0, settings["vocab_size"], (1, prompt), generator=torch.Generator().manual_seed(0))
    theirs = "eager" if family == "Gemma2" else "sdpa"

    def under(name: str, call: Callable[[], Any], *, is_streamed: bool = False) -> Callable[[], Any]:
        def done() -> Any:
            model.set_attn_implementation(name)
            with ExitStack() as inside:
                if name == NAME and family == "DeepseekV3":
                    inside.enter_context(absorbed(model))
                if is_streamed:
                    inside.enter_context(streamed(model))
                return call()

        return done

    def prefill() -> Tensor:
        logits: Tensor = model(ids, use_cache=True, logits_to_keep=1).logits
        return logits

    def generate() -> Any:
        asked = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return model.generate(ids, attention_mask=torch.ones_like(ids), **asked)

    with recorded() as ours:
        mine = under(NAME, prefill)()
    with recorded() as others:
        error = difference(mine, under(theirs, prefill)())
    if len(ours) != LAYERS or others:
        raise RuntimeError(
            f"{shape}: {len(ours)} layers ran our cores, and {len(others)} of the peer's; expected {LAYERS} and 0"
        )
    for kind, call in (("prefill", prefill), (f"prefill and {new} new tokens", generate)):
        contenders = {"ours": under(NAME, call), "theirs": under(theirs, call)}
        if call is generate:
            contenders |= {"ours, streamed": under(NAME, call, is_streamed=True)}
        seconds = timed(contenders, repeats=min(run.repeats, ROUNDS), calls=1)
        for name in (name for name in contenders if name != "theirs"):
            yield Row(
                job=f"model, {kind}{name.removeprefix('ours')}", peer=peer, shape=shape, dtype=name_of(dtype), error=error,
                **figures(seconds[name], seconds["theirs"]),
            )  # fmt: skip
