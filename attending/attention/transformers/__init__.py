"""Unmodified Hugging Face models on our cores; nothing of that library is imported before one of these is called.

    attending.attention.transformers.register()
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="attending")

    with absorbed(model):                       # DeepSeek-V2 and V3: attend to the latents as they are remembered
        model.generate(...)

Needs the extra "hub".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from attending.attention.errors import AttentionError

NAME = "attending"

__all__ = ["NAME", "absorbed", "register"]


def register() -> None:
    """Make `attn_implementation="attending"` valid for the models of transformers, now and for the life of the process.

    Masks of theirs that are plainly causal, a window or padding are followed by rule, others pair by pair. With
    `output_attentions=True` the exact weights come back from the same cores.
    """
    _check_installed()
    from transformers import AttentionInterface, AttentionMaskInterface

    from attending.attention.transformers.interface import attend_for
    from attending.attention.transformers.seen import seen_pairs

    AttentionInterface.register(NAME, attend_for)
    AttentionMaskInterface.register(NAME, seen_pairs)


@contextmanager
def absorbed(model: Any) -> Iterator[None]:
    """Inside, the latent attention of a DeepSeek-V2 or V3 model takes its queries to the latents, instead of making the keys
    and values of every token again at each step. The same sum in another order, taken where it costs less.

    `model` is a model of transformers (any part of one); other attention in it stays as it is. Caches made inside or outside
    serve on both sides; inside they grow in place. On leaving, the model is as before.
    """
    _check_installed()
    from attending.attention.transformers.latents import is_latent, mixed_latents

    changed = [module for module in model.modules() if is_latent(module)]
    if not changed:
        raise AttentionError(
            f"absorbed: {type(model).__name__} has no DeepSeek-V2 or V3 attention; other models remember no latents"
        )
    for module in changed:
        module.forward = mixed_latents(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _check_installed() -> None:
    if find_spec("transformers") is None:
        raise AttentionError('transformers is not installed; it comes with the extra "hub": pip install "attending[hub]"')
