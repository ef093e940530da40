"""Counts and durations for Prometheus, by route and status. Labels are words of this program, never of a request."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from attending.service.words import NOTICE

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """One registry for one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._about = Info("attending", f"The model that answers. {NOTICE}.", registry=self._registry)
        self._requests = Counter(
            "attending_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "attending_request_seconds",
            "Seconds from a request's headers to its answer.",
            ("route",),
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
            registry=self._registry,
        )
        self._batches = Histogram(
            "attending_batch_cases", "Cases answered together.", buckets=(1, 2, 4, 8, 16, 32), registry=self._registry
        )
        self._abstained = Counter("attending_abstentions", "Answers in which the model abstained.", registry=self._registry)
        self._waiting = Gauge("attending_waiting_cases", "Cases that wait for the model.", registry=self._registry)
        ProcessCollector(registry=self._registry)

    def describe(self, model: str, software: str, waiting: Callable[[], int]) -> None:
        """Which model this is, and where the queue's length is asked."""
        self._about.info({"model": model, "software": software})
        self._waiting.set_function(waiting)

    def count(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """One answer."""
        self._requests.labels(route=route, method=method, status=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)

    def count_batch(self, cases: int) -> None:
        """One batch."""
        self._batches.observe(cases)

    def count_abstention(self) -> None:
        """One answer without an estimate."""
        self._abstained.inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
