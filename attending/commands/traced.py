"""What is traced and what its queries and keys are called: a mechanism, a text encoder, or a trained model on one case.

Gives views for the page and prints nothing. Labels hold the words of the text or case, and are for the page alone.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attending.attention import Mask, Trace, causal, everything, trace, traces_within
from attending.case import (
    Box,
    Case,
    CaseId,
    Characters,
    Chart,
    Demographics,
    Evidence,
    GroupId,
    Note,
    PatientId,
    Place,
    kind_name,
)
from attending.comparison.contenders import Shape, contender, mask_of
from attending.drawing.attention_page import LayerView, Page
from attending.model.bert import Bert, BertConfig
from attending.model.demographics import FIELDS
from attending.model.diagnoser import Diagnoser
from attending.model.pretrained import TEXT_FILES, TOKENIZER, find_encoder
from attending.model.text import WORD
from attending.model.tokens import Kind
from attending.model.trained import TrainedModel
from attending.model.word_pieces import FIRST, LAST, WordPieces
from attending.privacy import deidentify

MOST_WORDS = 512
"""A trace holds the square of the scores of every head."""
CHUNK = 256
SHAPE = Shape(dim=32, n_heads=4, budget=4)
"""A tiny layer, of which something is left to look at."""
CONTRAST = 2.5
"""Random weights are multiplied by this: as they are drawn, every head looks everywhere alike."""
OF_A_PATIENT = (
    "This page holds words of a patient's notes, de-identified by rules that do not find everything: keep it as you keep the "
    "patient's data."
)


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Everything for the page."""

    page: Page
    views: tuple[LayerView, ...]


def trace_mechanism(text: str, *, mechanism: str, mask: str, seed: int) -> Traced:
    """One layer with random weights over the words of a text.

    `mechanism` is what `contender` reads; a `mask` of "" is causal for what can be causal.
    """
    said = _words(text)
    asked = contender(mechanism, SHAPE)
    config = asked.over(len(said))
    seen = _mask(mask) if mask else mask_of(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = config.build().eval()
        known = {word: torch.randn(config.dim) for word in dict.fromkeys(word.lower() for word in said)}
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.dim() > 1:
                parameter.mul_(CONTRAST)
    found = trace(layer, torch.stack([known[word.lower()] for word in said])[None], seen)
    page = Page(
        title=_title(text),
        sentence=f"One layer, {asked.name}, over {len(said)} words.",
        cautions=("Words and weights are random: the page shows how the mechanism works, and nothing about the words.",),
    )
    return Traced(page=page, views=(LayerView(name=asked.name, trace=found, rows=said, columns=said),))


def trace_encoder(text: str, *, encoder: str) -> Traced:
    """Every layer of a BERT over the first chunk of a text."""
    folder = find_encoder(encoder, needed=TEXT_FILES)
    config = BertConfig.from_architecture(folder.architecture)
    _words(text)
    pieces = WordPieces(folder.text(TOKENIZER), size=min(CHUNK, config.n_positions), n_positions=config.n_positions)
    chunks = pieces.chunks(text)
    with torch.random.fork_rng(devices=[]):
        network = Bert(config).eval()
    network.load_hub_weights(folder.weights())
    numbers = torch.tensor([[pieces.first, *chunks[0].pieces, pieces.last]])
    said = [FIRST, *(text[part.start : part.stop] for part in chunks[0].characters), LAST]
    found = traces_within(network, lambda: network(numbers, there=torch.ones_like(numbers, dtype=torch.bool)))
    page = Page(
        title=_title(text),
        sentence=f"{len(found)} layers of the text encoder {Path(encoder).name}, {len(said)} word pieces.",
        cautions=(f"The first of {len(chunks)} chunks of the text is shown.",) if len(chunks) > 1 else (),
    )
    views = tuple(LayerView(name=name, trace=calls[0], rows=said, columns=said) for name, calls in found.items())
    return Traced(page=page, views=views)


def trace_sentence(text: str, *, model: TrainedModel) -> Traced:
    """A trained model on a case that has nothing but this note. It goes through the privacy rules as every note does."""
    tokenizer: Any = model.tokenizers.by_kind.get(Note)
    if tokenizer is None:
        known = ", ".join(kind_name(kind) for kind in model.tokenizers.by_kind)
        raise ValueError(f"--text: this model reads no notes, it reads {known}; give TABLE and --patient, or --encoder")
    _words(text)
    named = "sentence"
    chart = Chart(
        id=CaseId(named),
        patient=PatientId(named),
        group=GroupId(named),
        evidence=(Note(text=text, field_name=tokenizer.field_names[0]),),
    )
    case = deidentify([chart], key=secrets.token_bytes(32)).cases[0]
    page = Page(
        title=_title(text),
        sentence=f"Model {model.id}, network 1 of {len(model.networks)}, on a case that has nothing but this note.",
    )
    return Traced(page=page, views=_views(case, model))


def trace_case(case: Case, *, model: TrainedModel) -> Traced:
    """A trained model on one de-identified case."""
    missing = model.missing(case)
    told = f" Not there: {', '.join(missing)}." if missing else ""
    page = Page(
        title=f"One case, model {model.id}",
        sentence=f"Network 1 of {len(model.networks)}; {len(case.evidence)} pieces of evidence.{told}",
        cautions=(OF_A_PATIENT,),
    )
    return Traced(page=page, views=_views(case, model))


def _views(case: Case, model: TrainedModel) -> tuple[LayerView, ...]:
    """Every layer of the first network that saw anything of the case."""
    network = model.networks[0].eval()
    device = network.register.device
    inputs = model.tokenizers.batch([case], model.task).to(device).inputs
    found = traces_within(network, lambda: network(inputs))
    names = _Names(case=case, model=model, network=network)
    views = [
        LayerView(name=name, trace=one, rows=names.rows(name, one), columns=names.columns(name, one), told=names.told(name))
        for name, calls in found.items()
        for one in calls
        if bool((one.weights[0] != 0).any())
    ]
    if not views:
        raise ValueError("trace: no attention layer of this model saw anything of this case")
    return tuple(views)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What queries and keys of a layer are called, by where the layer stands in the network."""

    case: Case
    model: TrainedModel
    network: Diagnoser

    def rows(self, layer: str, found: Trace) -> list[str]:
        """The queries."""
        room, n = layer.partition(".")[0], found.weights.shape[2]
        if room in ("readout", "pairs"):
            return _fitting(list(self.model.task.findings), n, "query")
        if room == "summaries":
            return [f"query {i + 1}" for i in range(n)]
        return self.columns(layer, found)

    def columns(self, layer: str, found: Trace) -> list[str]:
        """The keys."""
        room, n = layer.partition(".")[0], found.weights.shape[3]
        if room in ("readout", "blocks"):
            return _fitting(self._spoken(), n, "token")
        kind = self._kind(layer)
        if kind is None:
            return [f"token {i + 1}" for i in range(n)]
        words = self._tokens(kind)
        # Notes are attended to chunk by chunk; the trace shows the first, with room behind a short one.
        words = (words + ["(empty)"] * n)[:n] if kind is Note and room == "encoders" else words
        return _fitting(words, n, kind_name(kind))

    def told(self, layer: str) -> str:
        """Who asks whom, in words."""
        kind = self._kind(layer)
        of = "" if kind is None else kind_name(kind)
        rooms = {
            "encoders": f"The tokens of the {of} look at each other.",
            "summaries": f"Learned queries read the {of}, and speak for it in the conversation.",
            "blocks": "The conversation: all evidence, and a register that is always there, look at each other.",
            "readout": "Each finding asks all evidence.",
            "pairs": f"Each finding reads the {of}, to multiply it with what it reads elsewhere.",
        }
        return rooms.get(layer.partition(".")[0], "")

    def _kind(self, layer: str) -> Kind | None:
        """The kind of evidence whose own layer this is."""
        parts = layer.split(".")
        if parts[0] == "encoders":
            return self.network.kinds[int(parts[1])]
        kinds = {kind.__name__: kind for kind in self.network.kinds}
        return next((kinds[part] for part in parts if part in kinds), None)

    def _spoken(self) -> list[str]:
        """The conversation: the register, then each kind's tokens or the summaries that speak for them."""
        said = ["register"]
        for kind in self.network.kinds:
            if kind.__name__ in self.network.summaries:
                query: Any = self.network.summaries[kind.__name__]
                said += [f"{kind_name(kind)}, summary {i + 1}" for i in range(len(query.query))]
            else:
                said += self._tokens(kind)
        return said

    def _tokens(self, kind: Kind) -> list[str]:
        places = self.model.tokenizers.by_kind[kind].places(self.case)
        if kind is Demographics:
            return _fitting(list(FIELDS), len(places), "demographics")
        return [self._word(kind, place) for place in places]

    def _word(self, kind: type[Evidence], place: Place | None) -> str:
        if place is None:
            return f"({kind_name(kind)} not there)"
        if place.evidence < 0:
            return f"({kind_name(kind)} missing)"
        evidence: Any = self.case.evidence[place.evidence]
        if isinstance(evidence, Note) and isinstance(place.part, Characters):
            return str(evidence.text[place.part.start : place.part.stop])
        if isinstance(place.part, Box):
            return f"{evidence.field_name} {place.part.top},{place.part.left}"
        return str(getattr(evidence, "code", getattr(evidence, "name", kind_name(kind))))


def _fitting(words: list[str], n: int, otherwise: str) -> list[str]:
    """The words, where there are as many as are needed."""
    return words if len(words) == n else [f"{otherwise} {i + 1}" for i in range(n)]


def _words(text: str) -> list[str]:
    said = WORD.findall(text)
    if not said:
        raise ValueError("--text: found no words, expected a sentence in quotes")
    if len(said) > MOST_WORDS:
        raise ValueError(f"--text: found {len(said)} words, expected at most {MOST_WORDS}: a trace holds every pair of them")
    return said


def _mask(name: str) -> Mask:
    known = {"causal": causal(), "everything": everything()}
    if name not in known:
        raise ValueError(f"--mask {name}: expected causal or everything")
    return known[name]


def _title(text: str) -> str:
    said = " ".join(text.split())
    return f"“{said}”" if len(said) <= 90 else f"“{said[:88].rstrip()}…”"
