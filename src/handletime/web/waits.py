"""`/waits`: the waits behind a service level, each with its target, its verdict and a link to why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, get_args

from litestar import Response, get
from msgspec.structs import replace

from handletime.answers.difference import Difference, difference
from handletime.answers.figures import Value
from handletime.answers.flat import Namer
from handletime.answers.levels import JudgedWait, WaitKey, WaitOrder, waits_of
from handletime.answers.registry import CLOCK_TABLES, LEVELS, WITH_LEVELS, Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.words import CLOCKS
from handletime.api.agent_segments import LIMIT_MAX, OFFSET
from handletime.api.csv_table import ROWS_MAX
from handletime.api.parameters import a_choice, a_number
from handletime.api.service import HttpRequest, check_queues, query_of
from handletime.targets.targets import AccountTargets, Clock
from handletime.web.page import Asker, Page, ThePage
from handletime.web.segments import pages_around
from handletime.web.sheet import At, Sheet
from handletime.web.view import USER_TYPES, View

VERDICTS: Final = {"Met": "within target", "Missed": "missed", "Left": "without a verdict"}
"""The verdicts of what has ended, and what tables call them."""
PERFECT: Final = 100
CLOCK: Final = a_choice("clock", "Which waits.", "firstResponse", tuple(CLOCK_TABLES))
VERDICT: Final = a_choice("verdict", "Only waits with this verdict.", "", tuple(map(str.lower, VERDICTS)))
SORT: Final = a_choice("sort", "The column that the rows are sorted by.", "until", get_args(WaitKey))
DIRECTION: Final = a_choice("direction", "Which way; the last and the longest first.", "desc", ("asc", "desc"))
HEADINGS: Final[dict[str, WaitKey | None]] = {
    "Waited since": None,
    "Until": "until",
    "Waited": "wait",
    "When open": "elapsed",
}
"""The columns of times, and what the rows can be sorted by."""
LIMIT: Final = a_number("limit", "So many waits on a page.", 50, least=1, most=LIMIT_MAX)
MEANINGS: Final = {
    "Waited": "From when the wait began to the answer, the assignment, or the end of the segment. It counts in the "
    "span in which its segment ended",
    "When open": "What of it lies within the opening hours of the target: this is what is judged",
    "Target": "The first target of the file that fits the segment, and how long it allows",
    **{f"Verdict: {VERDICTS[name]}": WITH_LEVELS[f"firstResponse{name}Count"].meaning for name in VERDICTS},
}
"""What the columns mean."""


class WaitsPage(NamedTuple):
    """The list of waits that an address asks for."""

    view: View
    clock: Clock
    verdict: str
    """`Met`, `Missed`, `Left`; "" for any."""
    order: WaitOrder
    offset: int
    limit: int

    @property
    def wanted(self) -> Selection:
        """The segments whose waits are meant. Waits in the queue are of every user type unless one was asked for."""
        if self.clock == "queueWait":
            return self.view.skill_segments._replace(source=self.view.source)
        return self.view.agent_segments

    def parameters(self, /, **changes: object) -> dict[str, object | None]:
        """What of the address is this page's own, some of it changed."""
        own: dict[str, object | None] = {
            "clock": self.clock,
            "verdict": self.verdict.lower() or None,
            "sort": self.order.key if self.order.key != SORT.default else None,
            "direction": None if self.order.descending else "asc",
            "offset": self.offset or None,
            "limit": self.limit if self.limit != LIMIT.default else None,
        }
        return own | changes

    def href(self, path: str = "/waits", /, **changes: object) -> str:
        """A link to these waits, with something changed. The span is fixed, so that pages do not move."""
        return self.view.fixed(path, interval=None, **self.parameters(**changes))

    def sorted_by(self, key: WaitKey) -> str:
        """A link to the same waits sorted by a key; in the other direction where they are sorted by it already."""
        descending = not self.order.descending if key == self.order.key else True
        order = {"sort": key if key != SORT.default else None, "direction": None if descending else "asc"}
        return self.href(offset=None, **order)

    def total(self, counts: Mapping[str, int]) -> int:
        """How many waits of these counts are meant."""
        return counts[self.verdict] if self.verdict else sum(counts.values())

    def found(
        self, snapshot: Snapshot, account: str, targets: AccountTargets, *, limit: int | None
    ) -> tuple[dict[str, int], list[JudgedWait]]:
        """How many waits have each verdict, and those of the asked one from the offset on. Raises NotNow."""
        verdict = self.verdict or None
        return waits_of(
            snapshot,
            self.clock,
            targets,
            self.wanted,
            account,
            verdict,
            order=self.order,
            offset=self.offset,
            limit=limit,
        )

    def differs(self, snapshot: Snapshot, account: str, targets: AccountTargets, total: int) -> Difference | None:
        """How their number differs from what the view is compared with."""
        before = self.view.before(self.wanted)
        if before is None:
            return None
        counts, _ = waits_of(snapshot, self.clock, targets, before, account, limit=0)
        return difference(WITH_LEVELS[f"{self.clock}{self.verdict or 'Met'}Count"], total, self.total(counts))


def read_waits(request: HttpRequest, page: Page, asker: Asker) -> WaitsPage:
    """Reads the query of an address. Raises BadRequest; Forbidden for waits in the queue that the key may not see."""
    query = query_of(request)
    view = asker.view(query, page.service.clock.now(), cuts=False)
    clock = next(each for each in CLOCK_TABLES if each == query.get(CLOCK))
    if clock == "queueWait":
        view = replace(view, agent=None, group=None)  # They are of no agent and of no group.
    key = next(each for each in get_args(WaitKey) if each == query.get(SORT))
    order = WaitOrder(key, query.get(DIRECTION) == "desc")
    asked = WaitsPage(view, clock, query.get(VERDICT).capitalize(), order, query.get(OFFSET), query.get(LIMIT))
    query.check()
    if clock == "queueWait":
        check_queues(asker.key.scope, "waits in the queue")
    return asked


def waits_sheet(asked: WaitsPage, rows: Sequence[JudgedWait], name: Namer) -> Sheet:
    """Waits with their targets as a file; verdicts are `met`, `missed` and `left`."""
    cells = [
        [
            *(each.conversation, each.segment, asked.clock),
            *(each.agent, None if each.agent is None else name("agent", each.agent)),
            *(each.skill, name("skill", each.skill), At(each.since), At(each.until), each.until - each.since),
            *(each.elapsed, each.target.name, each.limit, each.verdict.lower()),
        ]
        for each in rows
    ]
    names = (
        *("conversationId", "segmentId", "clock", "agentId", "agent", "skillId", "skill"),
        *("waitingSince", "until", "waitMillis", "elapsedMillis", "target", "targetMillis", "verdict"),
    )
    return Sheet("waits", asked.wanted.start, asked.wanted.end, names, cells)


def waits_behind(view: View, metric: Metric, value: Value, *, of_skills: bool, **chosen: object) -> str:
    """A link to the waits behind a count of a verdict; from a service level to those that miss in it.

    `of_skills` is for those of rows of skill segments, which count every user type unless one was asked for, and are of
    no agent, group or source.
    """
    clock = LEVELS[metric.key]
    verdict = next((name.lower() for name in VERDICTS if metric.key == f"{clock}{name}Count"), None)
    if verdict is None and value != PERFECT:
        verdict = "missed"
    of_all = {"agent": None, "group": None, "source": None, "userType": view.given_user_type} if of_skills else {}
    return view.fixed("/waits", interval=None, clock=clock, verdict=verdict, **(of_all | chosen))


@get("/waits", sync_to_thread=True, name="page-waits")
def waits(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The waits behind a service level, those that ended last first; or the longest ones."""
    asker = page.asker(request, "handle-time")
    asked = read_waits(request, page, asker)
    targets = page.service.targets.of(asker.account)
    with asker.reader.snapshot() as snapshot:
        counts, rows = asked.found(snapshot, asker.account, targets, limit=asked.limit)
        total = asked.total(counts)
        differs = asked.differs(snapshot, asker.account, targets, total)
    return page.html(
        request,
        "waits.html",
        asker,
        asked=asked,
        view=asked.view,
        has_targets=targets.sets(asked.clock),
        clock_names={each: name for each, name in CLOCKS.items() if each != "queueWait" or asker.key.scope.has_queues},
        verdicts={name: text for name, text in VERDICTS.items() if name != "Left" or asked.clock != "response"},
        of_queue=asked.clock == "queueWait",
        user_types=USER_TYPES | ({"/waits": USER_TYPES["/skill-segments"]} if asked.clock == "queueWait" else {}),
        counts=counts,
        total=total,
        rows=rows,
        differs=differs,
        pages=dict(pages_around(asked.offset, asked.limit, total, lambda offset: asked.href(offset=offset))),
        meant=MEANINGS,
        headings=HEADINGS,
        rows_max=ROWS_MAX,
    )
