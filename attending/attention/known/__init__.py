"""Attention weights as they were published (Llama, BERT, DeepSeek, …), loaded into our layers.

known = load_attention(tensors, settings, layer=3)     # tensors of a checkpoint, its config.json as a mapping
known = adopt_attention(model.layers[3].self_attn)     # or a module that exists already
output = known.layer(x, mask=known.mask)
"""

from attending.attention.known.catalog import LAYOUTS, adopt_attention, load_attention
from attending.attention.known.layout import Known

__all__ = ["LAYOUTS", "Known", "adopt_attention", "load_attention"]
