"""Facts that change how other evidence is to be read: a word of the note, a level of a sign.

A drug in the note may decide which of two diseases a raised value speaks for. A network learns such a product late or never:
before it does, it has over-fitted what acts alone (journal, "Clinic"). So facts are asked before training, one by one: does
what a modality says of any finding differ between cases that state the fact and cases that do not? The answer is a score test
in a logistic model that holds both for themselves (Rao 1948), summed over findings. The few facts that no chance explains get
a reading of that modality of their own in the network (`Switched`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from attending.attention import MechanismConfig, keep_keys
from attending.case import Case
from attending.model.modality import Sketch, Tokenizer
from attending.model.tokens import Inputs, Kind, Tokens

CHANCE = 1e-3
"""Probability, over all facts asked, of taking one that changes nothing."""
RARELY = 20
"""A fact is asked where at least so many patients state it and as many do not; a finding needs as many of either truth."""
ASKED = 1000
"""Facts asked of each modality, the most frequent first."""
DIRECTIONS = 32
"""Main directions of a sketch that are asked about, and at most one for every `PATIENTS_PER_DIRECTION` patients."""
PATIENTS_PER_DIRECTION = 25
_SHRINKAGE = 0.003
_JITTER = 1e-6


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Where cases state `fact` in evidence of kind `states`, what they hold of kind `reads` means something else.

    `log10_chance` is how likely chance alone is to show as much, times the number of facts asked, as a power of ten.
    """

    states: Kind
    fact: str
    reads: Kind
    log10_chance: float

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "states": self.states.__name__,
            "fact": self.fact,
            "reads": self.reads.__name__,
            "log10_chance": self.log10_chance,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], kinds: Sequence[Kind]) -> "Switch":
        """The inverse of `to_plain`, among these kinds of evidence."""
        by_name = {kind.__name__: kind for kind in kinds}
        return cls(
            states=by_name[plain["states"]],
            fact=plain["fact"],
            reads=by_name[plain["reads"]],
            log10_chance=plain["log10_chance"],
        )


class Switched(nn.Module):
    """What a modality adds where a fact is stated: a query per finding that reads its tokens; exactly 0 elsewhere."""

    def __init__(self, attention: MechanismConfig, *, n_findings: int) -> None:
        super().__init__()
        dim = attention.dim
        self.query = nn.Parameter(torch.randn(n_findings, dim) * dim**-0.5)
        self.query_norm, self.evidence_norm, self.answer_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = attention.build()
        self.weight = nn.Parameter(torch.zeros(n_findings, dim))
        self.bias = nn.Parameter(torch.zeros(n_findings))

    def forward(self, tokens: Tokens, *, stated: Bool[Tensor, " case"]) -> Float[Tensor, "case finding"]:
        """What to add to the logits."""
        asked = self.query_norm(self.query).expand(len(tokens.values), -1, -1)
        looked = self.attention(asked, mask=keep_keys(tokens.seen), context=self.evidence_norm(tokens.values))
        said = (self.answer_norm(self.query + looked) * self.weight).sum(dim=-1) + self.bias
        return torch.where((stated & tokens.seen.any(dim=1)).unsqueeze(-1), said, 0.0)


def find_switches(tokenizers: Mapping[Kind, Tokenizer], cases: Sequence[Case], *, most: int) -> tuple[Switch, ...]:
    """At most `most` switches that these cases show, the plainest first; each is asked for beside those found before it.

    Reads `Case.truth`: to be asked of training cases only. The same cases give the same switches.
    """
    if most == 0 or len(tokenizers) < 2:
        return ()
    with threadpool_limits(limits=1):
        return _search(tokenizers, cases, most=most)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Facts:
    names: tuple[str, ...]
    stated: Float[np.ndarray, "case fact"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Finding:
    """Cases whose truth is known: which, the truth, and how much each counts (a patient's cases count as one)."""

    rows: np.ndarray
    truth: np.ndarray
    weight: np.ndarray


def _search(tokenizers: Mapping[Kind, Tokenizer], cases: Sequence[Case], *, most: int) -> tuple[Switch, ...]:
    patient = np.unique([case.patient for case in cases], return_inverse=True)[1]
    inputs = {kind: tokenizer.read(cases) for kind, tokenizer in tokenizers.items()}
    findings = _findings(cases, patient)
    sketches = _sketches(tokenizers, inputs, n_patients=patient.max() + 1)
    facts = {kind: _facts(tokenizer, inputs[kind], patient) for kind, tokenizer in tokenizers.items()}
    pairs = [(states, reads) for states in facts for reads in sketches if states is not reads and facts[states].names]
    n_asked = sum(len(facts[states].names) for states, _ in pairs)
    found: list[Switch] = []
    terms: list[np.ndarray] = []
    while findings and n_asked and len(found) < most:
        alone = np.concatenate([*sketches.values(), *terms], axis=1)
        fitted = [_main_effects(alone, finding) for finding in findings]
        best: tuple[float, Kind, int, Kind] | None = None
        for states, reads in pairs:
            chance = _chances(facts[states].stated, sketches[reads], findings, fitted)
            taken = [s.fact for s in found if s.states is states and s.reads is reads]
            chance[np.isin(facts[states].names, taken)] = 0.0
            place = int(chance.argmin())
            if best is None or chance[place] < best[0]:
                best = (float(chance[place]), states, place, reads)
        assert best is not None
        log10_chance, states, place, reads = best[0] + math.log10(n_asked), *best[1:]
        if log10_chance > math.log10(CHANCE):
            break
        fact = facts[states].names[place]
        found.append(Switch(states=states, fact=fact, reads=reads, log10_chance=round(log10_chance, 1)))
        stated = facts[states].stated[:, [place]]
        terms.append(np.concatenate([stated, stated * sketches[reads]], axis=1))
    return tuple(found)


def _findings(cases: Sequence[Case], patient: np.ndarray) -> list[_Finding]:
    found = []
    for name in sorted({name for case in cases for name in case.truth}):
        rows = np.array([row for row, case in enumerate(cases) if name in case.truth])
        truth = np.array([cases[row].truth[name] for row in rows], dtype=float)
        visits = np.bincount(patient[rows])
        if min(len(np.unique(patient[rows[truth == side]])) for side in (0, 1)) >= RARELY:
            found.append(_Finding(rows=rows, truth=truth, weight=1.0 / visits[patient[rows]]))
    return found


def _sketches(
    tokenizers: Mapping[Kind, Tokenizer], inputs: Mapping[Kind, Inputs], *, n_patients: int
) -> dict[Kind, Float[np.ndarray, "case direction"]]:
    """The main directions of each modality's sketch, with deviation 1 among the cases that have it and 0 where it is absent."""
    most = min(DIRECTIONS, n_patients // PATIENTS_PER_DIRECTION)
    found = {}
    for kind, tokenizer in tokenizers.items():
        sketch = tokenizer.sketch(inputs[kind])
        directions = None if sketch is None else _directions(sketch, most)
        if directions is not None:
            found[kind] = directions
    return found


def _directions(sketch: Sketch, most: int) -> np.ndarray | None:
    values = sketch.values[sketch.there].astype(float)
    values = values[:, values.std(axis=0) > 0] if len(values) else values[:, :0]
    if not values.size or not most:
        return None
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    left, strength, _ = np.linalg.svd(standard, full_matrices=False)
    n = min(most, int((strength > 1e-3 * strength[0]).sum()))
    found = np.zeros((len(sketch.there), n))
    found[sketch.there] = left[:, :n] * math.sqrt(len(values))
    return found


def _facts(tokenizer: Tokenizer, inputs: Inputs, patient: np.ndarray) -> _Facts:
    n_patients = patient.max() + 1
    names, columns = [], []
    for name in tokenizer.facts()[:ASKED]:
        stated = tokenizer.stated(name, inputs).numpy()
        n = len(np.unique(patient[stated]))
        if RARELY <= n <= n_patients - RARELY:
            names.append(name)
            columns.append(stated.astype(float))
    return _Facts(names=tuple(names), stated=np.stack(columns, axis=1) if columns else np.zeros((len(patient), 0)))


def _main_effects(alone: Float[np.ndarray, "case number"], finding: _Finding) -> np.ndarray:
    """Probability of the finding by what acts alone, shrunken."""
    known = alone[finding.rows]
    deviation = known.std(axis=0)
    standard = (known - known.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(C=_SHRINKAGE, max_iter=300).fit(standard, finding.truth, sample_weight=finding.weight)
    return model.predict_proba(standard)[:, 1]


def _chances(
    stated: Float[np.ndarray, "case fact"],
    sketch: Float[np.ndarray, "case direction"],
    findings: Sequence[_Finding],
    fitted: Sequence[np.ndarray],
) -> Float[np.ndarray, " fact"]:
    """log10 of the score test's p-value per fact: that sketch × fact tells nothing beside sketch and fact, of any finding."""
    statistic, freedom = np.zeros(stated.shape[1]), 0
    for finding, probability in zip(findings, fitted, strict=True):
        x = stated[finding.rows]
        base = np.concatenate([np.ones((len(x), 1)), sketch[finding.rows]], axis=1)
        residual = finding.weight * (finding.truth - probability)
        information = finding.weight * probability * (1.0 - probability)
        n = base.shape[1]
        squares = (base[:, :, None] * base[:, None, :]).reshape(len(x), -1) * information[:, None]
        plain = squares.sum(axis=0).reshape(n, n)
        where = (x.T @ squares).reshape(-1, n, n)
        score_plain, score_where = base.T @ residual, x.T @ (base * residual[:, None])
        nuisance = np.empty((len(where), n + 1, n + 1))
        nuisance[:, :n, :n] = plain
        nuisance[:, :n, n] = nuisance[:, n, :n] = where[:, :, 0]
        nuisance[:, n, n] = where[:, 0, 0]
        shared = np.concatenate([where[:, 1:, :], where[:, 1:, :1]], axis=2)
        taken = np.linalg.solve(nuisance + _JITTER * np.trace(plain) / n * np.eye(n + 1), np.swapaxes(shared, 1, 2))
        known = np.concatenate([np.broadcast_to(score_plain, (len(where), n)), score_where[:, :1]], axis=1)
        score = score_where[:, 1:] - np.einsum("vqd,vq->vd", taken, known)
        variance = where[:, 1:, 1:] - shared @ taken
        # Nothing varies where a fact is stated only by cases without this evidence: it then says nothing.
        spread = np.maximum(np.trace(variance, axis1=1, axis2=2), _JITTER * np.trace(plain))
        variance += _JITTER * spread[:, None, None] * np.eye(n - 1)
        statistic += (score * np.linalg.solve(variance, score[:, :, None])[:, :, 0]).sum(axis=1)
        freedom += n - 1
    return chi2.logsf(statistic, freedom) / math.log(10.0)
