"""What is wrong with a request, as RFC 9457 has it: a kind, a sentence, and for each fault the field and the remedy.

Nothing here repeats what was sent. A field is named by a JSON pointer (RFC 6901) of names that the service knows and numbers;
a member with a name of its own is told by the object that holds it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from attending.service.words import NOTICE

PROBLEM_JSON = "application/problem+json"
MOST_FAULTS = 20
"""Faults that one answer lists; more of them help nobody."""
MOST_LOOKED_FOR = 100
"""Faults after which a case is read no further."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One field of a request, what is wrong with it and what to do. No word of it was sent by the client."""

    pointer: str
    found: str
    remedy: str


class Problem(Exception):  # noqa: N818 -- the name that RFC 9457 gives it
    """An answer other than the one asked for. `kind` is a short name that programs may rely on."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        more_faults: int = 0,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(kind)
        self.status, self.kind, self.detail = status, kind, detail
        self.faults, self.more_faults = tuple(faults[:MOST_FAULTS]), more_faults + max(0, len(faults) - MOST_FAULTS)
        self.retry_after_seconds = retry_after_seconds

    def body(self, request: str) -> dict[str, Any]:
        """The members of the answer. `request` is the id that the service gave."""
        body: dict[str, Any] = {
            "type": f"urn:attending:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:attending:request:{request}",
            "notice": NOTICE,
        }
        if self.faults:
            body["faults"] = [asdict(fault) for fault in self.faults]
            if self.more_faults:
                body["more_faults"] = self.more_faults
        return body

    def headers(self) -> dict[str, str]:
        """Beside the body: when to come back, how to say who asks."""
        found = {"content-type": PROBLEM_JSON}
        if self.retry_after_seconds is not None:
            found["retry-after"] = str(self.retry_after_seconds)
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["www-authenticate"] = "Bearer"
        return found


def refused(faults: Sequence[Fault], *, more: int = 0) -> Problem:
    """A case that cannot be read as the model's schema has it. `more` faults were found beside those that are named."""
    n = len(faults) + more
    fields = "field" if n == 1 else "fields"
    detail = f"{n} {fields} cannot be read; {'it is' if n == 1 else 'the first are'} named below"
    return Problem(422, "case-not-readable", detail, faults=faults, more_faults=more)
