"""Who has signed in: random ids in memory that expire, and the marks by which a form shows that it came from here.

No HTTP but the spelling of a cookie. Nothing is written down: a restart signs everybody out.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

COOKIE = "attending_room"
IDLE_SECONDS = 60 * 60.0
"""A session that was not used for so long has ended."""
LONGEST_SECONDS = 12 * 60 * 60.0
"""No session lasts longer, used or not: a working day."""
MOST_SESSIONS = 1_000


@dataclass(kw_only=True)
class _Session:
    holder: str
    began: float
    used: float


class Sessions:
    """Sessions by their id. Ids are 256 random bits; the longest unused goes where there are too many."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._by_id: OrderedDict[str, _Session] = OrderedDict()

    def open(self, holder: str) -> str:
        """The id of a new session of this token's name."""
        now = self._clock()
        name = secrets.token_urlsafe(32)
        self._by_id[name] = _Session(holder=holder, began=now, used=now)
        if len(self._by_id) > MOST_SESSIONS:
            self._by_id.popitem(last=False)
        return name

    def holder(self, name: str | None) -> str | None:
        """Whose session it is, which is thereby used; None for one that has ended or never was."""
        found = self._by_id.get(name or "")
        if name is None or found is None:
            return None
        now = self._clock()
        if now - found.used > IDLE_SECONDS or now - found.began > LONGEST_SECONDS:
            del self._by_id[name]
            return None
        found.used = now
        self._by_id.move_to_end(name)
        return found.holder

    def close(self, name: str | None) -> None:
        """End a session, if there is one."""
        self._by_id.pop(name or "", None)

    def mark(self, name: str | None) -> str:
        """What forms of this session (None: without one) carry, so that no page of another site can send them."""
        return hmac.new(self._key, (name or "").encode(), hashlib.sha256).hexdigest()

    def is_mark(self, given: str, *, of: str | None) -> bool:
        """Whether a form carries the mark of this session."""
        return hmac.compare_digest(self.mark(of).encode(), given.encode("utf-8", errors="replace"))


def session_in(cookies: str | None) -> str | None:
    """The session's id in a `Cookie` header; None without one, or with two that differ."""
    found = {
        value.strip()
        for name, _, value in (part.partition("=") for part in (cookies or "").split(";"))
        if name.strip() == COOKIE
    }
    return found.pop() if len(found) == 1 else None


def cookie_of(name: str, *, is_secure: bool) -> str:
    """The `Set-Cookie` of a session. No script reads it, and no other site's page sends it."""
    return f"{COOKIE}={name}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if is_secure else "")


def no_cookie() -> str:
    """The `Set-Cookie` that takes it away."""
    return f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
