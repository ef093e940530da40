"""One case explained from end to end: every method asked for, held against the model, drawn and ready for the page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from attending.case import Case
from attending.diagnosis import Explanation, Finding
from attending.explanation.assessment import Assessed
from attending.explanation.assessment_words import lines_of
from attending.explanation.catalog import explainer_named
from attending.explanation.curves import CurveTest
from attending.explanation.drawn import Drawn, draw, draw_shares
from attending.explanation.explainer import ExplainerConfig, column_of
from attending.explanation.neighbours import Neighbours
from attending.explanation.page import CaseView, FindingView, MethodView
from attending.explanation.pointing import Target
from attending.explanation.shapley import Shapley, ShapleyConfig, Shares
from attending.explanation.truth import Examined, examine
from attending.model.trained import TrainedModel

NOTHING_ASSESSED: Mapping[str, Assessed] = MappingProxyType({})
SHARES_TOLD = (
    "Exact Shapley values: the mean over all orders in which the modalities may come in, each absent until it does. They sum "
    "to the answer with all evidence less the answer without any."
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to explain and by which methods; no finding: the one with the highest probability. Raises for unknown methods."""

    findings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("window-occlusion",)
    n_reference: int = 64
    n_similar: int = 0
    seed: int = 0

    def configs(self) -> tuple[ExplainerConfig, ...]:
        """The methods, without that over modalities, which is always shown."""
        return tuple(explainer_named(name) for name in self.methods if name != ShapleyConfig.name)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The page's view, every picture by the name of its file, and the numbers of the terminal.

    `shown` are the explanations that were drawn, with what they were measured to be worth.
    """

    view: CaseView
    pictures: Mapping[str, str]
    shares: Mapping[str, Shares]
    refused: tuple[str, ...]
    shown: tuple[Explanation, ...]


def explain_case(
    model: TrainedModel,
    case: Case,
    *,
    others: Sequence[Case],
    asked: Asked,
    targets: Sequence[Target] | None = None,
    assessed: Mapping[str, Assessed] = NOTHING_ASSESSED,
) -> Explained:
    """Everything of one case. `others` are cases of other patients, who show what is usual.

    `targets` are the reasons that are known where the case is of the synthetic clinic; None: it is not. `assessed` is what was
    found of methods over many patients, by method; it stands below what is measured on this case.
    """
    configs = asked.configs()
    diagnosis = model.diagnose([case])[0]
    likely = max(diagnosis.findings, key=lambda finding: finding.probability).name
    findings = asked.findings or (likely,)
    for finding in findings:
        column_of(model.task, finding)
    work = _Work(model, case, others=others, asked=asked, targets=targets, assessed=assessed)
    by_name = {finding.name: finding for finding in diagnosis.findings}
    views = tuple(work.finding(by_name[finding], configs) for finding in findings)
    members = model.member_probabilities([case])[:, 0]
    spread = {
        finding: (float(members[:, column].min()), float(members[:, column].max()))
        for column, finding in enumerate(model.task.findings)
        if len(members) > 1
    }
    view = CaseView(diagnosis=diagnosis, n_networks=len(model.networks), spread=spread, findings=views, n_reference=len(others))
    return Explained(
        view=view, pictures=work.pictures, shares=work.shares, refused=tuple(work.refused), shown=tuple(work.shown)
    )


class _Work:
    """What the findings and methods of one case share. Pictures, refusals and what was shown gather as they are made."""

    def __init__(
        self,
        model: TrainedModel,
        case: Case,
        *,
        others: Sequence[Case],
        asked: Asked,
        targets: Sequence[Target] | None,
        assessed: Mapping[str, Assessed],
    ) -> None:
        self.model, self.case, self.targets, self.assessed = model, case, targets, assessed
        self.shares = Shapley(model).all_shares(case)
        self.pictures: dict[str, str] = {}
        self.refused: list[str] = []
        self.shown: list[Explanation] = []
        self._missing = model.missing(case)
        self._reference = others[: asked.n_reference]
        self._curves = CurveTest(model, case, seed=asked.seed)
        self._alike = Neighbours(model, others) if asked.n_similar else None
        self._n_similar = asked.n_similar

    def finding(self, told: Finding, configs: Sequence[ExplainerConfig]) -> FindingView:
        """One finding by all methods."""
        svg = draw_shares(self.shares[told.name], missing=self._missing)
        self.pictures[f"{file_name(told.name)}-modalities"] = svg
        whole = Shapley(self.model).explain(self.case, told.name)
        return FindingView(
            name=told.name,
            probability=told.probability,
            in_set=told.in_set,
            shares=svg,
            shares_told=SHARES_TOLD,
            shares_scores=self._examined(ShapleyConfig(), whole, ()).scores,
            methods=tuple(self._method(config, told.name) for config in configs),
            similar=() if self._alike is None else tuple(self._alike.nearest(self.case, told.name, n=self._n_similar)),
        )

    def _method(self, config: ExplainerConfig, finding: str) -> MethodView:
        """One method, drawn unless it is refused, with what it is worth on this case and what it was over many."""
        explanation = config.build(self.model, self._reference).explain(self.case, finding)
        worth = self._examined(config, explanation, self.targets or ())
        drawn = None
        if worth.refused is None:
            self.shown.append(replace(explanation, faithfulness=worth.gain))
            drawn = draw(self.case, self.shown[-1])
            self.pictures |= _pictures(drawn, f"{file_name(finding)}-{config.name}")
        else:
            self.refused.append(f"{config.name} for {finding}")
        known = self.assessed.get(config.name)
        return MethodView(
            name=config.name,
            told=config.told,
            drawn=drawn,
            scores=worth.scores,
            over_many=() if known is None else lines_of(known),
            refused=worth.refused,
        )

    def _examined(self, config: ExplainerConfig, explanation: Explanation, known: Sequence[Target]) -> Examined:
        return examine(
            config,
            self.model,
            self.case,
            explanation,
            curves=self._curves,
            reference=self._reference,
            targets=known,
            is_synthetic=self.targets is not None,
        )


def _pictures(drawn: Drawn, stem: str) -> dict[str, str]:
    found = {f"{stem}-film-{n}": film.overlay for n, film in enumerate(drawn.films, start=1)}
    found |= {f"{stem}-note-{n}": note.svg for n, note in enumerate(drawn.notes, start=1)}
    return found | ({f"{stem}-values": drawn.values} if drawn.values else {})


def file_name(finding: str) -> str:
    """A finding as the start of a file's name."""
    return re.sub(r"[^\w.-]+", "-", finding).strip(".-") or "finding"
