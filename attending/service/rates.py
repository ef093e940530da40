"""How often each client may ask: a bucket of tokens that fills at a steady rate. Who has not asked lately is forgotten."""

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST_CLIENTS = 10_000
BURST_SECONDS = 2.0
"""A client that was quiet may ask so many seconds' worth at once."""


class Rates:
    """At most `per_second` requests of each client; 0 sets no limit."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = monotonic) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_of(self, client: str) -> int:
        """0 and one request counted, or the whole seconds after which the client may ask again."""
        if not self.per_second:
            return 0
        now = self._clock()
        left, then = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - then) * self.per_second)
        allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1.0 - left) / self.per_second))
