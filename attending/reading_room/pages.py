"""From a view to an answer: templates with escaping on, under a policy with nothing inline and nothing from elsewhere."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import Response
from markupsafe import Markup, escape

from attending.drawing.pages import ROOM, environment, style
from attending.reading_room import words

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # under the API's no-referrer a browser would send forms with the origin "null", which the guard turns away
    "referrer-policy": "same-origin",
}
FURNITURE: Mapping[str, str] = {
    "style.css": "text/css; charset=utf-8",
    "room.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_PACKAGE = "attending.reading_room"


class Renderer:
    """The templates and the furniture, read once."""

    def __init__(self, *, has_tokens: bool, has_cases: bool, is_study: bool) -> None:
        self._templates = environment(_PACKAGE)
        self._templates.globals |= {
            "words": words,
            "has_tokens": has_tokens,
            "has_cases": has_cases,
            "is_study": is_study,
            "percent": words.percent,
        }
        self._templates.filters["breakable"] = breakable
        static = files(_PACKAGE) / "static"
        shared = str(style((ROOM, "attention.css")))
        self.furniture = {
            "style.css": shared + (static / "room.css").read_text(encoding="utf-8"),
            "room.js": (static / "room.js").read_text(encoding="utf-8"),
            "icon.svg": (static / "icon.svg").read_text(encoding="utf-8"),
        }

    def text(self, template: str, **shown: Any) -> str:
        """A page as text. `mark` is what its forms carry, empty where nobody has signed in."""
        return self._templates.get_template(template).render(**{"mark": "", "is_signed_in": False, **shown})

    def page(self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **shown: Any) -> Response:
        """A page as an answer."""
        return Response(
            self.text(template, **shown),
            status_code=status,
            media_type="text/html; charset=utf-8",
            headers={**HEADERS, **(headers or {})},
        )


def breakable(name: str) -> Markup:
    """A name that may be broken behind its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def elsewhere(path: str, *, cookie: str | None = None) -> Response:
    """Go to another page of the room, by GET."""
    headers = {**HEADERS, "location": path} | ({} if cookie is None else {"set-cookie": cookie})
    return Response(status_code=303, headers=headers)
