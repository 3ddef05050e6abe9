"""What the page of one agent says: where a handle time other than the peers' comes from, and conversations at once."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Final, NamedTuple

from handletime.answers.agent_day import last_end
from handletime.answers.at_once import AtOnce, at_once
from handletime.answers.difference import Difference, difference
from handletime.answers.flat import Namer
from handletime.answers.labels import AccountLabels
from handletime.answers.peers import Beside, Handled, Parts, beside_peers, parts_of, telling
from handletime.answers.registry import METRICS, Metric
from handletime.answers.words import NO_FOCUS_DATA, NONE, count, duration, local, no_focus_data_of
from handletime.api.ports import Reader
from handletime.web.sheet import Sheet, compared_cells, compared_names
from handletime.web.view import View

ALIKE: Final = 0.1
"""Averages are called alike where they differ by at most this share of the peers'."""
SHOWN: Final = 12
"""Rows that are seen at once; the others are one step away."""
LEVELS_MAX: Final = 12
"""Numbers of conversations at once that have a row each; what is more shares one."""
FOLLOWED: Final = {
    "newConversation": "followed the opening of a new conversation",
    "resume": "followed a resumption",
    "transfer": "followed a transfer",
    "takeover": "followed a takeover",
}
MEANINGS: Final = {
    "kind": "Segments of one skill that follow the same: a new conversation, a resumption, a transfer or a takeover",
    "peers": "The other human agents with segments in the same skills in this span, all their segments in these skills "
    "together",
    "share": "How many of all segments in the table are of this kind",
    "average, median": "Of the handle times of segments with focus data; n says how many these are",
    "mix and within": "The difference of the averages, in two parts that add up to it: other shares of the kinds (each "
    "at the mean of both averages), and other averages within the kinds (each at the mean of both shares)",
}


class Differs(NamedTuple):
    """How the number of segments and their handle times differ from what the view is compared with, if it is."""

    segments: Difference | None = None
    average: Difference | None = None
    median: Difference | None = None


class Side(NamedTuple):
    """What one row says of the agent, or of the peers; and how it differs from what the view is compared with."""

    segments: str
    share: str
    average: str
    known: str
    median: str
    differs: Differs = Differs()


class Line(NamedTuple):
    """One kind of segments: `skill` None is all of them together."""

    skill: int | None
    follows: str
    own: Side
    peers: Side


class BesidePeers(NamedTuple):
    """The table of kinds, the sentence above it, and who the peers are."""

    says: str
    peers: str
    lines: list[Line]
    total: Line


class Level(NamedTuple):
    """So many conversations at once: for how long, its share of the assigned time, and the length of its bar."""

    number: str
    time: str
    share: str
    percent: float
    differs: Difference | None = None


class Levels(NamedTuple):
    """Conversations at once, how many on average, and how that differs from what the view is compared with."""

    mean: str
    assigned: str
    lines: list[Level]
    differs: Difference | None = None


class OneAgent(NamedTuple):
    """What the page of one agent has beside its charts and tables; None where there is nothing of it."""

    beside: BesidePeers | None
    levels: Levels | None
    day: date
    """The last day of the view on which a segment of the agent ended, else its last one."""


def one_agent_of(reader: Reader, view: View, agent: int, labels: AccountLabels) -> OneAgent:
    """What there is to say of an agent in a view."""
    of = view.agent_segments
    with reader.snapshot() as snapshot:
        found, levels = beside_peers(snapshot, of, agent), at_once(snapshot, of)
        before = view.before(of)
        found_before = None if before is None else beside_peers(snapshot, before, agent)
        levels_before = None if before is None else at_once(snapshot, before)
        last = last_end(snapshot, of)
    day = local(view.end - 1 if last is None else last, view.zone).date()
    return OneAgent(beside_of(found, agent, labels, found_before), levels_of(levels, levels_before), day)


def beside_of(beside: Beside, agent: int, labels: AccountLabels, before: Beside | None = None) -> BesidePeers | None:
    """An agent's segments beside the peers' in words, and beside those of before; None where there are none."""
    if not beside.own.segments:
        return None
    then = None if before is None else _by_kind(before)

    def line(skill: int | None, follows: str, own: Handled, peers: Handled) -> Line:
        earlier = None if then is None else then.get((skill, follows), _NOBODY)
        sides = zip((own, peers), (beside.own, beside.peers), earlier or (None, None), strict=True)
        return Line(skill, follows, *(_side(*each) for each in sides))

    lines = [line(*kind) for kind in beside.kinds]
    return BesidePeers(
        said(beside, agent, labels), count(beside.peer_count, "peer"), lines, line(None, "", beside.own, beside.peers)
    )


_NOBODY: Final = (Handled(), Handled())


def _by_kind(beside: Beside) -> dict[tuple[int | None, str], tuple[Handled, Handled]]:
    """The agent's segments and the peers' by kind, and all together as that of no skill."""
    found: dict[tuple[int | None, str], tuple[Handled, Handled]] = {(None, ""): (beside.own, beside.peers)}
    return found | {(kind.skill, kind.follows): (kind.own, kind.peers) for kind in beside.kinds}


def _side(of: Handled, whole: Handled, before: Handled | None = None) -> Side:
    differs = Differs() if before is None else _differs(of, before)
    share = _share(of.segments, whole.segments)
    if not of.segments:
        return Side("0", NONE if not whole.segments else "0 %", NONE, "", NONE, differs)
    if of.average is None or of.median is None:
        return Side(f"{of.segments:,}", share, NO_FOCUS_DATA, "", NONE, differs)
    known = f"n {of.known:,}"
    return Side(f"{of.segments:,}", share, duration(of.average), known, duration(of.median), differs)


_SEGMENTS: Final = METRICS["totalAgentConversationSegments"]
_AVERAGE: Final = METRICS["avgHandleTimeMillis"]
_MEDIAN: Final = METRICS["medianHandleTimeMillis"]


def _differs(of: Handled, before: Handled) -> Differs:
    return Differs(
        difference(_SEGMENTS, of.segments, before.segments),
        difference(_AVERAGE, of.average, before.average),
        difference(_MEDIAN, of.median, before.median),
    )


def _percent(of: int, whole: int) -> float | None:
    return 100 * of / whole if whole else None


def _share(of: int, whole: int) -> str:
    """A share in percent; what is there is never 0 %, and what is not all never 100 %."""
    percent = _percent(of, whole)
    if percent is None:
        return NONE
    if 0 < percent < 1:
        return "<1 %"
    return ">99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def said(beside: Beside, agent: int, labels: AccountLabels) -> str:
    """Where the difference to the peers lies, in a few plain words."""
    own, peers = beside.own, beside.peers
    if own.average is None:
        return f"{no_focus_data_of(labels.text('agent', agent))}."
    mine = f"Handle time is {duration(own.average)} on average"
    if not peers.segments:
        return f"{mine}. Nobody else has segments in the same skills, so there is nobody to compare with."
    parts = parts_of(beside)
    if parts is None or peers.average is None or not own.mean or not peers.mean:
        return f"{mine}. Of the peers no handle time is known." if peers.average is None else f"{mine}."
    ratio = own.mean / peers.mean
    return " ".join(
        [
            f"{mine}, {_compared(ratio)} ({duration(peers.average)}).",
            *([_told(beside, parts, labels)] if abs(parts.mix) > ALIKE * peers.mean else []),
            _from(beside, parts, peers.mean),
        ]
    ).replace("  ", " ")


def _compared(ratio: float) -> str:
    if abs(ratio - 1) <= ALIKE:
        return "like that of the peers"
    if ratio >= 1.5:
        return f"{ratio:.1f} times that of the peers"
    return f"{abs(ratio - 1) * 100:.0f} % {'longer' if ratio > 1 else 'shorter'} than that of the peers"


def _told(beside: Beside, parts: Parts, labels: AccountLabels) -> str:
    """`270 of 274 segments followed a takeover (peers: 3 %).`; "" where nothing of the mix says most."""
    most = telling(beside, parts)
    if most is None:
        return ""
    skill = most.skill or 0
    named = "skill " if labels.name("skill", skill) else ""
    what = FOLLOWED[most.follows] if most.follows else f"were of {named}{labels.text('skill', skill)}"
    all_, whole = beside.own.segments, f"{beside.own.segments:,}"
    some = f"All {whole}" if most.own == all_ else f"{most.own:,} of {whole}"
    return f"{some} segments {what} (peers: {_share(most.peers, beside.peers.segments)})."


def _from(beside: Beside, parts: Parts, peers: float) -> str:
    """How much comes from another mix of kinds, and how much from handling within them."""
    mix_is_alike, within_is_alike = (abs(each) <= ALIKE * peers for each in parts)
    mix = f"Another mix of kinds makes it {_by(parts.mix)}"
    if not any(kind.own.known and kind.peers.known for kind in beside.kinds):
        return "The peers have no segments of the same kinds, so it cannot be said who handles them longer."
    if mix_is_alike and within_is_alike:
        return "Neither the mix of kinds nor the handle time within them makes much of a difference."
    if within_is_alike:
        return f"{mix}. Within the same kinds the handle time is alike."
    if mix_is_alike:
        return (
            f"The mix of kinds makes little difference; within the same kinds the handle time is {_by(parts.within)}."
        )
    return f"{mix}, handling within the same kinds {_by(parts.within)}."


def _by(millis: float) -> str:
    return f"{duration(abs(millis))} {'longer' if millis > 0 else 'shorter'}"


def levels_of(found: AtOnce, before: AtOnce | None = None) -> Levels | None:
    """Conversations at once in words, beside those of before; None where there were none."""
    whole, mean = found.assigned, found.mean
    if mean is None:
        return None
    most = max(found.times)
    times, then = _rows_of(found), _rows_of(before)
    shown = {number: times[number] for number in range(1, min(most, LEVELS_MAX + 1) + 1)}
    names = {LEVELS_MAX + 1: f"{LEVELS_MAX + 1} to {most}"} if most > LEVELS_MAX + 1 else {}
    lines = []
    for number, time in shown.items():
        percent = 100 * time / whole
        differs = None if before is None else difference(_SHARE, percent, _percent(then[number], before.assigned))
        level = Level(names.get(number, f"{number}"), duration(time), _share(time, whole), round(percent, 2), differs)
        lines.append(level)
    differs = None if before is None else difference(_AT_ONCE, mean, before.mean)
    return Levels(f"{mean:.1f}", duration(whole), lines, differs)


def _rows_of(found: AtOnce | None) -> Counter[int]:
    """For how long so many conversations were assigned at once, by the numbers that have a row."""
    times = Counter[int]()
    for number, time in found.times.items() if found else ():
        times[min(number, LEVELS_MAX + 1)] += time
    return times


_AT_ONCE: Final = Metric("conversationsAtOnce", "Conversations at once, on average", unit="responses")
_SHARE: Final = Metric("durationPercent", "Share of the time in which any was assigned", unit="percent")


# --- as files --------------------------------------------------------------------------------------------------------


def peers_sheet(reader: Reader, view: View, name: Namer) -> Sheet:
    """The segments of a view's agent beside the peers', by skill and by what they follow."""
    with reader.snapshot() as snapshot:
        of, agent = view.agent_segments, view.agent or 0
        before = view.before(of)
        found = [beside_peers(snapshot, each, agent) for each in (of, before) if each is not None]
    windows = [(each, _by_kind(each)) for each in found]
    rows = [
        [
            *(kind.skill, name("skill", kind.skill), kind.follows),
            *compared_cells(*(_kind_cells(each, by.get(kind[:2], _NOBODY)) for each, by in windows)),
        ]
        for kind in (found[0].kinds if found[0].own.segments else ())
    ]
    of_peers = [f"peers{each[0].upper()}{each[1:]}" for each in _SIDE_NAMES]
    names = ("skillId", "skill", "follows", *compared_names([*_SIDE_NAMES, *of_peers], compared=before is not None))
    return Sheet("peers", view.start, view.end, names, rows)


_SIDE_NAMES: Final = (
    *("segments", "segmentsPercent", "segmentsWithFocusData"),
    *("avgHandleTimeMillis", "medianHandleTimeMillis"),
)


def _kind_cells(of: Beside, both: tuple[Handled, Handled]) -> list[object]:
    own, peers = both
    return [*_side_cells(own, of.own), *_side_cells(peers, of.peers)]


def _side_cells(of: Handled, whole: Handled) -> list[object]:
    return [of.segments, _percent(of.segments, whole.segments), of.known, of.average, of.median]


def at_once_sheet(reader: Reader, view: View) -> Sheet:
    """For how long so many conversations were assigned to a view's agent at once: every number from one on."""
    with reader.snapshot() as snapshot:
        found, before = at_once(snapshot, view.agent_segments), view.before(view.agent_segments)
        then = None if before is None else at_once(snapshot, before)
    windows = [found] if then is None else [found, then]
    rows = [
        [
            number,
            *compared_cells(
                *((each.times.get(number, 0), _percent(each.times.get(number, 0), each.assigned)) for each in windows)
            ),
        ]
        for number in range(1, max(found.times, default=0) + 1)
    ]
    names = ["conversationsAtOnce", *compared_names(["durationMillis", "durationPercent"], compared=then is not None)]
    return Sheet("at-once", view.start, view.end, names, rows)
