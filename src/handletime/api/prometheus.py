"""`/metrics`: what the server did and its present state, for Prometheus. No label has an account, a key or a path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from handletime import __version__
from handletime.api.connections import REASONS, Reason
from handletime.api.service import HttpRequest
from handletime.store.budget import Budget
from handletime.store.observer import State

OTHER: Final = "other"
"""The route of requests for which there is none."""
LIMITS: Final = (
    "key-rate",
    "address-rate",
    "focus-rate",
    "ingest-requests",
    "ingest-memory",
    "memory",
    "address-connections",
    "streams",
    "deliveries",
)
"""The limits that requests can exceed: settings by name, and limits without a setting."""
_FORMS: Final = {
    "application/openmetrics-text; version=1.0.0": ("application/openmetrics-text",),
    "text/plain; version=1.0.0": ("text/plain", "version=1.0.0"),
}
"""The formats that can be asked for, and by which types; the default is text/plain, version 0.0.4."""
MADE_A_SECOND: Final = 10
"""How often a second `/metrics` is made anew at most: it takes some milliseconds, and needs no key."""
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTS: Final = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


def form_of(accept: str) -> str:
    """The format that `accept` asks for, as `choose_encoder` takes it."""
    wanted = accept.lower()
    return next((each for each, names in _FORMS.items() if all(name in wanted for name in names)), "")


class Meters:
    """All metrics of one server, in a registry of its own. Observes the store's writer. Any thread may use it."""

    def __init__(self) -> None:
        self._second = self._times = 0
        self._made: dict[str, bytes] = {}
        self.registry = CollectorRegistry()
        Info("handletime", "The version.", registry=self.registry).info({"version": __version__})
        self._events = self._counter("ingest_events", "Events in answered requests, newly stored or not.", "result")
        self._ingested = self._counter("ingest_requests", "Requests whose events are durable and answered.")
        self._journal = self._histogram("journal_seconds", "Time to put requests into the journal.", _SECONDS)
        self._commits = self._histogram("commit_seconds", "Time to fold the journal into the tables.", _SECONDS)
        self._sizes = self._histogram("commit_events", "Events that were written in one transaction.", _COUNTS)
        self._touched = self._histogram("commit_conversations", "Conversations that a transaction derived.", _COUNTS)
        self._checkpoints = self._histogram("checkpoint_seconds", "Time to work the log into the file.", _SECONDS)
        self._requests = self._histogram(
            "request_seconds", "Time until a request was answered.", _SECONDS, "route", "status"
        )
        self._refused = self._counter("refused_requests", "Requests answered 429, by the limit.", "limit")
        self._under_way = self._gauge("requests_under_way", "Requests that are being answered.")
        self._doubt = self._gauge(
            "clock_doubted",
            "1 while the clock is days away from the newest stored event, so that --retain may remove less.",
        )
        self._connections_ended = self._counter(
            "connections_ended", "Connections that the server ended, by the reason.", "reason"
        )
        for reason in REASONS:
            self._connections_ended.labels(reason)
        for result in ("accepted", "duplicate"):
            self._events.labels(result)
        for limit in LIMITS:
            self._refused.labels(limit)
        self._deliveries = self._counter(
            "source_deliveries", "Deliveries of sources that are done with, by what they became.", "result"
        )
        for result in ("mapped", "empty", "refused"):
            self._deliveries.labels(result)
        ProcessCollector(registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, namespace="handletime", registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, namespace="handletime", registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, namespace="handletime", buckets=buckets, registry=self.registry)

    def watch(self, state: Callable[[], State]) -> None:
        """Shows the state of the store, as it is at each request of `/metrics`."""
        self.registry.register(_StoreGauges(state))

    def watch_deliveries(self, backlog: Callable[[], tuple[int, int | None]], now: Callable[[], int]) -> None:
        """Shows how many deliveries wait to be mapped, and since when, as it is at each request of `/metrics`."""
        self.registry.register(_DeliveriesGauges(backlog, now))

    def mapped(self, *, mapped: int, empty: int, refused: int) -> None:
        """Counts deliveries that became events, that hold none, and that could not be mapped."""
        for result, number in (("mapped", mapped), ("empty", empty), ("refused", refused)):
            self._deliveries.labels(result).inc(number)

    def watch_answers(self, answers: Budget) -> None:
        """Shows the memory that is held by answers which are not yet sent."""
        held = self._gauge("answers_bytes", "Memory of large answers that are being made or wait to be read.")
        held.set_function(lambda: answers.held)

    def begun(self) -> None:
        """Counts a request that has come."""
        self._under_way.inc()

    def answered(self, route: str | None, status: int, seconds: float) -> None:
        """Counts a request that was answered. `route` is its template, None where there is none."""
        self._under_way.dec()
        self._requests.labels(route or OTHER, str(status)).observe(seconds)

    def doubted(self, doubt: bool) -> None:
        """Shows whether retention doubts the clock."""
        self._doubt.set(doubt)

    def refused(self, limit: str) -> None:
        """Counts a request that was refused because of a limit."""
        self._refused.labels(limit).inc()

    def connections_ended(self, reason: Reason, number: int) -> None:
        """Counts connections that the server ended."""
        self._connections_ended.labels(reason).inc(number)

    def watch_connections(self, number: Callable[[], int]) -> None:
        """Shows the number of open connections."""
        self._gauge("connections", "Open connections.").set_function(number)

    def shown(self, accept: str) -> tuple[bytes, str]:
        """Everything measured, and its content type, in the form that `accept` asks for.

        Not made more often than `MADE_A_SECOND`: whoever asks more often gets again what was made in that second.
        """
        form = form_of(accept)
        encode, type_ = choose_encoder(form)
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._times = second, 0
            self._made.clear()
        if form not in self._made or self._times < MADE_A_SECOND:
            self._made[form] = encode(self.registry)
            self._times += 1
        return self._made[form], type_

    # --- what the store tells

    def acknowledged(self, *, accepted: int, duplicates: int, requests: int, seconds: float) -> None:
        """Counts requests that were put into the journal together."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("duplicate").inc(duplicates)
        self._ingested.inc(requests)
        self._journal.observe(seconds)

    def folded(self, *, events: int, touched: int, seconds: float) -> None:
        """Counts what was worked from the journal into the tables in one transaction."""
        self._commits.observe(seconds)
        self._sizes.observe(events)
        self._touched.observe(touched)

    def checkpointed(self, seconds: float) -> None:
        """Counts a checkpoint."""
        self._checkpoints.observe(seconds)


class _StoreGauges(Collector):
    """The present state of the store."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = self._state()
        sizes = _gauge("store_bytes", "Sizes of the store's file, of its log and of the journal.", labels=["file"])
        sizes.add_metric(["data"], state.file_bytes)
        sizes.add_metric(["log"], state.log_bytes)
        sizes.add_metric(["journal"], state.journal_bytes)
        yield sizes
        yield _gauge("store_problem", "1 while the store cannot answer.", value=int(state.problem is not None))
        yield _gauge("ingest_waiting_requests", "Requests that wait to be acknowledged.", state.waiting_requests)
        yield _gauge("ingest_waiting_events", "Their events.", state.waiting_events)
        yield _gauge("ingest_oldest_seconds", "Age of the oldest of them.", state.oldest_s)
        yield _gauge("journal_events", "Acknowledged events that are not yet in the tables.", state.unfolded_events)
        yield _gauge("journal_oldest_seconds", "Age of the oldest of them, at most.", state.unfolded_s)


class _DeliveriesGauges(Collector):
    """The deliveries that wait."""

    def __init__(self, backlog: Callable[[], tuple[int, int | None]], now: Callable[[], int]) -> None:
        self._backlog, self._now = backlog, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting, oldest = self._backlog()
        age = 0.0 if oldest is None else max(0, self._now() - oldest) / 1000
        yield _gauge("source_waiting_deliveries", "Deliveries that wait to be mapped.", waiting)
        yield _gauge("source_oldest_seconds", "Age of the oldest of them.", age)


def _gauge(name: str, meaning: str, value: float | None = None, labels: list[str] | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"handletime_{name}", meaning, value=value, labels=labels)


@get("/metrics", sync_to_thread=False, name="metrics")
def metrics(request: HttpRequest, meters: NamedDependency[Meters]) -> Response[bytes]:
    """Everything measured, as OpenMetrics or as text. Does not wait for a query thread."""
    content, type_ = meters.shown(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": type_})
