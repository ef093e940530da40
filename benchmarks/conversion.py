"""Trained attention made four times cheaper in its cache: how far the outputs of its layers move, rule by rule.

    python -m benchmarks.conversion [--only decoder|minilm] [--layers] [--resamples N] [--quick]

Two trained models: the MiniLM text encoder (no RoPE; needs the extra "hub", and the reports under ATTENDING_DATA to read) and a
small decoder with RoPE, trained here in a minute on a chain of words that comes twice, so that its heads learn to look back.
For each rule the median over layers of the relative output error on inputs that no conversion saw; the ratio of a plain rule to
ours has a bootstrap interval over those inputs. Two are asked for: mean pooling over aligned pooling, and plain singular value
decomposition over latents cut by the output, both 2 or more.
"""

import argparse
import copy
import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attending.attention import GroupedConfig, RotaryConfig, causal
from attending.attention.conversion import conversion_from, convert_layers, convertible, refit_output, watch
from attending.attention.conversion.conversion import Seen
from attending.attention.mechanism import Mechanism
from attending.model.bert import Bert, BertConfig
from attending.model.pretrained import TEXT_FILES, TOKENIZER, EncoderError, find_encoder
from attending.model.word_pieces import WordPieces

DATA = Path(os.environ.get("ATTENDING_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
WORDS, LENGTH = 64, 48


class Decoder(nn.Module):
    """Words → the next word: pre-norm blocks of causal attention with RoPE."""

    def __init__(self, *, dim: int, n_heads: int, n_layers: int) -> None:
        super().__init__()
        self.word = nn.Embedding(WORDS, dim)
        config = GroupedConfig(dim=dim, n_heads=n_heads, position=RotaryConfig())
        self.attention = nn.ModuleList(config.build() for _ in range(n_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * n_layers + 1))
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)) for _ in range(n_layers)
        )
        self.answer = nn.Linear(dim, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        x = self.word(words)
        for n, (attention, network) in enumerate(zip(self.attention, self.networks, strict=True)):
            x = x + attention(self.norms[2 * n](x), mask=causal())
            x = x + network(self.norms[2 * n + 1](x))
        return self.answer(self.norms[-1](x))


def sentences(n: int, *, seed: int) -> Tensor:
    """A Markov chain of words, half a length of it, and then the same words again."""
    rng = np.random.default_rng(7)
    chain = rng.dirichlet(np.full(WORDS, 0.1), size=WORDS).cumsum(axis=1)
    draw = np.random.default_rng(seed)
    words = draw.integers(0, WORDS, size=(n, 1))
    while words.shape[1] < LENGTH // 2:
        step = (chain[words[:, -1]] < draw.random((n, 1))).sum(axis=1).clip(max=WORDS - 1)
        words = np.concatenate([words, step[:, None]], axis=1)
    return torch.from_numpy(np.concatenate([words, words], axis=1))


def trained_decoder(*, steps: int = 500, dim: int = 64, n_heads: int = 8, n_layers: int = 4) -> tuple[Decoder, float]:
    """The decoder, and its loss on new sentences."""
    torch.manual_seed(0)
    model = Decoder(dim=dim, n_heads=n_heads, n_layers=n_layers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for step in range(steps):
        words = sentences(32, seed=1000 + step)
        loss = nn.functional.cross_entropy(model(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return model.eval(), decoder_loss(model)


@torch.no_grad()
def decoder_loss(model: nn.Module) -> float:
    """Mean log loss of the next word in sentences that nothing was fitted to."""
    words = sentences(256, seed=3)
    return float(nn.functional.cross_entropy(model(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten()))


def read_sentences(model: Decoder, n: int, *, seed: int) -> Callable[[], None]:
    """Lets the decoder read so many sentences, sixteen at a time."""

    def run() -> None:
        for words in sentences(n, seed=seed).split(16):
            model(words)

    return run


def minilm() -> Bert:
    """MiniLM's network. Raises `EncoderError` where its package is not installed."""
    folder = find_encoder("minilm", needed=TEXT_FILES)
    made = Bert(BertConfig.from_architecture(folder.architecture)).eval()
    made.load_hub_weights(folder.weights())
    return made


def report_pieces(n: int) -> tuple[list[Tensor], list[Tensor]]:
    """Word pieces of the findings and of the impressions of that many radiology reports, one tensor each."""
    folder = find_encoder("minilm", needed=TEXT_FILES)
    pieces = WordPieces(folder.text(TOKENIZER), size=128, n_positions=512)
    with (DATA / "iuxray_reports" / "patients.csv").open(newline="", encoding="utf-8") as handle:
        told = {row["findings"]: row["impression"] for row in csv.DictReader(handle) if row["findings"] and row["impression"]}
    first = list({impression: findings for findings, impression in told.items()}.items())[:n]  # each impression once

    def marked(text: str) -> Tensor:
        return torch.tensor([pieces.first, *pieces.chunks(text)[0].pieces, pieces.last])

    return [marked(findings) for _, findings in first], [marked(impression) for impression, _ in first]


@torch.no_grad()
def found_again(model: Bert, findings: Sequence[Tensor], impressions: Sequence[Tensor]) -> np.ndarray:
    """For each report 1 / the rank of its own impression among all, by the cosine of mean states: what the encoder is for."""
    sides = []
    for texts in (findings, impressions):
        means = [model(text[None], there=torch.ones(1, len(text), dtype=torch.bool))[0].mean(dim=0) for text in texts]
        sides.append(nn.functional.normalize(torch.stack(means), dim=1))
    near = sides[0] @ sides[1].T
    return (1.0 / (near >= near.diagonal()[:, None]).sum(dim=1)).numpy()


def read_by(model: Bert, texts: Sequence[Tensor]) -> Callable[[], None]:
    """Lets the encoder read the texts, sixteen at a time."""

    def run() -> None:
        for start in range(0, len(texts), 16):
            some = texts[start : start + 16]
            there = nn.utils.rnn.pad_sequence([torch.ones_like(text, dtype=torch.bool) for text in some], batch_first=True)
            model(nn.utils.rnn.pad_sequence(list(some), batch_first=True), there=there)

    return run


@torch.no_grad()
def squares(old: Mechanism, new: Mechanism, seen: Sequence[Seen]) -> np.ndarray:
    """Σ‖new − old‖² and Σ‖old‖² of each sample of each input."""
    found = []
    for one in seen:
        before, after, rows = one.answered_by(old), one.answered_by(new), one.rows[..., None]
        found.append(torch.stack([((part * rows).double() ** 2).sum(dim=(1, 2)) for part in (after - before, before)], dim=1))
    return torch.cat(found).numpy()


def median_error(parts: Sequence[np.ndarray], chosen: np.ndarray) -> float:
    """The median over layers of the relative error on the chosen samples."""
    return float(np.median([np.sqrt(part[chosen, 0].sum() / part[chosen, 1].sum()) for part in parts]))


def measured(
    layers: dict[str, Mechanism], fit: dict[str, tuple[Seen, ...]], unseen: dict[str, tuple[Seen, ...]], to: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The squares of every layer under one conversion, as it is and refitted; the layers stay as they are."""
    conversion = conversion_from(to)
    plans = conversion.planned([(layer, fit[name]) for name, layer in layers.items()])
    found, refitted = [], []
    for (name, layer), plan in zip(layers.items(), plans, strict=True):
        made = plan.convert(layer, fit[name])
        found.append(squares(layer, made.layer, unseen[name]))
        refit_output(layer, made, fit[name])
        refitted.append(squares(layer, made.layer, unseen[name]))
    return found, refitted


def compare(
    title: str,
    rules: dict[str, str],
    ratios: Sequence[tuple[str, str]],
    *,
    layers,
    fit,
    unseen,
    resamples: int,
    shows_layers: bool,
) -> None:
    """Print the median error of each rule, and the ratios."""
    print(f"\n{title}")
    parts = {}
    for name, to in rules.items():
        parts[name], parts[f"{name}, refitted"] = measured(layers, fit, unseen, to)
    everyone = np.arange(len(next(iter(parts.values()))[0]))
    for name, found in parts.items():
        by_layer = [median_error([part], everyone) for part in found]
        told = " ".join(f"{error:.3f}" for error in by_layer) if shows_layers else f"{min(by_layer):.3f} to {max(by_layer):.3f}"
        print(f"  {name:<58} median {median_error(found, everyone):.4f}   layers {told}")
    rng = np.random.default_rng(0)
    for plain, ours in ratios:
        drawn = [rng.choice(everyone, size=len(everyone)) for _ in range(resamples)]
        values = [median_error(parts[plain], some) / median_error(parts[ours], some) for some in drawn]
        low, high = np.quantile(values, [0.025, 0.975])
        whole = median_error(parts[plain], everyone) / median_error(parts[ours], everyone)
        print(f"  {plain} / {ours}: {whole:.2f} ({low:.2f} to {high:.2f}), asked for 2")


def rules_for(kv: int, numbers: int, rope: int | None) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The rules at one cache size, and which are set against which."""
    rotary = "" if rope is None else f",rope={rope}"
    latent = numbers - (rope or 0)
    gqa, mla = f"gqa:{kv}", f"mla:latent={numbers}"
    plain_svd = f"mla:latent={latent}{rotary},by=weights,ranks=even"
    rules = {
        "mean pooling": f"{gqa},pool=mean",
        "aligned": gqa,
        "plain SVD": plain_svd,
        "latents by output, even ranks": f"mla:latent={latent}{rotary},ranks=even",
        "latents by output": mla,
    }
    ratios = [
        ("mean pooling", "aligned"),
        ("mean pooling", "aligned, refitted"),
        ("mean pooling, refitted", "aligned, refitted"),
        ("plain SVD", "latents by output"),
        ("plain SVD", "latents by output, refitted"),
        ("plain SVD, refitted", "latents by output, refitted"),
    ]
    return rules, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", action="store_true", help="errors of every layer")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", choices=("decoder", "minilm"))
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    asked = parser.parse_args()
    n_texts = 64 if asked.quick else 160
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    shown = {"resamples": asked.resamples, "shows_layers": asked.layers}
    for name, subject in (("decoder", of_decoder), ("minilm", of_minilm)):
        if asked.only in (None, name):
            subject(n_texts, shown)


def of_decoder(n_texts: int, shown: dict[str, Any]) -> None:
    """The decoder with RoPE: layers, and the log loss of the next word."""
    decoder, loss = trained_decoder()
    layers = dict(convertible(decoder))
    fit = watch(layers, read_sentences(decoder, n_texts, seed=1))
    unseen = watch(layers, read_sentences(decoder, n_texts, seed=2))
    rules, ratios = rules_for(2, 32, 16)
    print(f"\ndecoder: log loss {loss:.3f} (a word at random {np.log(WORDS):.3f})")
    compare("decoder with RoPE, 8 heads, 4 times smaller cache", rules, ratios, layers=layers, fit=fit, unseen=unseen, **shown)

    print("\ndecoder: log loss of the next word once converted")
    for to in (
        "gqa:2,pool=mean",
        "gqa:2",
        "mla:latent=16,rope=16,by=weights,ranks=even",
        "mla:latent=32",
        "clustered",
        "window:12",
    ):
        new = copy.deepcopy(decoder)
        halves = [read_sentences(new, n_texts, seed=seed) for seed in (1, 2)]
        convert_layers(
            new, conversion_from(to), fit=halves[0], held_out=halves[1], refits="mean" not in to and "weights" not in to
        )
        print(f"  {to:<46} {decoder_loss(new):.3f}")


def of_minilm(n_texts: int, shown: dict[str, Any]) -> None:
    """MiniLM: layers, and how well a report's findings find its impression."""
    try:
        encoder = minilm()
        findings, impressions = report_pieces(2 * n_texts)
    except (EncoderError, FileNotFoundError) as error:
        print(f"\nMiniLM is left out: {error}")
        return
    layers = dict(convertible(encoder))
    fit, unseen = (watch(layers, read_by(encoder, part)) for part in (findings[:n_texts], findings[n_texts:]))
    rules, ratios = rules_for(3, 192, None)
    compare("MiniLM, 12 heads, 4 times smaller cache", rules, ratios, layers=layers, fit=fit, unseen=unseen, **shown)

    print(
        "\nMiniLM: mean reciprocal rank of a report's own impression, and the paired difference (95 % bootstrap over reports)"
    )
    own = findings[n_texts:], impressions[n_texts:]
    before = found_again(encoder, *own)
    print(f"  {'as it is':<34} {before.mean():.3f}")
    for to in (
        "gqa:3,pool=mean",
        "gqa:3",
        "mla:latent=192,by=weights,ranks=even",
        "mla:latent=192",
        "clustered:6",
        "window:16",
    ):
        new = copy.deepcopy(encoder)
        halves = [read_by(new, part) for part in (findings[:n_texts], findings[n_texts:])]
        convert_layers(
            new, conversion_from(to), fit=halves[0], held_out=halves[1], refits="mean" not in to and "weights" not in to
        )
        change = found_again(new, *own) - before
        drawn = np.random.default_rng(0).choice(change, size=(shown["resamples"], len(change))).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        print(f"  {to:<46} {before.mean() + change.mean():.3f}   {change.mean():+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
