"""The network: encoders → tokens → one conversation → one query per finding.

    Inputs per modality ─encoder─▶ Tokens ─┐
    …                                      ├─▶ [register, tokens…] ─Block × n─▶ ─Readout─▶ logits
    Inputs per modality ─encoder─▶ Tokens ─┘                ├── additive path: linear in each modality's summary ──▲
                                                            ├── pairs: products of what two modalities say ────────▲
                                                            └── switches: read anew where a fact is stated ────────▲

Any subset of modalities may be there for any case. A register token that is always there gives the empty case an answer. The
additive path lets what acts alone act simply, pairs and switches what acts by twos; attention is for the rest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.attention import MechanismConfig, keep_keys
from attending.case import Case, Demographics, Place
from attending.diagnosis import Task
from attending.evaluation.gate import Gate, Trait, fit_gate
from attending.model.absence import EvidenceDropout
from attending.model.fusion import Block, Readout, Summary
from attending.model.modality import Encoder, ModalityConfig, Tokenizer
from attending.model.pairs import Pairs
from attending.model.switches import Switch, Switched, find_switches
from attending.model.tokens import Batch, Inputs, Kind, Tokens

NO_EVIDENCE = "no evidence of a kind that the model reads"


@dataclass(frozen=True, kw_only=True)
class DiagnoserConfig:
    """Which evidence is read, and which attention fuses it and answers.

    `fusion` has one mechanism for each block of self-attention; none leaves the fusing to the findings' queries. `pair_rank`
    is the rank of the products between modalities (`Pairs`); 0 has none. At most `switches` facts that the training cases show
    to change how other evidence is read get a reading of their own (`Switched`).
    """

    modalities: tuple[ModalityConfig, ...]
    fusion: tuple[MechanismConfig, ...]
    readout: MechanismConfig
    expansion: int = 2
    pair_rank: int = 0
    switches: int = 0
    dropout: float = 0.2
    evidence_dropout: EvidenceDropout = field(default_factory=EvidenceDropout)

    def __post_init__(self) -> None:
        kinds = [modality.kind for modality in self.modalities]
        if len(set(kinds)) != len(kinds):
            raise ValueError("each kind of evidence has one modality config; found a kind twice")
        widths = {self.readout.dim, *(attention.dim for attention in self.fusion)}
        if len(widths) > 1:
            raise ValueError(f"fusion and readout share one width; found dim = {sorted(widths)}")

    @property
    def dim(self) -> int:
        """Width of every token."""
        return self.readout.dim


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """One fitted tokenizer per kind of evidence that the training cases had, the switches that they showed, and the gate.

    `gate` is None until it is asked for (`with_gate`): a fit that is only compared needs none.
    """

    by_kind: Mapping[Kind, Tokenizer]
    switches: tuple[Switch, ...] = ()
    gate: Gate | None = None

    @classmethod
    def fit(cls, config: DiagnoserConfig, cases: Sequence[Case]) -> "Tokenizers":
        """Fitted on these cases. Raises `ValueError` when they have no evidence that the config reads."""
        fitted = {modality.kind: modality.fit(cases) for modality in config.modalities}
        found = {kind: tokenizer for kind, tokenizer in fitted.items() if tokenizer is not None}
        if not found:
            kinds = ", ".join(modality.kind.__name__ for modality in config.modalities)
            raise ValueError(f"none of the {len(cases)} training cases has evidence of the kinds the model reads ({kinds})")
        return cls(by_kind=found, switches=find_switches(found, cases, most=config.switches))

    def with_gate(self, cases: Sequence[Case]) -> "Tokenizers":
        """The same with a gate fitted on these cases, those that all else was fitted on."""
        found: dict[str, Trait] = {}
        for tokenizer in self.by_kind.values():
            found |= tokenizer.traits(cases, tokenizer.as_trained(tokenizer.read(cases), seed=0))
        return replace(self, gate=fit_gate(found, groups=[case.patient for case in cases]))

    def unusable(self, cases: Sequence[Case]) -> tuple[str | None, ...]:
        """Per case why it should not be answered: nothing to read, or something unlike what was trained on; None: answer it."""
        nothing = [not any(case.of(kind) for kind in self.by_kind) for case in cases]
        strange: tuple[str | None, ...] = (None,) * len(cases)
        if self.gate is not None:
            traits = [tokenizer.traits(cases, tokenizer.read(cases)) for tokenizer in self.by_kind.values()]
            named = {name: trait for found in traits for name, trait in found.items()}
            strange = self.gate.outside(named) if named else strange
        return tuple(
            NO_EVIDENCE if is_empty else None if trait is None else f"{trait} is unlike what the model was trained on"
            for is_empty, trait in zip(nothing, strange, strict=True)
        )

    def batch(self, cases: Sequence[Case], task: Task) -> Batch:
        """Inputs, truth and weight of these cases. A case weighs 1 / (cases of its patient among these)."""
        visits: dict[str, int] = {}
        for case in cases:
            visits[case.patient] = visits.get(case.patient, 0) + 1
        return Batch(
            inputs={kind: tokenizer.read(cases) for kind, tokenizer in self.by_kind.items()},
            truth=torch.tensor([[float(c.truth.get(f, False)) for f in task.findings] for c in cases]),
            known=torch.tensor([[f in c.truth for f in task.findings] for c in cases]),
            weight=torch.tensor([1.0 / visits[c.patient] for c in cases]),
        )

    def subsets(self, case: Case, kept: Sequence[Collection[Kind]]) -> dict[Kind, Inputs]:
        """One row per entry of `kept`: the case as if it had evidence of those kinds only.

        The same as reading the case rebuilt for each entry (`Case.without`), but a film or a note is read once.
        """
        found = {}
        for kind, tokenizer in self.by_kind.items():
            with_and_without = tokenizer.read([case, case.without(kind)])
            found[kind] = with_and_without.rows(torch.tensor([int(kind not in kinds) for kinds in kept], dtype=torch.long))
        return found

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """Where each token of the network's sequence came from, the register first."""
        return (Place(-1), *(place for tokenizer in self.by_kind.values() for place in tokenizer.places(case)))


class Diagnoser(nn.Module):
    """The network for one task over fitted tokenizers."""

    def __init__(self, config: DiagnoserConfig, *, tokenizers: Tokenizers, n_findings: int) -> None:
        super().__init__()
        self.config = config
        self.kinds = tuple(tokenizers.by_kind)
        dim = config.dim
        self.encoders = nn.ModuleList(tokenizer.build(dim) for tokenizer in tokenizers.by_kind.values())
        self.modality = nn.Parameter(torch.zeros(len(self.kinds), dim))
        self.register = nn.Parameter(torch.randn(dim) * dim**-0.5)
        n_summaries = {modality.kind: modality.n_summaries for modality in config.modalities}
        self.summaries = nn.ModuleDict(
            {kind.__name__: Summary(config.readout, n_queries=n_summaries[kind]) for kind in self.kinds if n_summaries[kind]}
        )
        self.blocks = nn.ModuleList(
            Block(attention, expansion=config.expansion, dropout=config.dropout) for attention in config.fusion
        )
        self.readout = Readout(config.readout, n_findings=n_findings, expansion=config.expansion, dropout=config.dropout)
        self.additive = nn.Parameter(torch.zeros(len(self.kinds), dim, n_findings))
        names = tuple(kind.__name__ for kind in self.kinds)
        rank = config.pair_rank if len(names) > 1 else 0
        self.pairs = Pairs(config.readout, names=names, n_findings=n_findings, rank=rank) if rank else None
        self.switches = tuple((switch, tokenizers.by_kind[switch.states]) for switch in tokenizers.switches)
        self.switched = nn.ModuleList(Switched(config.readout, n_findings=n_findings) for _ in self.switches)

    def forward(self, inputs: Mapping[Kind, Inputs]) -> Float[Tensor, "case finding"]:
        """Logits. In training, evidence dropout thins the tokens first."""
        return self._answers(inputs, self._thinned(inputs), [self.kinds])[0]

    def together_and_alone(self, inputs: Mapping[Kind, Inputs]) -> tuple[Tensor, list[tuple[Tensor, Bool[Tensor, " case"]]]]:
        """Logits of all evidence, and of each modality with nothing but the demographics: (logits, whose it is) each.

        The same weights answer both, so that every encoder is taught by an answer of its own, and no modality leans on another.
        """
        evidence = self._thinned(inputs)
        lonely = [kind for kind in self.kinds if kind is not Demographics]
        together, *alone = self._answers(inputs, evidence, [self.kinds, *((kind, Demographics) for kind in lonely)])
        return together, [(said, evidence[kind].seen.any(dim=1)) for kind, said in zip(lonely, alone, strict=True)]

    def _thinned(self, inputs: Mapping[Kind, Inputs]) -> dict[Kind, Tokens]:
        encoded = self._encode(inputs)
        return self.config.evidence_dropout.thin(encoded) if self.training else encoded

    def _answers(
        self, inputs: Mapping[Kind, Inputs], evidence: Mapping[Kind, Tokens], views: Sequence[Collection[Kind]]
    ) -> list[Tensor]:
        """Logits by the kinds of evidence in each view, as if there were no other."""
        values, seen = self._spoken(evidence)
        whose = [None, *(kind for kind, tokens in evidence.items() for _ in range(self._speakers(kind, tokens)))]
        in_view = [[kind is None or kind in view for kind in whose] for view in views]
        seen_by_view = seen.unsqueeze(1) & torch.tensor(in_view, device=seen.device)
        if self.blocks:
            said = [self.readout(self._conversation(values, one), seen=one.unsqueeze(1)) for one in seen_by_view.unbind(dim=1)]
            logits = torch.cat(said, dim=1)
        else:
            logits = self.readout(values, seen=seen_by_view)
        additive = self._additive(evidence)
        readings = self._readings(evidence)
        switched = self._switched(inputs, evidence)
        answers = []
        for number, view in enumerate(views):
            kinds = [kind for kind in evidence if kind in view]
            answer = torch.stack([logits[:, number], *(additive[kind] for kind in kinds)]).sum(dim=0)
            if self.pairs is not None and len(kinds) > 1:
                answer = answer + self.pairs.multiply([readings[kind] for kind in kinds])
            for (switch, _), added in zip(self.switches, switched, strict=True):
                if switch.states in view and switch.reads in view:
                    answer = answer + added
            answers.append(answer)
        return answers

    def _additive(self, evidence: Mapping[Kind, Tokens]) -> dict[Kind, Float[Tensor, "case finding"]]:
        """What each kind of evidence adds, linear in its summary."""
        added = {}
        for kind, encoder, weight in zip(self.kinds, self.encoders, self.additive, strict=True):
            assert isinstance(encoder, Encoder)
            added[kind] = encoder.summary(evidence[kind]) @ weight
        return added

    def _readings(self, evidence: Mapping[Kind, Tokens]) -> dict[Kind, Tensor]:
        """What the pairs read from each kind: once, however many answers they enter."""
        pairs = self.pairs
        return {} if pairs is None else {kind: pairs.read(kind.__name__, tokens) for kind, tokens in evidence.items()}

    def _switched(self, inputs: Mapping[Kind, Inputs], evidence: Mapping[Kind, Tokens]) -> list[Float[Tensor, "case finding"]]:
        """What each switch adds. A modality dropped in training states nothing."""
        said = []
        for (switch, tokenizer), network in zip(self.switches, self.switched, strict=True):
            stated = tokenizer.stated(switch.fact, inputs[switch.states]) & evidence[switch.states].seen.any(dim=1)
            said.append(network(evidence[switch.reads], stated=stated))
        return said

    def weights(self, inputs: Mapping[Kind, Inputs]) -> Float[Tensor, "case head finding token"]:
        """Attention of each finding's query over the tokens, in the order of `Tokenizers.places`.

        What a query takes from a summary goes to the tokens that the summary read, in proportion; rows sum to 1.
        """
        evidence = self._encode(inputs)
        values, seen = self._spoken(evidence)
        over = self.readout.weights(self._conversation(values, seen), seen=seen)
        parts, start = [over[..., :1]], 1
        for kind, tokens in evidence.items():
            n = self._speakers(kind, tokens)
            part = over[..., start : start + n]
            if kind.__name__ in self.summaries:
                part = torch.einsum("chfq,cqt->chft", part, self._summary(kind).origin(tokens))
            parts.append(part)
            start += n
        return torch.cat(parts, dim=-1)

    def fused(self, inputs: Mapping[Kind, Inputs]) -> Float[Tensor, "case finding dim"]:
        """Each case as it is held just before the answer: what each finding's query has read of all evidence.

        Of the answer, what the additive path, pairs and switches add is not in it.
        """
        values, seen = self._spoken(self._encode(inputs))
        return self.readout.fused(self._conversation(values, seen), seen=seen.unsqueeze(1))[:, 0]

    def _summary(self, kind: Kind) -> Summary:
        summary = self.summaries[kind.__name__]
        assert isinstance(summary, Summary)
        return summary

    def _speakers(self, kind: Kind, tokens: Tokens) -> int:
        return len(self._summary(kind).query) if kind.__name__ in self.summaries else tokens.values.shape[1]

    def _encode(self, inputs: Mapping[Kind, Inputs]) -> dict[Kind, Tokens]:
        return {kind: encoder(inputs[kind]) for kind, encoder in zip(self.kinds, self.encoders, strict=True)}

    def _spoken(self, evidence: Mapping[Kind, Tokens]) -> tuple[Tensor, Bool[Tensor, "case token"]]:
        """The register, then the tokens of each kind or the summaries that speak for them."""
        n = len(next(iter(evidence.values())).values)
        register = Tokens(
            values=self.register.expand(n, 1, -1), seen=torch.ones(n, 1, dtype=torch.bool, device=self.register.device)
        )
        speakers = [register]
        for kind, name in zip(self.kinds, self.modality, strict=True):
            named = Tokens(values=evidence[kind].values + name, seen=evidence[kind].seen)
            speakers.append(self._summary(kind)(named) if kind.__name__ in self.summaries else named)
        return torch.cat([one.values for one in speakers], dim=1), torch.cat([one.seen for one in speakers], dim=1)

    def _conversation(self, values: Tensor, seen: Bool[Tensor, "case token"]) -> Float[Tensor, "case token dim"]:
        """The tokens after every block."""
        mask = keep_keys(seen)
        for block in self.blocks:
            values = block(values, mask=mask)
        return values
