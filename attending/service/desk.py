"""What the service can say, without HTTP: which model it has, and the answer for a case that was sent.

The routes call it and so may a page. Reading happens in a thread of its own, one case after the other, and decoding of large
pictures in another, so that nobody else waits for them: memory stays bounded and the event loop free.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from attending.case import Case, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign, kind_name
from attending.model.trained import TrainedModel
from attending.privacy import deidentify
from attending.service.fields import fields_of, told
from attending.service.messages import (
    AnswerOut,
    CaseIn,
    ContributionOut,
    EstimateOut,
    ExplanationOut,
    ModelOut,
    SharesOut,
)
from attending.service.problem import Problem
from attending.service.reading import MOST_PIXELS, chart_of, message_of, pixels_sent
from attending.service.worker import Answered, BusyError, Worker

LARGE_PIXELS = 2**20
"""Pixels of all pictures of a case above which they are decoded apart: some tens of milliseconds."""
T = TypeVar("T")
Picture = tuple[str | None, bytes]
"""A file beside a case: the field it is of, and its content."""


class Desk:
    """One model, ready to be asked. Ids are hashed with a key that dies with the process: no two runs can be joined."""

    def __init__(
        self, model: TrainedModel, *, most_body_bytes: int, threads: int = 0, batch_seen: Callable[[int], None] = lambda _: None
    ) -> None:
        self.model = model
        self.fields = fields_of(model)
        self._most_body_bytes = most_body_bytes
        self._key = secrets.token_bytes(32)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attending-reader")
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attending-decoder")
        self.worker = Worker(model, threads=threads, seen=batch_seen)

    def close(self) -> None:
        """Stop its threads."""
        self._reader.shutdown(cancel_futures=True)
        self._decoder.shutdown(cancel_futures=True)
        self.worker.close()

    @cached_property
    def about(self) -> ModelOut:
        """What the model reads and answers."""
        return told(self.model, self.fields, most_body_bytes=self._most_body_bytes, most_pixels=MOST_PIXELS)

    async def diagnose(self, body: bytes, *, request: str, pictures: Sequence[Picture] = ()) -> AnswerOut:
        """The answer for the case in `body`. Raises `Problem` where it cannot be read, or answered soon."""
        loop = asyncio.get_running_loop()
        message, case = await loop.run_in_executor(self._reader, self._begin, body, request, pictures)
        if case is None:
            case = await loop.run_in_executor(self._decoder, self.read, message, request, pictures)
        return self.answer(message, case, await self.ask(case, explains=message.explanation is not None), request=request)

    def _begin(self, body: bytes, request: str, pictures: Sequence[Picture]) -> tuple[CaseIn, Case | None]:
        """The message, and its case, or None where its pictures take long enough to be decoded apart."""
        message = message_of(body)
        is_large = pixels_sent(message, pictures) > LARGE_PIXELS
        return message, None if is_large else self.read(message, request, pictures)

    def read(self, message: CaseIn, request: str, pictures: Sequence[Picture]) -> Case:
        """The de-identified case that the message tells of."""
        chart = chart_of(message, self.fields, request=request, pictures=pictures)
        return deidentify([chart], key=self._key).cases[0]

    async def ask(self, case: Case, *, explains: bool) -> Answered:
        """What the model says. Raises `Problem` 503 where too many wait."""
        try:
            return await asyncio.wrap_future(self.worker.submit(case, explains=explains))
        except BusyError:
            raise Problem(503, "busy", "too many cases are waiting; come back later", retry_after_seconds=1) from None

    async def run(self, task: Callable[[TrainedModel], T]) -> T:
        """What a task makes of the model, in its turn. Raises `Problem` 503 where too many wait."""
        try:
            return await asyncio.wrap_future(self.worker.run(task))
        except BusyError:
            raise Problem(503, "busy", "too many cases are waiting; come back later", retry_after_seconds=1) from None

    def answer(self, message: CaseIn, case: Case, answered: Answered, *, request: str) -> AnswerOut:
        """The model's answer in the words of the service. An abstention carries no numbers that somebody could take for one."""
        diagnosis, conformal = answered.diagnosis, self.model.settling.conformal
        if not all(math.isfinite(finding.probability) for finding in diagnosis.findings):
            raise ArithmeticError("the model's answer is not a number")
        gives = diagnosis.abstained is None
        absence = answered.absence_in_set
        present = {_field_name(evidence) for evidence in case.evidence} | _demographics(case)
        return AnswerOut(
            request=request,
            model=diagnosis.model,
            abstained=diagnosis.abstained,
            estimates=[
                EstimateOut(
                    finding=finding.name,
                    estimated_probability=finding.probability if gives else None,
                    presence_in_set=finding.in_set if gives and conformal is not None else None,
                    absence_in_set=absence[finding.name] if gives and absence is not None else None,
                )
                for finding in diagnosis.findings
            ],
            exclusive=self.model.task.exclusive,
            conformal_set=None if conformal is None else conformal.guarantee,
            missing=list(diagnosis.missing),
            missing_fields=[name for name in self.fields.names if name not in present],
            explanation=None if answered.shares is None else _explanation(answered),
        )


def _explanation(answered: Answered) -> ExplanationOut:
    return ExplanationOut(
        method="shapley",
        findings=[
            SharesOut(
                finding=shares.finding,
                unit=shares.unit,
                without_evidence=shares.empty,
                with_all_evidence=shares.full,
                contributions=[ContributionOut(modality=kind_name(kind), value=value) for kind, value in shares.values.items()],
            )
            for shares in (answered.shares or {}).values()
        ],
    )


def _field_name(evidence: Evidence) -> str | None:
    match evidence:
        case Note(field_name=name) | Scan(field_name=name) | Lab(code=name) | Sign(name=name) | Embedding(name=name):
            return name
    return None


def _demographics(case: Case) -> set[str]:
    known = case.of(Demographics)
    return {name for name in ("age_years", "sex") if any(getattr(each, name) is not None for each in known)}
