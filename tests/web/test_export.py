"""Each table of the page as a file: the same rows, in the same order, with the same numbers; and all of them.

Covers: web/sheet, web/book, answers/workbook.
"""

from __future__ import annotations

import csv
import html
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple
from unittest.mock import ANY
from xml.etree import ElementTree as Xml
from zoneinfo import ZoneInfo

import httpx
import pytest

from handletime.answers import live
from handletime.answers.labels import AccountLabels, Labels
from handletime.answers.registry import METRICS
from handletime.answers.words import (
    CLOCKS,
    END_REASONS,
    FOLLOWS,
    NO_FOCUS_DATA,
    NOT_HANDLED,
    OUTCOMES,
    VERDICTS,
    rfc_3339,
)
from handletime.answers.words import duration as said
from handletime.answers.workbook import Heading, workbook
from handletime.api.service import Service
from handletime.keys.sidefile import SideFile
from handletime.scope import Scope
from handletime.store.store import Store
from handletime.targets.file import TargetsFile
from handletime.web import agent_day, one_agent, weekdays, why
from handletime.web.book import TITLES
from handletime.web.page import COOKIE, Page
from handletime.web.routes import page_routes
from handletime.web.sessions import Sessions
from tests.api.world import NOW, World, token
from tests.segments.tables import events_of
from tests.store.worlds import SMALL

ZONE: Final = "Europe/Berlin"
MINUTE, HOUR, DAY_MILLIS = 60_000, 3_600_000, 86_400_000
BILLING, CARE = 10, 20
NAMES: Final = {"agent": {7: "=Ada, Jackdaw", 8: "Heron", 11: "Supervisor"}, "skill": {BILLING: "Billing"}}
TARGETS: Final = """
[[targets]]
name = "all"
first-response = "1min"
response = "2min"
queue-wait = "30s"
"""
Event = dict[str, object]
Told = dict[str, str]
"""A row of a file."""


# --- a world ---------------------------------------------------------------------------------------------------------


def happening() -> Iterator[Event]:
    """What has ended: agent 7 took most conversations over; transfers, waits that were given up; and what is open."""
    places = iter(range(100_000))

    def event(name: str, at: float, type_: str, **more: object) -> Event:
        return {
            **{"accountId": "acme", "conversationId": name, "eventId": f"{next(places)}"},
            **{"time": int(at), "type": type_, **more},
        }

    def handled(name: str, at: float, agent: int, seconds: int, *, taken: bool = False) -> Iterator[Event]:
        yield event(name, at, "opened", skillId=BILLING, source="WEB")
        yield event(name, at, "message", sentBy="consumer")
        if taken:
            yield event(name, at + 1000, "assigned", agentId=99, userType="bot")
            yield event(name, at + 2000, "transferred", reason="takeover")
        yield event(name, at + 3000, "assigned", agentId=agent, groupId=51, employeeId=f"e{agent}")
        yield event(name, at + 3000, "focused", agentId=agent)
        end = at + 3000 + seconds * 1000
        yield event(name, end, "message", sentBy="agent")
        yield event(name, end + 1000, "unfocused", agentId=agent)
        yield event(name, end + 2000, "message", sentBy="consumer")
        yield event(name, end + 9000, "closed", closedBy="consumer")

    for number in range(9):
        at = NOW - 10 * HOUR + number * 10 * MINUTE
        yield from handled(f"seven{number}", at, 7, 150 + number, taken=number > 1)
        yield from handled(f"eight{number}", at + 5000, 8, 50 + number, taken=number == 3)
    # Two at once, without focus data.
    yield event("blind", NOW - 5 * HOUR, "opened", skillId=CARE)
    yield event("blind", NOW - 5 * HOUR, "assigned", agentId=9)
    yield event("blind", NOW - 5 * HOUR + 1000, "message", sentBy="consumer")
    yield event("blind", NOW - 5 * HOUR + 9000, "message", sentBy="agent")
    yield event("blind", NOW - 4 * HOUR, "closed", closedBy="agent")
    for number in range(4):
        yield event(f"gone{number}", NOW - (3 + number) * HOUR, "opened", skillId=CARE)
        by = "consumer" if number else "system"
        yield event(f"gone{number}", NOW - (3 + number) * HOUR + 40_000, "closed", closedBy=by)
    for number, (source, target) in enumerate([(BILLING, CARE), (BILLING, CARE), (CARE, BILLING), (CARE, 30)]):
        name, at = f"moved{number}", NOW - 6 * HOUR + number * MINUTE
        yield event(name, at, "opened", skillId=source)
        yield event(name, at + 10_000, "assigned", agentId=8, groupId=51)
        yield event(name, at + 20_000, "transferred", reason="skill", skillId=target)
        if number:
            yield event(name, at + 90_000, "closed", closedBy="system")
    yield event("waits", NOW - 30 * MINUTE, "opened", skillId=BILLING)
    yield event("waits", NOW - 30 * MINUTE, "assigned", agentId=7, groupId=51)
    yield event("waits", NOW - 29 * MINUTE, "message", sentBy="consumer")
    yield event("waits", NOW - 20 * MINUTE, "focused", agentId=7)
    yield event("waits", NOW - 8 * MINUTE, "focused", agentId=11)
    yield event("looked", NOW - 25 * MINUTE, "opened", skillId=CARE)
    yield event("looked", NOW - 25 * MINUTE, "assigned", agentId=8, groupId=51)
    yield event("looked", NOW - 5 * MINUTE, "focused", agentId=12)
    yield event("queued", NOW - 2 * MINUTE, "opened", skillId=CARE)
    yield event("forgotten", NOW - 50 * HOUR, "opened", skillId=CARE)
    yield event("bot", NOW - 4 * MINUTE, "opened", skillId=BILLING)
    yield event("bot", NOW - 4 * MINUTE, "assigned", agentId=99, userType="bot")
    yield event("bot", NOW - 3 * MINUTE, "message", sentBy="consumer")


class Site(NamedTuple):
    """A server with a page, and a browser that is signed in."""

    world: World
    cookie: str

    def get(self, path: str) -> httpx.Response:
        headers = {"Cookie": f"{COOKIE}={self.cookie}", "Accept": "text/html"}
        answer = self.world.client.get(path, headers=headers)
        return answer if answer.status_code != 303 else self.get(answer.headers["Location"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    lines = "".join(f'{kind},{number},"{name}"\n' for kind, names in NAMES.items() for number, name in names.items())
    (folder / "labels.csv").write_text(f"kind,id,label\n{lines}")
    (folder / "targets.toml").write_text(TARGETS)
    labels = Labels(folder / "labels.csv")
    with ExitStack() as stack:
        store = stack.enter_context(
            Store(folder / "store", stack.enter_context(SideFile(made(folder / "store"))), SMALL)
        )
        sessions = stack.enter_context(Sessions())
        world = stack.enter_context(World(real=store, page=partial(pages_of, sessions, labels)))
        world.service.targets = TargetsFile(folder / "targets.toml")
        store.ingest("acme", events_of([*happening()]))
        secret = token("acme", "handle-time", "operations", scope=Scope())["Authorization"].removeprefix("Bearer ")
        yield Site(world, sessions.begin(secret, ZONE, NOW))


def made(folder: Any) -> Any:
    folder.mkdir()
    return folder


def pages_of(sessions: Sessions, labels: Labels, service: Service) -> list[Any]:
    return page_routes(Page(service, sessions, labels))


# --- pages and files as rows -----------------------------------------------------------------------------------------


def text(markup: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", markup).split()))


def table(page: str, region: str, rows: str = "") -> list[list[str]]:
    """The cells of a table's rows, without its head and its foot; of rows with a class where one is named."""
    found = []
    for part in re.split(rf'role="region" aria-label="{re.escape(region)}"[^>]*>', page)[1:]:
        whole = part.partition("</table>")[0].partition("</thead>")[2].partition("<tfoot>")[0]
        for attributes, row in re.findall(r"<tr([^>]*)>(.*?)</tr>", whole, re.DOTALL):
            if rows in attributes:
                found.append([text(each) for each in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)])
    return found


def link(page: str, what: str, form: str = "CSV") -> str:
    """The address of a table's file, as its link has it."""
    (href,) = re.findall(rf'href="([^"]*)" download aria-label="Export as {form}: {re.escape(what)}"', page)
    return html.unescape(href)


def read(answer: httpx.Response) -> list[Told]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.headers["X-Total-Count"] == str(len(rows))
    return rows


SPACE: Final = {"": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def part_of(workbook: bytes, name: str) -> Xml.Element:
    with zipfile.ZipFile(io.BytesIO(workbook)) as book:
        return Xml.fromstring(book.read(f"xl/{name}.xml"))  # noqa: S314 — our own


def cells_of(workbook: bytes, sheet: int = 1) -> list[list[object]]:
    """The rows of a workbook: texts, numbers, booleans."""
    found: list[list[object]] = []
    for row in part_of(workbook, f"worksheets/sheet{sheet}").iterfind("sheetData/row", SPACE):
        line: dict[int, object] = {}
        for cell in row:
            value = "".join(cell.itertext())
            kind = cell.attrib.get("t")
            line[place_of(cell)] = value if kind == "inlineStr" else value == "1" if kind == "b" else float(value)
        found.append([line.get(place) for place in range(max(line, default=-1) + 1)])
    return found


def place_of(cell: Xml.Element) -> int:
    letters = re.sub(r"\d", "", cell.attrib["r"])
    return sum((ord(letter) - 64) * int(26**at) for at, letter in enumerate(reversed(letters))) - 1


def formats_of(workbook: bytes) -> dict[str, set[str]]:
    """How the numbers of each column are shown."""
    styles = part_of(workbook, "styles")
    codes = {each.attrib["numFmtId"]: each.attrib["formatCode"] for each in styles.iterfind("numFmts/numFmt", SPACE)}
    of_style = [codes.get(each.attrib["numFmtId"], "") for each in styles.iterfind("cellXfs/xf", SPACE)]
    head, *rows = part_of(workbook, "worksheets/sheet1").iterfind("sheetData/row", SPACE)
    names = {place_of(cell): "".join(cell.itertext()) for cell in head}
    found: dict[str, set[str]] = {name: set() for name in names.values()}
    for cell in (cell for row in rows for cell in row if "t" not in cell.attrib):
        found[names[place_of(cell)]].add(of_style[int(cell.attrib.get("s", "0"))])
    return found


def about(workbook: bytes) -> dict[object, object]:
    """What the second sheet says."""
    return {row[0]: row[1] for row in cells_of(workbook, 2) if row and row[0]}


def unit_of(name: str) -> str:
    """What the numbers of a column of a file are."""
    base = name.removesuffix("Previous")
    metric = METRICS.get(base)
    if name == "responseMillis":
        return ""
    return (
        "time" if base.endswith("Millis") or (metric and metric.unit == "millis") else "Percent" * ("Percent" in base)
    )


def in_workbook(cell: str, name: str) -> object:
    """What a workbook has where the CSV has this."""
    if not cell:
        return None
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", cell):
        at = datetime.fromisoformat(cell).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)
        return pytest.approx((at - datetime(1899, 12, 30)) / timedelta(days=1), abs=1e-8)
    if cell in ("true", "false"):
        return cell == "true"
    if re.fullmatch(r"-?\d+(\.\d+)?", cell) and name not in ("eventId", "rule", "focusOf"):
        # Milliseconds are whole there too, when they are reckoned back.
        return pytest.approx(float(cell) / {"time": DAY_MILLIS, "Percent": 100, "": 1}[unit_of(name)], rel=1e-14)
    return cell.removeprefix("'") if cell.startswith("'=") else cell


def heading(name: str) -> str:
    """What a column of a file is called in a workbook: without a unit that it does not have there."""
    if name == "targetMillis":
        return "targetTime"
    return name if name == "responseMillis" else re.sub(r"Millis(Previous)?$", r"\1", name)


# --- what a page says, from the row of its file ----------------------------------------------------------------------


def name_of(kind: str, number: str, name: str) -> str:
    """A name as the page has it; a file guards what could be a formula."""
    assert name.removeprefix("'") == NAMES[kind].get(int(number), "")
    return name.removeprefix("'") or f"{kind} {number}"


def agent(row: Told, key: str = "agent") -> str:
    return name_of("agent", row[f"{key}Id"], row[key])


def skill(row: Told, key: str = "skill") -> str:
    return name_of("skill", row[f"{key}Id"], row[key])


def lasts(millis: str, empty: str = "–") -> str:
    return said(int(millis)) if millis else empty


def share(percent: str) -> str:
    value = float(percent)
    return "<1 %" if 0 < value < 1 else f"{value:.0f} %"


def beside_peers(row: Told) -> list[str]:
    found = [skill(row), FOLLOWS[row["follows"]]]
    for names in (lambda key: key, lambda key: f"peers{key[0].upper()}{key[1:]}"):
        own = {key: row[names(key)] for key in SIDE}
        average = lasts(own["avgHandleTimeMillis"], NO_FOCUS_DATA if own["segments"] != "0" else "–")
        median = lasts(own["medianHandleTimeMillis"])
        known = f"{median} n {own['segmentsWithFocusData']}" if own["segmentsWithFocusData"] != "0" else median
        found += [own["segments"], share(own["segmentsPercent"]), average, known]
    return found


SIDE: Final = (
    *("segments", "segmentsPercent", "segmentsWithFocusData"),
    *("avgHandleTimeMillis", "medianHandleTimeMillis"),
)


def at_once(row: Told) -> list[str]:
    return [row["conversationsAtOnce"], said(int(row["durationMillis"])), share(row["durationPercent"]), ""]


def transfer(row: Told) -> list[str]:
    to = skill(row, "toSkill") if row["toSkillId"] else "still in the next skill"
    return [skill(row, "fromSkill"), to, row["transfers"]]


def slow(row: Told) -> list[str]:
    handled = lasts(row["totalHandleTimeMillis"], NO_FOCUS_DATA)
    assert row["conversationId"] in row["segmentId"]
    return [agent(row), skill(row), lasts(row["longestResponseMillis"]), handled, ANY, OUTCOMES[row["outcome"]], ANY]


def past_due(row: Told) -> str:
    late = int(row["pastDue"])
    due = 0 if not row["due"] else round(datetime.fromisoformat(row["due"]).timestamp() * 1000)
    if late:
        return f"! {late} {'up to' if late > 1 else 'for'} {said(NOW - due)}"
    return f"0 next in {said(due - NOW)}" if due else "0"


def longest(row: Told) -> str:
    """The longest wait, and how many wait for longer than a day."""
    stale = f"{row['waitingOverADay']} for over a day" if row["waitingOverADay"] != "0" else ""
    wait = lasts(row["longestWaitMillis"], "" if stale else "–")
    assert bool(row["longestWaitMillis"]) == bool(row["longestWaitConversationId"])
    return f"{wait} {stale}".strip()


def level(row: Told, clock: str) -> str:
    met, missed = (int(row[f"{clock}{what}Count"]) for what in ("Met", "Missed"))
    if not met + missed:
        return "–"
    percent = METRICS["interactiveAgentSegmentPercent"].said(float(row[f"{clock}ServiceLevelPercent"]))
    return f"{percent} {met} of {met + missed}"


def on_the_board(row: Told) -> list[str]:
    looks = f"{row['agentsInFocus']} of {row['agentsWithFocusData']} now"
    percent = f"{float(row['focusPercent']):.0f} % " if row["focusPercent"] else ""
    return [
        *(skill(row), row["inQueue"], row["waiting"], longest(row), past_due(row)),
        *(level(row, clock) for clock in ("firstResponse", "response", "queueWait")),
        row["agents"],
        f"{float(row['conversationsPerAgent']):.1f}" if row["conversationsPerAgent"] else "–",
        f"{percent}{looks}" if row["agentsWithFocusData"] != "0" else "–",
        row["open"],
    ]


def at_work(row: Told) -> list[str]:
    focus = "on no open one" if row["focusData"] == "true" else NO_FOCUS_DATA
    if row["focusConversationId"]:
        focus = f"{row['focusConversationId']} for {lasts(row['focusMillis'])}"
    return [agent(row), row["open"], row["waiting"], longest(row), past_due(row), focus]


def looking(row: Told) -> list[str]:
    whose = agent(row, "ofAgent") if row["ofAgentId"] else "nobody, in queue"
    return [agent(row), row["focusConversationId"], whose, lasts(row["focusMillis"])]


def a_bot(row: Told) -> list[str]:
    return [agent(row), row["open"], row["waiting"], longest(row)]


def of_day(row: Told) -> list[str]:
    if row["focusOn"] == "conversation":
        units, handled = row["handleTimeUnits"], lasts(row["totalHandleTimeMillis"])
        first: list[Any] = [f"Why : {row['conversationId']}", row["conversationId"], ANY, ANY]
        return [*first, row["focusStretches"], said(int(row["focusMillis"])), units, handled]
    name = {
        "noConversation": "idle, on no conversation",
        "beforeFirstAndAfterLast": "on none, before the first and after the last",
        "unknown": "unknown where",
    }[row["focusOn"]]
    return ["", name, "", "", row["focusStretches"], said(int(row["focusMillis"])), "", ""]


def a_wait(row: Told) -> list[str]:
    whose = agent(row) if row["agentId"] else skill(row)
    times = [said(int(row[key])) for key in ("waitMillis", "elapsedMillis", "targetMillis")]
    late = "! " if row["verdict"] in ("missed", "pastDue") else ""
    verdict = late + VERDICTS[row["verdict"]]
    return [CLOCKS[row["clock"]], whose, ANY, ANY, *times, verdict, ANY, "always open", row["target"]]


def a_judged_wait(row: Told) -> list[Any]:
    verdict = {"met": "within target", "missed": "! missed", "left": "without a verdict"}[row["verdict"]]
    times = [said(int(row["waitMillis"])), said(int(row["elapsedMillis"]))]
    who = [agent(row)] if row["clock"] != "queueWait" else []
    target = f"{row['target']} : {said(int(row['targetMillis']))}"
    return [ANY, ANY, ANY, *times, target, verdict, *who, skill(row), row["conversationId"]]


def a_segment(row: Told) -> list[str]:
    who = agent(row) + (" bot" if row["userType"] == "bot" else "")
    ended = [OUTCOMES[row["outcome"]], END_REASONS[row["endReason"]]] if row["endTime"] else ["–", "–"]
    handled = "–" if row["userType"] == "bot" else lasts(row["totalHandleTimeMillis"], NO_FOCUS_DATA)
    first = lasts(row["firstResponseMillis"])
    return [who, skill(row), ANY, ANY, handled, FOLLOWS[row["follows"]], *ended, first]


def a_unit(row: Told) -> list[Any]:
    codes = f"{row['startReason']} → {row['endReason']}"
    return ["", f"unit {row['sequence']}", ANY, ANY, said(int(row["handleTimeMillis"])), EndsWith(codes)]


def an_event(row: Told) -> list[Any]:
    counts = f"counted, {row['handledUnder']}" if row["handledUnder"] else ""
    if row["notHandledBecause"]:
        counts = f"not counted: {NOT_HANDLED[row['notHandledBecause']]}"
    if row["elsewhere"]:
        counts = EndsWith(row["elsewhere"])
    lasted = lasts(row["lastsMillis"], "")
    return [ANY, row["event"].removeprefix("'"), ANY, row["rule"], lasted, counts]


class EndsWith(str):
    """Is equal to what ends with it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(other).endswith(str(self))

    def __hash__(self) -> int:
        return hash(str(self))


class Shown(NamedTuple):
    """A table: where it is seen, its region, and what its link is called; what the page says from a row of the file."""

    path: str
    region: str
    what: str
    says: Callable[[Told], list[str]]
    least: int
    """It has at least so many rows here."""
    rows: str = ""
    """The class of its rows, where it has others too."""


SPAN: Final = "last=24h"
AGENT: Final = f"/agents?{SPAN}&agent=7"
DAY: Final = "/agent-day?agent=7&day=2026-11-20"
WHY: Final = "/why?conversation=seven5"
SHOWN: Final = {
    "peers": Shown(AGENT, "Handle time by skill and by what segments followed", "beside the peers", beside_peers, 2),
    "at-once": Shown("/agents?last=24h&agent=8", "Conversations at once", "conversations at once", at_once, 1),
    "transfers": Shown(
        f"/skills?{SPAN}", "Transfers between skills, the most first", "transfers between skills", transfer, 3
    ),
    "transfers of one skill": Shown(
        f"/skills?{SPAN}&skill=30", "Transfers between skills, the most first", "transfers between skills", transfer, 1
    ),
    "slowest": Shown(f"/?{SPAN}", "The slowest answers", "the slowest answers", slow, 10),
    "slowest of one agent": Shown(AGENT, "The slowest answers", "the slowest answers", slow, 2),
    "slowest without focus data": Shown(
        f"/agents?{SPAN}&agent=9", "The slowest answers", "the slowest answers", slow, 1
    ),
    **{
        f"waits of {clock}": Shown(f"/waits?{SPAN}&clock={clock}", "Waits", "waits", a_judged_wait, least)
        for clock, least in (("firstResponse", 15), ("response", 10), ("queueWait", 20))
    },
    "now-skills": Shown("/", "Open conversations by skill", "now, by skill", on_the_board, 2),
    "now-skills of one": Shown("/?skill=20", "Open conversations by skill", "now, by skill", on_the_board, 1),
    "now-agents": Shown("/", "Agents at work", "agents at work", at_work, 2),
    "now-looking": Shown(
        "/", "Looking at a conversation that is not theirs", "looking at a conversation that is not theirs", looking, 2
    ),
    "now-bots": Shown("/", "Bots", "bots", a_bot, 1),
    "agent-day": Shown(DAY, "By conversation", "by conversation", of_day, 11),
    "why-waits": Shown(WHY, "Waits and their targets", "waits and their targets", a_wait, 3),
    "why-segments": Shown(WHY, "Agent segments and units", "agent segments", a_segment, 2),
    "why-segments that run": Shown(
        "/why?conversation=waits", "Agent segments and units", "agent segments", a_segment, 1
    ),
    "why-units": Shown(WHY, "Agent segments and units", "handle-time units", a_unit, 1, "unit-row"),
    "why-events": Shown(WHY, "Event by event", "event by event", an_event, 9),
    "why-events elsewhere": Shown("/why?conversation=waits", "Event by event", "event by event", an_event, 4),
}


def seen(site: Site, shown: Shown) -> tuple[str, list[list[str]]]:
    """The page, and the rows of a table."""
    answer = site.get(shown.path)
    assert answer.status_code == 200, answer.text
    rows = table(answer.text, shown.region, shown.rows)
    if shown.what == "agent segments":
        rows = [row for row in rows if len(row) == 9]
    if shown.what == "event by event":
        rows = [row for row in rows if row[0]]
    return answer.text, rows


@pytest.mark.parametrize("name", SHOWN)
def test_a_file_says_what_the_page_says(name: str, site: Site) -> None:
    shown = SHOWN[name]
    page, rows = seen(site, shown)
    assert len(rows) >= shown.least
    href = link(page, shown.what)
    answer = site.get(href)
    assert f"acme_{name.split()[0]}_2026" in answer.headers["content-disposition"]
    assert [shown.says(row) for row in read(answer)] == rows


@pytest.mark.parametrize("name", SHOWN)
def test_a_workbook_has_what_the_csv_has(name: str, site: Site) -> None:
    page, _ = seen(site, SHOWN[name])
    rows = read(site.get(link(page, SHOWN[name].what)))
    answer = site.get(link(page, SHOWN[name].what, "xlsx"))
    names, *cells = cells_of(answer.content)
    assert names == [heading(name) for name in rows[0]]
    wanted = [[in_workbook(cell, name) for name, cell in row.items()] for row in rows]
    assert [[*row, *[None] * (len(names) - len(row))] for row in cells] == wanted
    assert answer.headers["X-Total-Count"] == str(len(rows))


# --- tables that stand otherwise on the page -------------------------------------------------------------------------


def test_the_heat_map_is_a_row_for_each_hour_of_the_week(site: Site) -> None:
    page = site.get(f"/skills?{SPAN}").text
    shown = table(page, "Abandoned in queue, by weekday and hour")
    rows = read(site.get(link(page, "waits in the queue by weekday and hour")))
    assert len(rows) == 7 * 24
    by_hour = {(row["weekday"], int(row["hour"])): row for row in rows}
    some = 0
    for weekday, *cells in shown[:7]:
        for hour, cell in enumerate(cells[:24]):
            row = by_hour[weekday, hour]
            total, gone = int(row["totalQueueSegments"]), int(row["queueSegmentsAbandonedByConsumers"])
            assert bool(row["abandonedQueueSegmentsPercent"]) == bool(total) == bool(cell)
            if total:
                some += 1
                percent = float(row["abandonedQueueSegmentsPercent"])
                assert percent == pytest.approx(100 * gone / total)
                assert cell == f"{percent:.0f} %, {gone:,} of {total:,} abandoned in queue"
    assert some > 5
    long = site.get("/weekdays.csv?from=2024-01-01T00:00&to=2026-11-20T00:00")
    assert long.status_code == 400
    assert "from: must be at most 400 days before to" in text(long.text)


def test_the_bars_of_a_day_are_a_row_each(site: Site) -> None:
    page = site.get(DAY).text
    rows = read(site.get(link(page, "focus, handle-time units and idle gaps, one by one")))
    assert [row["startTime"] for row in rows] == sorted(row["startTime"] for row in rows)
    by = read(site.get(link(page, "by conversation")))
    for told in by:
        on = told["focusOn"], told["conversationId"]
        for stretch, count, sum_ in (
            ("focus", "focusStretches", "focusMillis"),
            ("handleTimeUnit", "handleTimeUnits", "totalHandleTimeMillis"),
        ):
            mine = [row for row in rows if (row["focusOn"], row["conversationId"]) == on and row["stretch"] == stretch]
            assert (len(mine), sum(int(row["durationMillis"]) for row in mine)) == (
                int(told[count] or 0),
                int(told[sum_] or 0),
            )
    focus = sum(int(row["durationMillis"]) for row in rows if row["stretch"] == "focus")
    assert focus == NOW - round(datetime(2026, 11, 20, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000), "all of it"


def test_files_have_all_rows_where_the_page_has_some(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: seen(site, SHOWN[name])[1] for name in ("now-agents", "now-looking", "transfers", "agent-day")}
    waits, kinds = seen(site, SHOWN["why-waits"])[1], seen(site, SHOWN["peers"])[1]
    monkeypatch.setattr(live, "AGENTS_MAX", 1)
    monkeypatch.setattr(weekdays, "TRANSFERS_MAX", 1)
    monkeypatch.setattr(agent_day, "SHOWN", 1)
    monkeypatch.setattr(why, "WAITS_MAX", 1)
    for name, rows in {**whole, "why-waits": waits}.items():
        page, few = seen(site, SHOWN[name])
        assert len(few) < len(rows), name
        assert [SHOWN[name].says(row) for row in read(site.get(link(page, SHOWN[name].what)))] == rows
    monkeypatch.setattr("handletime.web.tables.SHOWN", 1)
    page, few = seen(site, SHOWN["peers"])
    assert len(few) == 1
    assert len(read(site.get(link(page, "beside the peers")))) == len(kinds)
    monkeypatch.setattr(one_agent, "LEVELS_MAX", 1)
    assert len(read(site.get("/at-once.csv?last=24h&agent=8&tz=UTC"))) >= 1


def test_what_is_left_out_of_very_many_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(read(site.get(link(site.get("/open?tz=UTC").text, "open conversations"))))
    monkeypatch.setattr("handletime.store.now.OPEN_MAX", 2)
    monkeypatch.setattr(site.world.service, "_open_lately", live.LastRead())
    for path in ("/?last=24h&tz=UTC", "/open?tz=UTC"):
        says = f"{whole - 2} more conversations are open that were opened before all of these"
        assert says in site.get(path).text


def test_moments_are_utc_in_csv_and_on_the_clock_of_the_page_in_a_workbook(site: Site) -> None:
    page = site.get(WHY).text
    first, *_ = read(site.get(link(page, "event by event")))
    opened = NOW - 10 * HOUR + 50 * MINUTE
    assert first["time"] == rfc_3339(opened) == "2026-11-20T02:50:00.000Z"
    _, row, *_ = cells_of(site.get(link(page, "event by event", "xlsx")).content)
    assert row[0] == in_workbook(first["time"], "time")
    segments = read(site.get(link(page, "agent segments")))
    assert [row["startTime"] for row in segments] == [rfc_3339(opened + 1000), rfc_3339(opened + 3000)]
    slowest = read(site.get(link(site.get(AGENT).text, "the slowest answers")))
    assert {row["conversationId"]: row["endTime"] for row in slowest} == {
        f"seven{number}": rfc_3339(NOW - 10 * HOUR + (number * 10 + 2) * MINUTE + (42 + number) * 1000)
        for number in (0, 1)
    }


# --- asked in a wrong way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/peers.csv", "agent: is required"),
        ("/at-once.xlsx", "agent: is required"),
        ("/agent-day.csv", "agent: is required"),
        ("/agent-day-stretches.csv?agent=7&day=tomorrow", "day: must be a date such as 2026-11-20"),
        ("/why-events.csv", "conversation: is required"),
        ("/slowest.csv?from=2026-11-20T10:00&to=2026-11-19T10:00", "from: must be before to"),
        ("/transfers.csv?skill=Nobody", "no skill is called “Nobody”"),
        ("/now-skills.csv?skill=Nobody", "no skill is called “Nobody”"),
    ],
)
def test_what_cannot_be_is_told(path: str, cause: str, site: Site) -> None:
    answer = site.get(path)
    assert answer.status_code == 400
    assert cause in text(answer.text)


def test_nothing_is_an_empty_table(site: Site) -> None:
    """With its columns."""
    for path in ("/slowest.csv?skill=77", "/peers.csv?agent=99", "/at-once.csv?agent=77", "/now-bots.csv?skill=77"):
        answer = site.get(path)
        assert read(answer) == []
        assert "," in answer.text
    assert site.get("/why-events.csv?conversation=none").status_code == 404


def test_names_cannot_be_formulas(site: Site) -> None:
    answer = site.get("/now-agents.csv")
    assert '"\'=Ada, Jackdaw"' in answer.text
    book = cells_of(site.get("/now-agents.xlsx").content)
    assert "=Ada, Jackdaw" in [row[1] for row in book], "a text"


# --- workbooks -------------------------------------------------------------------------------------------------------

COMPARED: Final = f"{SPAN}&compare=previous"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (f"/agents?{COMPARED}&columns=all", "Agents, agent segments"),
        (f"/agents?{COMPARED}&columns=all&agent=7", "By skill, agent segments"),
        (f"/skills?{COMPARED}&columns=all", "Skills, skill segments"),
        (f"/skills?{COMPARED}", "By skill, agent segments"),
        (f"/skills?{COMPARED}&skill=10", "By agent, agent segments"),
        (f"/segments?{SPAN}", "agent segments"),
        (f"/skill-segments?{SPAN}", "skill segments"),
        (f"/skills?{COMPARED}&skill=10", "skill segments by interval"),
        (f"/agents?{COMPARED}&agent=7", "agent segments by interval"),
        ("/open", "open conversations"),
    ],
)
def test_other_tables_have_the_same_in_both_forms(path: str, what: str, site: Site) -> None:
    page = site.get(path).text
    rows = read(site.get(link(page, what)))
    names, *cells = cells_of(site.get(link(page, what, "xlsx")).content)
    assert names == [heading(name) for name in rows[0]]
    wanted = [[in_workbook(cell, name) for name, cell in row.items()] for row in rows]
    assert [[*row, *[None] * (len(names) - len(row))] for row in cells] == wanted


def test_a_workbook_shows_times_shares_and_moments_as_such(site: Site) -> None:
    page = site.get(f"/agents?{COMPARED}&columns=all").text
    found = formats_of(site.get(link(page, "Agents, agent segments", "xlsx")).content)
    assert found["avgHandleTime"] == found["medianFirstResponse"] == {"[h]:mm:ss"}
    assert found["avgTimeToResponseFromAgentAssignment"] == {"[h]:mm:ss"}, "its name has no unit"
    assert found["interactiveAgentSegmentPercent"] == {"0.0 %"}
    assert found["totalAgentConversationSegments"] == found["agentId"] == {""}
    waits = formats_of(site.get(link(site.get(f"/waits?{SPAN}").text, "waits", "xlsx")).content)
    assert waits["targetTime"] == waits["elapsed"] == {"[h]:mm:ss"}
    assert waits["waitingSince"] == {"yyyy-mm-dd hh:mm:ss"}
    weekdays = site.get(f"/weekdays.xlsx?{SPAN}").content
    assert formats_of(weekdays)["abandonedQueueSegmentsPercent"] == {"0.0 %"}
    names, *cells = cells_of(weekdays)
    place = names.index("abandonedQueueSegmentsPercent")
    assert {0.0, 1.0} <= {row[place] for row in cells if len(row) > place}


def test_the_workbook_of_the_api_has_the_values_as_they_are(site: Site) -> None:
    """Programs read it."""
    query = f"from={NOW - DAY_MILLIS}&to={NOW}&by=agent&metrics=avgHandleTimeMillis,interactiveAgentSegmentPercent"
    path = f"/api/account/acme/report?{query}&format="
    headers = token("acme", "operations")
    rows = site.world.client.get(path + "json", headers=headers).json()
    assert len(rows) > 2
    book = site.world.client.get(path + "xlsx", headers=headers).content
    names, *cells = cells_of(book)
    assert names == list(rows[0])
    found = [dict(zip(map(str, names), [*row, *[None] * len(names)], strict=False)) for row in cells]
    assert found == [{name: pytest.approx(value) for name, value in row.items()} for row in rows]
    sheets = [each.attrib["name"] for each in part_of(book, "workbook").iterfind("sheets/sheet", SPACE)]
    assert sheets == ["report"]


def test_a_workbook_is_ready_to_be_read(site: Site) -> None:
    """Its headings stay in sight and can be seen whole, and its rows can be filtered."""
    book = site.get(link(site.get(f"/agents?{SPAN}").text, "Agents, agent segments", "xlsx")).content
    names, *cells = cells_of(book)
    sheet = part_of(book, "worksheets/sheet1")
    pane, filtered = (sheet.find(path, SPACE) for path in ("sheetViews/sheetView/pane", "autoFilter"))
    assert pane is not None
    assert pane.attrib["state"] == "frozen"
    assert filtered is not None
    assert filtered.attrib["ref"].startswith("A1:")
    assert filtered.attrib["ref"].endswith(str(len(cells) + 1))
    widths = [float(each.attrib["width"]) for each in sheet.iterfind("cols/col", SPACE)]
    assert len(set(widths)) > 1
    assert all(2 * width > len(str(name)) for width, name in zip(widths, names, strict=False))
    sheets = [each.attrib["name"] for each in part_of(book, "workbook").iterfind("sheets/sheet", SPACE)]
    assert sheets == ["Agents", "About"]
    assert all(len(title) <= 31 for title in TITLES.values())


def test_a_workbook_says_what_it_is_of(site: Site) -> None:
    span = "from=2026-11-20T03:30&to=2026-11-20T05:00"
    page = site.get(f"/agents?{span}&skill={BILLING}&find=ada&compare=previous").text
    said = about(site.get(link(page, "Agents, agent segments", "xlsx")).content)
    assert said["Account"] == "acme"
    assert said["Table"] == "Agents"
    assert said["Period"] == "2026-11-20 03:30 – 2026-11-20 05:00"
    assert said["Time zone"] == "Europe/Berlin"
    assert said["Filters"] == "skill: Billing (10); user type: human; agent found by: ada"
    assert said["Rows"] == "1"
    assert said["Made"] == "2026-11-20 13:00:00"
    assert said["…Previous"] == "The same, of what it is compared with: 2026-11-20 02:00 – 2026-11-20 03:30"
    assert said["avgHandleTime"] == METRICS["avgHandleTimeMillis"].meaning
    assert "…Previous" not in about(site.get(f"/segments.xlsx?{SPAN}&compare=week").content)
    waits = about(site.get(f"/waits.xlsx?{SPAN}&clock=queueWait&verdict=missed").content)
    assert waits["Filters"].startswith("of: wait in the queue; verdict: ")  # type: ignore[attr-defined]
    assert about(site.get(f"/open.xlsx?state=queued&skill={CARE}").content)["Filters"] == "only: in queue; skill: 20"
    assert about(site.get("/why-events.xlsx?conversation=seven5").content)["Filters"] == "conversation: seven5"


def test_a_file_is_not_compared_with_a_time_before_all_data(site: Site) -> None:
    for table in ("agents", "skills", "history", "transfers", "weekdays", "at-once", "peers"):
        span = f"{SPAN}&agent=7" if table in ("at-once", "peers") else SPAN
        names, *_ = site.get(f"/{table}.csv?{span}&compare=year").text.splitlines()
        assert "Previous" not in names, table
    for path in ("/segments", "/skill-segments", "/agents"):
        assert "There is nothing to compare with" in site.get(f"{path}?{SPAN}&compare=year").text


def test_only_filters_that_count_are_named(site: Site) -> None:
    filters = about(site.get(f"/transfers.xlsx?{SPAN}&skill={CARE}&userType=bot").content)["Filters"]
    assert filters == f"skill: {CARE}"
    assert "user type: bot" in str(about(site.get(f"/weekdays.xlsx?{SPAN}&userType=bot").content)["Filters"])
    zone = about(site.get("/why-waits.xlsx?conversation=seven5").content)["Time zone"]
    assert zone == f"{ZONE}; of texts that end in Z UTC"


def test_a_text_is_cut_where_a_cell_cannot_have_it() -> None:
    pieces = workbook("x", [Heading("text"), Heading("whole")], [["a" * 40_000, "b" * 32_767]])
    _, (long, whole) = cells_of(b"".join(pieces))
    assert (long, whole) == (f"{'a' * 32_766}…", "b" * 32_767)


def test_who_is_nobody_has_a_name_as_on_the_page(site: Site) -> None:
    assert AccountLabels().named("skill", -1) == AccountLabels().text("skill", -1) == "no skill"
    assert AccountLabels().named("skill", 7) is None
    rows = read(site.get(f"/segments.csv?{SPAN}"))
    assert {row["group"] for row in rows if row["groupId"] == "-1"} == {"no group"}
    assert any("no group" in row for row in cells_of(site.get(f"/segments.xlsx?{SPAN}").content))


# --- names of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/agents.csv?from=2026-11-16T00:00&to=2026-11-20T00:00", "agents_2026-11-16_2026-11-19.csv"),
        ("/agents.csv?from=2026-11-19T00:00&to=2026-11-20T00:00", "agents_2026-11-19.csv"),
        ("/segments.xlsx?from=2026-11-16T14:00&to=2026-11-17T09:30", "segments_2026-11-16T14-00_2026-11-17T09-30.xlsx"),
        ("/now-agents.csv?", "now-agents_2026-11-20T13-00.csv"),
        ("/skills.csv?from=2026-11-19T00:00&to=2026-11-20T00:00", "skills_2026-11-19.csv"),
        ("/skills.csv?from=2026-11-19T00:00&to=2026-11-20T00:00&table=2", "skills-agent-segments_2026-11-19.csv"),
        ("/skills.csv?from=2026-11-19T00:00&to=2026-11-20T00:00&table=2&skill=10", "skills-by-agent_2026-11-19.csv"),
        ("/agents.csv?from=2026-11-19T00:00&to=2026-11-20T00:00&table=2&agent=7", "agents-by-skill_2026-11-19.csv"),
        ("/history.csv?from=2026-11-19T00:00&to=2026-11-20T00:00&of=skill", "history-skill-segments_2026-11-19.csv"),
    ],
)
def test_a_file_is_called_after_its_table_and_the_days_of_the_page(path: str, name: str, site: Site) -> None:
    answer = site.get(path)
    assert answer.headers["content-disposition"] == f'attachment; filename="acme_{name}"'


def test_intervals_are_utc_in_csv_and_on_the_clock_of_the_page_in_a_workbook(site: Site) -> None:
    path = "/history.{}?from=2026-11-19T00:00&to=2026-11-20T00:00&interval=day"
    (row,) = read(site.get(path.format("csv")))
    assert (row["intervalStart"], row["intervalEnd"]) == ("2026-11-18T23:00:00.000Z", "2026-11-19T23:00:00.000Z")
    _, cells = cells_of(site.get(path.format("xlsx")).content)
    assert cells[0] == (datetime(2026, 11, 19) - datetime(1899, 12, 30)) / timedelta(days=1)


def test_a_wall_gives_no_files(site: Site) -> None:
    assert "download" not in site.get("/?kiosk=1").text
