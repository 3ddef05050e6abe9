"""What the page of one agent says: where a handle time other than the peers' comes from, and conversations at once."""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple

from handletime.answers.agent_day import last_end
from handletime.answers.at_once import AtOnce, at_once
from handletime.answers.difference import Difference, difference
from handletime.answers.flat import Namer
from handletime.answers.labels import AccountLabels
from handletime.answers.peers import Beside, Handled, Parts, beside_peers, parts_of, telling
from handletime.answers.registry import Metric
from handletime.answers.words import NO_FOCUS_DATA, NONE, count, duration, local, no_focus_data_of
from handletime.api.ports import Reader
from handletime.web.sheet import Sheet
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


class Side(NamedTuple):
    """What one row says of the agent, or of the peers."""

    segments: str
    share: str
    average: str
    known: str
    median: str


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
        beside = beside_peers(snapshot, of, agent)
        levels, before = at_once(snapshot, of), view.before(of)
        then = None if before is None else at_once(snapshot, before)
        last = last_end(snapshot, of)
    day = local(view.end - 1 if last is None else last, view.zone).date()
    return OneAgent(beside_of(beside, agent, labels), levels_of(levels, then), day)


def beside_of(beside: Beside, agent: int, labels: AccountLabels) -> BesidePeers | None:
    """An agent's segments beside the peers' in words; None where there are none."""
    if not beside.own.segments:
        return None

    def line(skill: int | None, follows: str, own: Handled, peers: Handled) -> Line:
        return Line(skill, follows, _side(own, beside.own), _side(peers, beside.peers))

    lines = [line(*kind) for kind in beside.kinds]
    return BesidePeers(
        said(beside, agent, labels), count(beside.peer_count, "peer"), lines, line(None, "", beside.own, beside.peers)
    )


def _side(of: Handled, whole: Handled) -> Side:
    if not of.segments:
        return Side("0", NONE if not whole.segments else "0 %", NONE, "", NONE)
    if of.average is None or of.median is None:
        return Side(f"{of.segments:,}", _percent(of, whole), NO_FOCUS_DATA, "", NONE)
    known = f"n {of.known:,}"
    return Side(f"{of.segments:,}", _percent(of, whole), duration(of.average), known, duration(of.median))


def _percent(of: Handled, whole: Handled) -> str:
    return _share(of.segments, whole.segments)


def _share(of: int, whole: int) -> str:
    """A share in percent; what is there is never 0 %, and what is not all never 100 %."""
    if not whole:
        return NONE
    percent = 100 * of / whole
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
    shown = {number: found.times.get(number, 0) for number in range(1, min(most, LEVELS_MAX) + 1)}
    lines = [_level(f"{number}", time, whole) for number, time in shown.items()]
    rest = whole - sum(shown.values())
    if rest:
        lines.append(_level(f"{LEVELS_MAX + 1} to {most}" if most > LEVELS_MAX + 1 else f"{most}", rest, whole))
    differs = None if before is None else difference(_AT_ONCE, mean, before.mean)
    return Levels(f"{mean:.1f}", duration(whole), lines, differs)


_AT_ONCE: Final = Metric("conversationsAtOnce", "Conversations at once, on average", unit="responses")


def _level(number: str, time: int, whole: int) -> Level:
    return Level(number, duration(time), _share(time, whole), round(100 * time / whole, 2))


# --- as files --------------------------------------------------------------------------------------------------------


def peers_sheet(reader: Reader, view: View, name: Namer) -> Sheet:
    """The segments of a view's agent beside the peers', by skill and by what they follow."""
    with reader.snapshot() as snapshot:
        beside = beside_peers(snapshot, view.agent_segments, view.agent or 0)
    rows = [
        [
            *(kind.skill, name("skill", kind.skill), kind.follows),
            *(*_side_cells(kind.own, beside.own), *_side_cells(kind.peers, beside.peers)),
        ]
        for kind in (beside.kinds if beside.own.segments else ())
    ]
    of_peers = [f"peers{each[0].upper()}{each[1:]}" for each in _SIDE_NAMES]
    return Sheet("peers", view.start, view.end, ("skillId", "skill", "follows", *_SIDE_NAMES, *of_peers), rows)


_SIDE_NAMES: Final = (
    *("segments", "segmentsPercent", "segmentsWithFocusData"),
    *("avgHandleTimeMillis", "medianHandleTimeMillis"),
)


def _side_cells(of: Handled, whole: Handled) -> list[object]:
    percent = 100 * of.segments / whole.segments if whole.segments else None
    return [of.segments, percent, of.known, of.average, of.median]


def at_once_sheet(reader: Reader, view: View) -> Sheet:
    """For how long so many conversations were assigned to a view's agent at once: every number from one on."""
    with reader.snapshot() as snapshot:
        found, before = at_once(snapshot, view.agent_segments), view.before(view.agent_segments)
        then = None if before is None else at_once(snapshot, before)
    times = [(number, found.times.get(number, 0)) for number in range(1, max(found.times, default=0) + 1)]
    rows = [
        [number, time, 100 * time / found.assigned, *(() if then is None else (then.times.get(number, 0),))]
        for number, time in times
    ]
    names = [*("conversationsAtOnce", "durationMillis", "durationPercent")]
    names += [] if then is None else ["durationMillisPrevious"]
    return Sheet("at-once", view.start, view.end, names, rows)
