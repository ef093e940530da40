"""What may be served beside the API, behind the same guard: pages for people. Only the contract; the service knows no page.

A page differs from the API in three things that the guard must know: who asks is told by a session instead of a bearer token,
what is wrong is said on a page instead of in JSON, and some paths (a form to sign in, a style sheet) are open to all.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer of the guard in the words of the pages."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pages(ABC):
    """Pages under paths of their own."""

    @abstractmethod
    def add_to(self, app: FastAPI) -> None:
        """Add their routes; none of them belongs into the OpenAPI description."""

    @abstractmethod
    def has(self, path: str) -> bool:
        """Whether this path is theirs."""

    @abstractmethod
    def is_open(self, path: str) -> bool:
        """Whether whoever has not signed in may ask for it. Such answers hold nothing of model or patients."""

    @abstractmethod
    def is_furniture(self, path: str) -> bool:
        """Whether it is the same for all (a style sheet), so that the audit log needs no entry of it."""

    @abstractmethod
    def closes(self, path: str) -> str | None:
        """Why a path of the API may not be asked while these pages are shown; None: it may."""

    @abstractmethod
    def holder(self, cookies: str | None) -> str | None:
        """The name of the token with which the session of these cookies was begun; None for no session."""

    @abstractmethod
    def told(self, problem: Mapping[str, Any], *, method: str) -> Told:
        """A problem (RFC 9457, as a mapping) as a page, or a way to the page that mends it."""

    @abstractmethod
    def close(self) -> None:
        """Stop what they started."""
