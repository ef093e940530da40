"""An explained case as one HTML file: what was answered, what each modality added, and where each method looks, with its truth.

No script and no network, light and dark. The page holds the patient's film and words, de-identified at best, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from attending.diagnosis import Diagnosis
from attending.drawing.pages import ROOM, environment, style
from attending.explanation.assessment_words import NOT_ASSESSED
from attending.explanation.drawn import Drawn
from attending.explanation.neighbours import Neighbour
from attending.explanation.truth import Score

OF_A_PATIENT = (
    "This page holds a patient's film, values and words, de-identified by rules that do not find everything: keep it as you "
    "keep the patient's data."
)
NO_CAUSE = (
    "What is marked is what this model goes by. It is not what is wrong with the patient, not a cause, and not the effect of a "
    "treatment."
)


@dataclass(frozen=True, kw_only=True)
class MethodView:
    """One method's pictures and scores: of this case, and over many (none: not assessed). `refused`: why nothing is drawn."""

    name: str
    told: str
    drawn: Drawn | None
    scores: tuple[Score, ...] = ()
    over_many: tuple[Score, ...] = ()
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """One finding of the case: its probability, what each modality adds (SVG), and the methods."""

    name: str
    probability: float
    in_set: bool
    shares: str
    shares_told: str
    shares_scores: tuple[Score, ...] = ()
    methods: tuple[MethodView, ...] = ()
    similar: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CaseView:
    """Everything of the page."""

    diagnosis: Diagnosis
    n_networks: int
    spread: Mapping[str, tuple[float, float]]
    findings: tuple[FindingView, ...]
    n_reference: int


def explanation_page(view: CaseView) -> str:
    """The whole page, the findings in the order given."""
    templates = environment("attending.explanation")
    templates.filters["svg"] = Markup
    most = max((len(finding.methods) for finding in view.findings), default=0)
    return templates.get_template("explanation.html").render(
        view=view,
        style=style((ROOM, "attention.css"), ("attending.explanation", "explanation.css")),
        cautions=(NO_CAUSE, OF_A_PATIENT),
        most_panels=most,
        not_assessed=NOT_ASSESSED,
    )
