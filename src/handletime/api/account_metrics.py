"""`GET /api/account/{accountId}/metrics`: the account's live figures for Prometheus (http-api.md 7)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from litestar import Response, get
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from handletime.answers.levels import VERDICTS, verdicts_by_target
from handletime.answers.live import OpenConversation, waits_judged
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.times_today import LIMITS_S, TIMES, Day, Figures, lengths_of
from handletime.api.prometheus import form_of
from handletime.api.service import HttpRequest, InPath, TheService
from handletime.clock import DAY
from handletime.targets.targets import CLOCKS, AccountTargets, Clock

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
_LEFT_OUT: Final = "Open conversations beyond those opened last, of which nothing here knows."
_OF_QUEUE: Final = frozenset({"queue_conversations", "queue_longest_wait_seconds", "queue_wait", "queueWait"})
"""What is of no group."""


@get("/api/account/{account:str}/metrics", sync_to_thread=True, name="account-metrics")
def account_metrics(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """The account's live figures by skill, as OpenMetrics or as text. Raises NotHere over a lake.

    A key that is limited to groups gets nothing of the queue.
    """
    reader = service.reader(request, account, "operations")
    name, scope = unquote(account), reader.scope
    now = service.clock.now()
    open_ = service.open_lately(name, reader)
    found = open_.conversations
    midnight = now // DAY * DAY
    targets = service.targets.of(name)
    clocks = [clock for clock in CLOCKS if targets.sets(clock) and (scope.has_queues or clock not in _OF_QUEUE)]
    human = Selection((midnight, now), user_type="human")
    with reader.snapshot() as snapshot:
        today: Day = {of: lengths_of(snapshot, of, human) for of in TIMES if scope.has_queues or of not in _OF_QUEUE}
        today |= {
            f"{clock}Verdicts": _verdicts(snapshot, clock, targets, Selection((midnight, now))) for clock in clocks
        }
    today = service.counted.never_less(name, scope, midnight, today)
    gauges = [name for name in _GAUGES if scope.has_queues or name not in _OF_QUEUE]
    registry = CollectorRegistry()
    past_due = _past_due(found, targets, now)
    registry.register(_Figures(_gauges(found, now), today, gauges, past_due, open_.left_out))
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


def _past_due(
    conversations: list[OpenConversation], targets: AccountTargets, now: int
) -> dict[tuple[int, Clock], int] | None:
    """How many wait past their target, by skill and clock; None where there are no targets."""
    if not targets:
        return None
    found: dict[tuple[int, Clock], int] = {}
    for each in conversations:
        for wait in waits_judged(each, targets, now):
            at = each.skill, wait.wait.clock
            found[at] = found.get(at, 0) + (wait.verdict == "pastDue")
    return found


def _verdicts(snapshot: Snapshot, clock: Clock, targets: AccountTargets, of: Selection) -> dict[str, Figures]:
    """Verdicts in the order of `VERDICTS`, by target."""
    found = verdicts_by_target(snapshot, clock, targets, of)
    return {name: tuple(counts[verdict.lower()] for verdict in VERDICTS) for name, counts in found.items()}


class _Figures(Collector):
    """What is shown, as Prometheus' library takes it."""

    def __init__(
        self,
        gauges: dict[int, _OfSkill],
        today: Day,
        shown: Container[str],
        past_due: dict[tuple[int, Clock], int] | None,
        left_out: int,
    ) -> None:
        self._gauges, self._today, self._shown, self._past_due = gauges, today, shown, past_due
        self._left_out = left_out

    def collect(self) -> Iterator[Metric]:
        skills = sorted({*self._gauges, *(skill for name in TIMES for skill in self._today.get(name, ()))})
        for place, (name, meaning) in enumerate(_GAUGES.items()):
            if name not in self._shown:
                continue
            gauge = GaugeMetricFamily(f"handletime_{name}", meaning, labels=_SKILL)
            for skill in skills:  # 0 where nothing is open now: a series that ends would keep an alert waiting.
                gauge.add_metric([str(skill)], self._gauges.get(skill, _OfSkill())[place])
            yield gauge
        yield GaugeMetricFamily("handletime_open_conversations_left_out", _LEFT_OUT, value=self._left_out)
        for name in filter(self._today.__contains__, TIMES):
            histogram = HistogramMetricFamily(f"handletime_{name}_seconds", _MEANINGS[name], labels=_SKILL)
            for skill, (*counts, total) in self._today[name].items():
                limits = [*(str(float(limit)) for limit in LIMITS_S), "+Inf"]
                histogram.add_metric([str(skill)], list(zip(limits, counts, strict=True)), total / 1000)
            yield histogram
        if self._past_due is not None:
            yield from self._of_targets(self._past_due)

    def _of_targets(self, past_due: dict[tuple[int, Clock], int]) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "handletime_past_due_conversations", "Conversations that wait past their target.", labels=["skill", "clock"]
        )
        for (skill, clock), number in sorted(past_due.items()):
            gauge.add_metric([str(skill), clock], number)
        yield gauge
        counter = CounterMetricFamily(
            "handletime_service_level_waits",
            "Waits of segments that ended today (UTC), by target and verdict; the level is met / (met + missed).",
            labels=["target", "clock", "verdict"],
        )
        for clock in CLOCKS:
            for target, counts in self._today.get(f"{clock}Verdicts", {}).items():
                for verdict, number in zip(VERDICTS, counts, strict=True):
                    counter.add_metric([target, clock, verdict.lower()], number)
        yield counter
