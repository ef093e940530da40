"""What the room asks of the model: always through the service's desk, in its turn, and once for what does not change.

Answers are those that the API gives. Explanations are the slow part; they are asked for one finding at a time and kept.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.catalog import explainer_named
from attending.explanation.curves import CurveTest
from attending.explanation.explainer import ExplainerConfig
from attending.explanation.neighbours import Neighbour, Neighbours
from attending.explanation.shapley import Shapley, Shares
from attending.explanation.truth import Examined, examine
from attending.model.trained import TrainedModel
from attending.service.desk import Desk
from attending.service.problem import Problem
from attending.service.worker import Answered

METHOD = "window-occlusion"
"""The explanation that is shown; `attending explain` has the others beside it."""
MOST_ANSWERS, MOST_WEIGHED, MOST_EXPLAINED = 4_096, 512, 256
N_SIMILAR = 5
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """What each modality adds, by finding (None: nothing is there to weigh), and the range of the single networks' answers."""

    shares: Mapping[str, Shares] | None
    spread: Mapping[str, tuple[float, float]]


class _Kept(Generic[T]):
    """What was asked before, by its question; the longest unasked goes. A question under way is not asked twice."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[object, asyncio.Future[T]] = OrderedDict()

    async def of(self, question: object, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer; one that failed is asked anew the next time."""
        held = self._held.get(question)
        if held is None or (held.done() and (held.cancelled() or held.exception() is not None)):
            held = asyncio.ensure_future(ask())
            held.add_done_callback(looked_at)
            self._held[question] = held
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(question)
        return await asyncio.shield(held)

    def at_hand(self, question: object) -> T | None:
        """The answer if it is there already."""
        held = self._held.get(question)
        if held is None or not held.done() or held.cancelled() or held.exception() is not None:
            return None
        return held.result()


class Asking:
    """One model, asked about cases."""

    def __init__(self, desk: Desk, *, alike: Sequence[Case] = (), is_synthetic: bool = False) -> None:
        self.desk, self.model = desk, desk.model
        self.method: ExplainerConfig = explainer_named(METHOD)
        self._alike = tuple(alike)
        self.is_synthetic = is_synthetic
        self._neighbours: Neighbours | None = None
        self._answers: _Kept[Answered] = _Kept(MOST_ANSWERS)
        self._weighed: _Kept[Weighed] = _Kept(MOST_WEIGHED)
        self._explained: _Kept[Explanation] = _Kept(MOST_EXPLAINED)
        self._examined: _Kept[Examined] = _Kept(MOST_EXPLAINED)
        self._similar: _Kept[tuple[Neighbour, ...]] = _Kept(MOST_EXPLAINED)

    @property
    def n_alike(self) -> int:
        """Cases among which similar ones are looked for; 0: none are."""
        return len(self._alike)

    async def answer(self, case: Case) -> Answered:
        """The answer for a case of the table."""
        return await self._answers.of(case.id, lambda: self.answer_anew(case))

    async def answer_anew(self, case: Case) -> Answered:
        """The answer for a case that is no case of the table, such as one with something changed."""
        answered = await self.desk.ask(case, explains=False)
        if not all(math.isfinite(finding.probability) for finding in answered.diagnosis.findings):
            raise Problem(422, "no-number", "the model gives no number for this; take a value that is less extreme")
        return answered

    async def weigh(self, case: Case) -> Weighed:
        """Shapley values over modalities, and the spread over networks."""
        return await self._weighed.of(case.id, lambda: self.desk.run(lambda model: _weighed(model, case)))

    async def explain(self, case: Case, finding: str) -> Explanation:
        """Where the model looks for one finding. Slow."""
        config = self.method
        return await self._explained.of(
            (case.id, finding), lambda: self.desk.run(lambda model: config.build(model, ()).explain(case, finding))
        )

    async def examine(self, case: Case, finding: str) -> Examined:
        """What the explanation is worth, held against the model on this case. Slower still, so only when asked for."""
        explanation = await self.explain(case, finding)
        return await self._examined.of(
            (case.id, finding),
            lambda: self.desk.run(lambda model: _examined(self.method, model, case, explanation, self.is_synthetic)),
        )

    async def similar(self, case: Case, finding: str) -> tuple[Neighbour, ...]:
        """The nearest among the cases that the room was given to look among. The first time is slow."""
        return await self._similar.of(
            (case.id, finding), lambda: self.desk.run(lambda model: self._nearest(model, case, finding))
        )

    def _nearest(self, model: TrainedModel, case: Case, finding: str) -> tuple[Neighbour, ...]:
        if self._neighbours is None:
            self._neighbours = Neighbours(model, self._alike)
        return self._neighbours.nearest(case, finding, n=N_SIMILAR)


def _weighed(model: TrainedModel, case: Case) -> Weighed:
    members = model.member_probabilities([case])[:, 0]
    spread = {
        finding: (float(members[:, column].min()), float(members[:, column].max()))
        for column, finding in enumerate(model.task.findings)
        if len(members) > 1
    }
    is_there = any(case.of(kind) for kind in model.tokenizers.by_kind)
    return Weighed(shares=Shapley(model).all_shares(case) if is_there else None, spread=spread)


def _examined(
    config: ExplainerConfig, model: TrainedModel, case: Case, explanation: Explanation, is_synthetic: bool
) -> Examined:
    curves = CurveTest(model, case, seed=0)
    return examine(config, model, case, explanation, curves=curves, reference=(), is_synthetic=is_synthetic)


def looked_at(future: "asyncio.Future[T]") -> None:
    """Whoever asked may have gone: an error that nobody waits for is not one to complain about."""
    if not future.cancelled():
        future.exception()
