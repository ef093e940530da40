"""One case explained from end to end: every method asked for, held against the model, drawn and ready for the page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from attending.case import Case
from attending.diagnosis import Explanation
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
    model: TrainedModel, case: Case, *, others: Sequence[Case], asked: Asked, targets: Sequence[Target] | None = None
) -> Explained:
    """Everything of one case. `others` are cases of other patients, who show what is usual.

    `targets` are the reasons that are known where the case is of the synthetic clinic; None: it is not.
    """
    configs = asked.configs()
    diagnosis = model.diagnose([case])[0]
    likely = max(diagnosis.findings, key=lambda finding: finding.probability).name
    findings = asked.findings or (likely,)
    for finding in findings:
        column_of(model.task, finding)
    shares = Shapley(model).all_shares(case)
    members = model.member_probabilities([case])[:, 0]
    reference = others[: asked.n_reference]
    curves = CurveTest(model, case, seed=asked.seed)
    alike = Neighbours(model, others) if asked.n_similar else None

    def held_against_model(config: ExplainerConfig, explanation: Explanation, known: Sequence[Target]) -> Examined:
        return examine(
            config,
            model,
            case,
            explanation,
            curves=curves,
            reference=reference,
            targets=known,
            is_synthetic=targets is not None,
        )

    pictures: dict[str, str] = {}
    views = []
    refused: list[str] = []
    shown: list[Explanation] = []
    for finding in findings:
        told = next(one for one in diagnosis.findings if one.name == finding)
        svg = draw_shares(shares[finding], missing=diagnosis.missing)
        pictures[f"{file_name(finding)}-modalities"] = svg
        methods = []
        for config in configs:
            explanation = config.build(model, reference).explain(case, finding)
            worth = held_against_model(config, explanation, targets or ())
            if worth.refused is None:
                shown.append(replace(explanation, faithfulness=worth.gain))
                drawn = draw(case, shown[-1])
                pictures |= _pictures(drawn, f"{file_name(finding)}-{config.name}")
            else:
                drawn = None
                refused.append(f"{config.name} for {finding}")
            methods.append(
                MethodView(name=config.name, told=config.told, drawn=drawn, scores=worth.scores, refused=worth.refused)
            )
        whole = Shapley(model).explain(case, finding)
        worth = held_against_model(ShapleyConfig(), whole, ())
        views.append(
            FindingView(
                name=finding,
                probability=told.probability,
                in_set=told.in_set,
                shares=svg,
                shares_told=SHARES_TOLD,
                shares_scores=worth.scores,
                methods=tuple(methods),
                similar=() if alike is None else tuple(alike.nearest(case, finding, n=asked.n_similar)),
            )
        )
    spread = {
        finding: (float(members[:, column].min()), float(members[:, column].max()))
        for column, finding in enumerate(model.task.findings)
        if len(members) > 1
    }
    view = CaseView(
        diagnosis=diagnosis, n_networks=len(model.networks), spread=spread, findings=tuple(views), n_reference=len(others)
    )
    return Explained(view=view, pictures=pictures, shares=shares, refused=tuple(refused), shown=tuple(shown))


def _pictures(drawn: Drawn, stem: str) -> dict[str, str]:
    found = {f"{stem}-film-{n}": film.overlay for n, film in enumerate(drawn.films, start=1)}
    found |= {f"{stem}-note-{n}": note.svg for n, note in enumerate(drawn.notes, start=1)}
    return found | ({f"{stem}-values": drawn.values} if drawn.values else {})


def file_name(finding: str) -> str:
    """A finding as the start of a file's name."""
    return re.sub(r"[^\w.-]+", "-", finding).strip(".-") or "finding"
