"""`GET /api/account/{accountId}/metrics`: the account's live figures for Prometheus (http-api.md 7)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from litestar import Response, get
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from handletime.answers.live import OpenConversation
from handletime.answers.selection import Selection
from handletime.answers.times_today import LIMITS_S, TIMES, Times, lengths_of
from handletime.api.prometheus import form_of
from handletime.api.service import HttpRequest, InPath, TheService
from handletime.clock import DAY

_SKILL: Final = ["skill"]
_MEANINGS: Final = {
    "first_response": "First responses of human agents in segments that ended today (UTC).",
    "response": "Responses of human agents in segments that ended today (UTC).",
    "queue_wait": "Waits in the queue that a human agent ended today (UTC).",
}
_GAUGES: Final = {
    "open_conversations": "Conversations that are open.",
    "queue_conversations": "Conversations that wait in the queue.",
    "unanswered_conversations": "Conversations that wait for the answer of their agent.",
    "queue_longest_wait_seconds": "The longest wait in the queue so far.",
    "unanswered_longest_wait_seconds": "The longest wait for an agent's answer so far.",
}
_OF_QUEUE: Final = frozenset({"queue_conversations", "queue_longest_wait_seconds", "queue_wait"})
"""What is of no group."""


@get("/api/account/{account:str}/metrics", sync_to_thread=True, name="account-metrics")
def account_metrics(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """The account's live figures by skill, as OpenMetrics or as text. Raises NotHere over a lake.

    A key that is limited to groups gets nothing of the queue.
    """
    reader = service.reader(request, account, "operations")
    name, scope = unquote(account), reader.scope
    now = service.clock.now()
    found = service.open_lately(name, reader).conversations
    midnight = now // DAY * DAY
    human = Selection((midnight, now), user_type="human")
    with reader.snapshot() as snapshot:
        times = {of: lengths_of(snapshot, of, human) for of in TIMES if scope.has_queues or of not in _OF_QUEUE}
    times = service.counted.never_less(name, scope, midnight, times)
    gauges = [name for name in _GAUGES if scope.has_queues or name not in _OF_QUEUE]
    registry = CollectorRegistry()
    registry.register(_Figures(_gauges(found, now), times, gauges))
    encode, type_ = choose_encoder(form_of(request.headers.get("accept", "")))
    return Response(encode(registry), headers={"Content-Type": type_})


class _OfSkill(NamedTuple):
    """The values of `_GAUGES`, in their order."""

    open: int = 0
    queued: int = 0
    unanswered: int = 0
    longest_queued_s: float = 0.0
    longest_unanswered_s: float = 0.0

    def and_one(self, each: OpenConversation, now: int) -> _OfSkill:
        """These, and one conversation more."""
        waits_s = max(now - each.waiting_since, 0) / 1000 if each.waiting_since is not None else 0.0
        unanswered = each.state == "waits"
        return _OfSkill(
            self.open + 1,
            self.queued + each.in_queue,
            self.unanswered + unanswered,
            max(self.longest_queued_s, waits_s if each.in_queue else 0.0),
            max(self.longest_unanswered_s, waits_s if unanswered else 0.0),
        )


def _gauges(conversations: list[OpenConversation], now: int) -> dict[int, _OfSkill]:
    found: dict[int, _OfSkill] = {}
    for each in conversations:
        found[each.skill] = found.get(each.skill, _OfSkill()).and_one(each, now)
    return found


class _Figures(Collector):
    """What is shown, as Prometheus' library takes it."""

    def __init__(self, gauges: dict[int, _OfSkill], times: Times, shown: Container[str]) -> None:
        self._gauges, self._times, self._shown = gauges, times, shown

    def collect(self) -> Iterator[Metric]:
        skills = sorted({*self._gauges, *(skill for found in self._times.values() for skill in found)})
        for place, (name, meaning) in enumerate(_GAUGES.items()):
            if name not in self._shown:
                continue
            gauge = GaugeMetricFamily(f"handletime_{name}", meaning, labels=_SKILL)
            for skill in skills:  # 0 where nothing is open now: a series that ends would keep an alert waiting.
                gauge.add_metric([str(skill)], self._gauges.get(skill, _OfSkill())[place])
            yield gauge
        for name, found in self._times.items():
            histogram = HistogramMetricFamily(f"handletime_{name}_seconds", _MEANINGS[name], labels=_SKILL)
            for skill, lengths in found.items():
                limits = [*(str(float(limit)) for limit in LIMITS_S), "+Inf"]
                buckets = list(zip(limits, lengths.counts, strict=True))
                histogram.add_metric([str(skill)], buckets, lengths.total / 1000)
            yield histogram
