"""A tiny BERT in a folder, with random weights under the hub's names: what a pretrained encoder looks like on disk."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

DIM, HEADS, LAYERS, HIDDEN, POSITIONS = 16, 2, 2, 24, 32
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "fever", "cough", "sputum", "dry", "pain", "chest", "left", "right", "days"),
    *("dys", "##p", "##no", "##ea", "worse", "product", "##ive", ",", ".", "1", "2"),
]


def bert_folder(folder: Path, *, seed: int = 0, **changes: object) -> Path:
    """The folder; `changes` go into its config.json."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_size": DIM,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": HIDDEN,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    # As delivered, MiniLM's tokenizer cuts and pads: a reader that forgets to switch it off loses text.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(_weights(seed), folder / "model.safetensors")
    return folder


def _weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    made = {
        "embeddings.word_embeddings.weight": drawn(len(VOCABULARY), DIM),
        "embeddings.position_embeddings.weight": drawn(POSITIONS, DIM),
        "embeddings.token_type_embeddings.weight": drawn(2, DIM),
        "embeddings.LayerNorm.weight": 1 + drawn(DIM),
        "embeddings.LayerNorm.bias": drawn(DIM),
        "pooler.dense.weight": drawn(DIM, DIM),
        "pooler.dense.bias": drawn(DIM),
    }
    for layer in range(LAYERS):
        shapes = {
            "attention.self.query": (DIM, DIM),
            "attention.self.key": (DIM, DIM),
            "attention.self.value": (DIM, DIM),
            "attention.output.dense": (DIM, DIM),
            "intermediate.dense": (HIDDEN, DIM),
            "output.dense": (DIM, HIDDEN),
        }
        for name, shape in shapes.items():
            made[f"encoder.layer.{layer}.{name}.weight"] = drawn(*shape)
            made[f"encoder.layer.{layer}.{name}.bias"] = drawn(shape[0])
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            made[f"encoder.layer.{layer}.{name}.weight"] = 1 + drawn(DIM)
            made[f"encoder.layer.{layer}.{name}.bias"] = drawn(DIM)
    return made
