"""What workforce tools forecast from: contacts and handle time by skill and interval, in files that two of them import.

Formats and their sources: docs/workforce.md. Everything is summed in milliseconds and rounded to seconds once for each
cell. Queue segments count where they start as offered, and where they end as answered, abandoned or passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from handletime.answers.handled import handled_in_intervals
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.answers.sums import I64, Texts
from handletime.answers.terms import LENGTH
from handletime.answers.words import count, local
from handletime.clock import MINUTE, SECOND

Format = Literal["genesys", "calabrio"]
FORMATS: Final[tuple[Format, ...]] = ("genesys", "calabrio")
INTERVALS: Final[dict[Format, tuple[int, ...]]] = {"genesys": (15,), "calabrio": (15, 30, 60)}
"""The lengths of intervals that a format takes, in minutes; the first where none is asked for."""
UTC: Final = ZoneInfo("UTC")
NO_SKILL: Final = -1
NAME_MAX: Final = 30
"""The longest name of a queue that every import of queue data takes."""
GENESYS: Final = (
    *("Interval Start UTC Date", "Queue", "Media Type", "Skill Set", "Language"),
    *("Offered", "Interactions Handled", "Total Handle Time"),
)
"""The header of the file for Genesys Cloud."""
_FORBIDDEN: Final = re.compile(r"""[\s{^}%`\]">/:\[~<#|]""")
"""What Genesys Cloud takes in no name of a file."""
# The SQL below is made of constants.
# ruff: noqa: S608


class Rules(NamedTuple):
    """What is counted how. Waits in milliseconds.

    `split` gives handle time to the intervals that it lies in, else to that in which its segment ends. `re_entries`
    counts those who come back to the queue too. `target` is the longest wait within the service level; who gives up
    earlier than `short` hardly waited.
    """

    split: bool = False
    re_entries: bool = False
    target: int = 60 * SECOND
    short: int = 5 * SECOND


SUMS: Final = (
    *("direct", "overflowIn", "answered", "abandoned", "overflowOut", "answeredWait", "abandonedWait"),
    *("withinTarget", "abandonedShort", "abandonedWithinTarget", "handled", "handleTime"),
)
LONGEST: Final = ("longestAnswered", "longestAbandoned")


class Cells(NamedTuple):
    """Numbers by skill (rows) and interval (columns), under the names of `SUMS` and `LONGEST`; and what is left out."""

    bounds: Sequence[int]
    skills: list[int]
    numbers: dict[str, I64]
    left_out: list[str]


def cells(snapshot: Snapshot, of: Selection, rules: Rules) -> Cells:
    """The cells of the intervals between the bounds, which lie on whole minutes."""
    human = of._replace(user_type="human")
    found = [_starts(snapshot, human, rules), _ends(snapshot, human, rules), _handled(snapshot, human)]
    if rules.split:
        found[2].pop("handleTime")
        found.append(_split(snapshot, human))
    every = np.concatenate([each["skillId"] for each in found])
    wanted = np.unique(every) if of.skills is None else np.intersect1d(every, of.skills)
    skills = [skill for skill in wanted.tolist() if skill != NO_SKILL]
    shape = (len(skills), len(of.bounds) - 1)
    numbers = {name: np.zeros(shape, np.int64) for name in (*SUMS, *LONGEST)}
    for rows in found:
        known = np.isin(rows["skillId"], skills)
        at = np.searchsorted(np.array(skills, np.int64), rows["skillId"][known])
        places = rows["place"][known]
        for name, values in rows.items():
            if name in SUMS:
                np.add.at(numbers[name], (at, places), values[known])
            elif name in LONGEST:
                np.maximum.at(numbers[name], (at, places), values[known])
    return Cells(of.bounds, skills, numbers, list(_left_out(snapshot, human, found)))


_ENTERS: Final = "follows in ('newConversation', 'resume', 'skillTransfer')"


def _starts(snapshot: Snapshot, of: Selection, rules: Rules) -> dict[str, I64]:
    """Those who come to the queue, also those who wait still."""
    direct = "follows <> 'skillTransfer'" if rules.re_entries else "follows in ('newConversation', 'resume')"
    # Values that are bound as `start` and `end` would be of rows that end in between.
    return _by_minute(
        snapshot,
        """(select skillId, follows, start from queue_segments
                where "end" is not null and toUserType is distinct from 'bot'
            union all select skillId, follows, start from running_queue_segments)""",
        "start",
        "start >= $first and start < $last",
        {"first": instant_of(of.start), "last": instant_of(of.end)},
        {"direct": f"count(*) filter ({direct})", "overflowIn": "count(*) filter (follows = 'skillTransfer')"},
        of,
    )


def _ends(snapshot: Snapshot, of: Selection, rules: Rules) -> dict[str, I64]:
    """How it went on for them."""
    condition = of.condition("queueSegments")
    wait = f"({LENGTH})"
    answered, abandoned = "endReason = 'assigned'", "endReason = 'closedByConsumer'"
    short, within = f"{wait} < $short", f"{wait} <= $target"
    return _by_minute(
        snapshot,
        "queue_segments",
        '"end"',
        condition.where if rules.re_entries else f"{condition.where} and {_ENTERS}",
        {**condition.parameters, "short": rules.short, "target": rules.target},
        {
            "answered": f"count(*) filter ({answered})",
            "abandoned": f"count(*) filter ({abandoned})",
            "overflowOut": "count(*) filter (endReason = 'skillTransfer')",
            "answeredWait": f"coalesce(sum({wait}) filter ({answered}), 0)",
            "abandonedWait": f"coalesce(sum({wait}) filter ({abandoned}), 0)",
            "longestAnswered": f"coalesce(max({wait}) filter ({answered}), 0)",
            "longestAbandoned": f"coalesce(max({wait}) filter ({abandoned}), 0)",
            "withinTarget": f"count(*) filter ({answered} and {within})",
            "abandonedShort": f"count(*) filter ({abandoned} and {short})",
            "abandonedWithinTarget": f"count(*) filter ({abandoned} and {within} and not {short})",
        },
        of,
    )


def _handled(snapshot: Snapshot, of: Selection) -> dict[str, I64]:
    """What human agents with focus data handled; others' handle time is unknown, and so they count in neither."""
    condition = of.condition()
    return _by_minute(
        snapshot,
        "agent_segments",
        '"end"',
        condition.where,
        condition.parameters,
        {
            "handled": "count(*) filter (focusData and agentMessages > 0)",
            "handleTime": "coalesce(sum(totalHandleTimeMillis) filter (focusData), 0)",
            "unknown": "count(*) filter (not focusData and agentMessages > 0)",
        },
        of,
    )


def _split(snapshot: Snapshot, of: Selection) -> dict[str, I64]:
    """Handle time in the intervals that it lies in."""
    found = handled_in_intervals(snapshot, ("interval", "skillId"), of, Texts())
    return {
        "place": found.keys["interval"],
        "skillId": found.keys["skillId"],
        "handleTime": found.sums["handleTimeInInterval"],
    }


def _by_minute(
    snapshot: Snapshot,
    relation: str,
    moment: str,
    where: str,
    parameters: dict[str, object],
    terms: dict[str, str],
    of: Selection,
) -> dict[str, I64]:
    """Terms by skill and the place of the interval; borders lie on minutes, so minutes lie in one."""
    columns = ", ".join(f'cast({term} as bigint) as "{name}"' for name, term in terms.items())
    found: dict[str, npt.NDArray[Any]] = snapshot.execute(
        f"""select skillId, epoch_ms({moment}) // {MINUTE} as place, {columns} from {relation}
        where {where} group by 1, 2""",
        parameters,
    ).fetchnumpy()
    arrays = {name: np.asarray(values, np.int64) for name, values in found.items()}
    arrays["place"] = np.searchsorted(np.array(of.bounds), arrays["place"] * MINUTE, "right") - 1
    return arrays


def _left_out(snapshot: Snapshot, of: Selection, found: Sequence[dict[str, I64]]) -> Iterator[str]:
    """What is in no row, in words."""
    starts, _, handled = found[:3]
    without = starts["skillId"] == NO_SKILL
    contacts = int((starts["direct"] + starts["overflowIn"])[without].sum())
    segments = int(handled["handled"][handled["skillId"] == NO_SKILL].sum())
    if contacts or segments:
        yield (
            f"{count(contacts, 'contact')} and {count(segments, 'handled segment')} without a skill (-1) are left out: "
            "a file has rows by skill"
        )
    unknown = int(handled["unknown"].sum())
    if unknown:
        condition = of.condition()
        (agents,) = snapshot.execute(
            f"select count(distinct agentId) from agent_segments where {condition.where} and not focusData",
            condition.parameters,
        ).fetchone() or (0,)
        yield (
            f"{count(agents, 'agent')} without focus data: {count(unknown, 'handled segment')} of unknown handle time "
            "left out, of the handled and of the handle time alike"
        )


# --- files -----------------------------------------------------------------------------------------------------------

Namer = Callable[[int], str | None]
"""The name of a skill; None where it has none."""


def lines(found: Cells, form: Format, interval: int, zone: ZoneInfo, namer: Namer) -> Iterator[str]:
    """The lines of a file, by time and then by skill, also of intervals without contacts."""
    names = {skill: (namer(skill) or f"skill {skill}") for skill in found.skills}
    return _genesys(found, names) if form == "genesys" else _calabrio(found, interval, zone, names)


def is_name_for_genesys(name: str) -> bool:
    """Whether Genesys Cloud takes a file of this name."""
    return _FORBIDDEN.search(name) is None


def _genesys(found: Cells, names: dict[int, str]) -> Iterator[str]:
    from handletime.segments.cells import text_cell

    yield ",".join(GENESYS) + "\r\n"
    numbers = found.numbers
    offered = numbers["direct"] + numbers["overflowIn"]
    for place, start in enumerate(found.bounds[:-1]):
        moment = f"{local(start, UTC):%Y-%m-%dT%H:%M:%SZ}"
        for row, skill in enumerate(found.skills):
            handled, millis = int(numbers["handled"][row, place]), int(numbers["handleTime"][row, place])
            cells_ = (
                moment,
                text_cell(names[skill]),
                "message",
                "",
                "",
                offered[row, place],
                handled,
                _seconds(millis),
            )
            yield ",".join(map(str, cells_)) + "\r\n"


def _calabrio(found: Cells, interval: int, zone: ZoneInfo, names: dict[int, str]) -> Iterator[str]:
    """The hour that the clock shows twice is one row: date and time would be the same in both."""
    clock = [f"{local(start, zone):%Y%m%d;%H:%M}" for start in found.bounds[:-1]]
    shown = sorted({*clock})
    at = np.array([shown.index(each) for each in clock]) if len(shown) < len(clock) else np.arange(len(clock))
    numbers = {}
    for name, values in found.numbers.items():
        together = np.zeros((len(found.skills), len(shown)), np.int64)
        (np.maximum if name in LONGEST else np.add).at(together.T, at, values.T)
        numbers[name] = together
    for place, moment in enumerate(shown):
        for row, skill in enumerate(found.skills):
            of = {name: int(values[row, place]) for name, values in numbers.items()}
            cells_ = (
                *(interval, moment, skill, _plain(names[skill])),
                *(of["direct"], of["overflowIn"], of["abandoned"], of["overflowOut"], of["answered"]),
                *(_seconds(of["answeredWait"]), _seconds(of["abandonedWait"]), _seconds(of["handleTime"]), 0),
                *(_seconds(of["longestAnswered"]), _seconds(of["longestAbandoned"]), 0),
                *(of["withinTarget"], 0, of["abandonedShort"], of["abandonedWithinTarget"]),
            )
            yield ";".join(map(str, cells_)) + "\r\n"


def _plain(name: str) -> str:
    """A name without what separates cells, which no quotes could keep apart; not longer than every import takes."""
    return re.sub(r"[;,\"\r\n\t]+", " ", name).strip()[:NAME_MAX]


def _seconds(millis: int) -> int:
    """Rounded to the nearest second, half up."""
    return (millis + SECOND // 2) // SECOND
