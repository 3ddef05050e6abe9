"""What a workbook of the page has besides its rows: headings over values that a spreadsheet can reckon with, and a
sheet that says what the rows are of. Both are of a file that is called after its table and its days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from handletime.answers.labels import AccountLabels
from handletime.answers.registry import WITH_LEVELS
from handletime.answers.report import PREVIOUS
from handletime.answers.selection import Selection
from handletime.answers.words import OUTCOMES, UNANSWERED_IN_QUEUE, Kind, local
from handletime.answers.workbook import About, Heading, Unit
from handletime.web.figures import NUMBERS
from handletime.web.page import Asker
from handletime.web.view import View, days_of, from_to

TITLES: Final = {
    "agents": "Agents",
    "agents-by-skill": "By skill, agent segments",
    "skills": "Skills, skill segments",
    "skills-agent-segments": "Skills, agent segments",
    "skills-by-agent": "By agent, agent segments",
    "segments": "Agent segments",
    "skill-segments": "Skill segments",
    "waits": "Waits",
    "history": "By interval, agent segments",
    "history-skill-segments": "By interval, skill segments",
    "peers": "Beside the peers",
    "at-once": "Conversations at once",
    "weekdays": "Abandoned by weekday and hour",
    "transfers": "Transfers between skills",
    "slowest": "The slowest answers",
    "agent-day": "A day by conversation",
    "agent-day-stretches": "A day, stretch by stretch",
    "why-waits": "Waits and their targets",
    "why-segments": "Agent segments",
    "why-units": "Handle-time units",
    "why-events": "Event by event",
    "open": "Open conversations",
    "now-skills": "Now, by skill",
    "now-agents": "Agents at work",
    "now-looking": "Looking elsewhere",
    "now-bots": "Bots",
}
"""What sheets are called, by the names of tables in those of files; up to 31 characters."""
_MILLIS: Final = "Millis"
_IN_UTC: Final = "counted"
"""A column of several stretches in one text, in UTC."""
_LISTS: Final = frozenset({"responseMillis"})
"""Columns of several durations in one text, in milliseconds."""
_MEANINGS: Final = {key: each.meaning for key, each in WITH_LEVELS.items()} | {
    each.key: each.meaning for each in NUMBERS.values()
}


class TableFile(NamedTuple):
    """What a file is of: its table, its stretch of time [start, end), the view, and what was chosen, in words."""

    table: str
    start: int
    end: int
    view: View
    chosen: Mapping[str, str] = {}

    def name(self, account: str, form: str) -> str:
        """The name of the file: account, table and days, or times, by the clocks of the page."""
        zone = self.view.zone
        days = days_of(self.start, self.end, zone)
        times = (_stamp(self.start, zone), _stamp(self.end, zone)) if days is None else map(str, days)
        return "_".join([account, self.table, *dict.fromkeys(times)]) + f".{form}"

    def about(self, asker: Asker, made: int, names: Sequence[str], rows: str) -> About:
        """What is to be known of a workbook with these columns, by their names in the APIs."""
        clocks, scope = self.view.clocks, asker.key.scope
        is_moment = self.start == self.end
        said = {
            "Account": f"{asker.account}, limited to {scope}" if not scope.is_whole else asker.account,
            "Table": TITLES[self.table],
            "Period": clocks.moment(self.start) if is_moment else from_to(self.start, self.end, clocks),
            "Time zone": f"{self.view.zone.key}{'; of texts that end in Z UTC' if _IN_UTC in names else ''}",
            "Filters": "; ".join(f"{name}: {value}" for name, value in self.chosen.items()) or "none",
            "Rows": rows,
            "Made": clocks.moment(made),
            "Durations": "Hours, minutes and seconds, to the millisecond; CSV and the APIs have them as …Millis",
        }
        if any(name.endswith(PREVIOUS) for name in names):
            said[f"…{PREVIOUS}"] = f"The same, of what it is compared with: {self.view.compared_text}"
        meanings = [
            (heading.name, _MEANINGS[name])
            for name, heading in zip(names, headings_of(names), strict=True)
            if name in _MEANINGS and name not in _LISTS
        ]
        return [*said.items(), *([("", ""), ("Column", "What it means"), *meanings] if meanings else [])]


def headings_of(names: Sequence[str]) -> list[Heading]:
    """The columns of a workbook: the names of the APIs, without the unit that durations do not have here."""
    return [_heading(name, names) for name in names]


def _heading(name: str, names: Sequence[str]) -> Heading:
    base, end = (name.removesuffix(PREVIOUS), PREVIOUS) if name.endswith(PREVIOUS) else (name, "")
    unit = _unit_of(base)
    if unit == "time" and base.endswith(_MILLIS):
        base = base.removesuffix(_MILLIS)
        base += "Time" if base in names else ""
    return Heading(base + end, unit)


def _unit_of(name: str) -> Unit:
    metric = WITH_LEVELS.get(name)
    if name in _LISTS:
        return "plain"
    if name.endswith(_MILLIS) or (metric and metric.unit == "millis"):
        return "time"
    return "share" if name.endswith("Percent") else "plain"


def chosen_of(of: Selection, labels: AccountLabels) -> dict[str, str]:
    """The filters of a selection, in words."""
    ids: dict[Kind, Sequence[int] | None] = {"skill": of.skills, "agent": of.agents, "group": of.groups}
    found: dict[str, str] = {
        kind: ", ".join(_with_id(kind, each, labels) for each in some) for kind, some in ids.items() if some
    }
    texts = {
        "user type": of.user_type,
        "source": of.source,
        "outcome": of.outcome and OUTCOMES.get(of.outcome, UNANSWERED_IN_QUEUE),
        "conversation": of.conversation,
        "employee": of.employee,
    }
    return {**found, **{name: text for name, text in texts.items() if text}}


def _with_id(kind: Kind, number: int, labels: AccountLabels) -> str:
    name = labels.named(kind, number)
    return f"{name} ({number})" if name else f"{number}"


def _stamp(millis: int, zone: ZoneInfo) -> str:
    return f"{local(millis, zone):%Y-%m-%dT%H-%M}"
