"""What is doubtful about the data behind figures: agents without focus data, and focus that nobody ended."""

from __future__ import annotations

from typing import NamedTuple

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of


class DataQuality(NamedTuple):
    """How many human segments there are, how many of them have no focus data, and how many units are long; and when the
    first segment ended (epoch milliseconds), where that is after the beginning of the span, or of what it is compared
    with.
    """

    human: int
    without_focus: int
    long_units: int
    begins: int | None = None


def first_end(snapshot: Snapshot) -> int | None:
    """When the first agent segment or skill segment ended, in epoch milliseconds; None where none has."""
    (first,) = snapshot.execute(
        """select epoch_ms(least((select min("end") from agent_segments), (select min("end") from skill_segments)))"""
    ).fetchone() or (None,)
    return None if first is None else int(first)


def data_quality_of(snapshot: Snapshot, of: Selection, long_millis: int) -> DataQuality:
    """What is doubtful about segments. Of units, the times and agents of the selection count, not its other filters."""
    part = of.condition().but("userType = 'human'")
    human, without_focus = snapshot.execute(
        f"select count(*), count(*) filter (not focusData) from agent_segments where {part.where}",  # noqa: S608
        part.parameters,
    ).fetchone() or (0, 0)
    whose, given = ("", {}) if of.agents is None else (" and agentId = any($agents)", {"agents": list(of.agents)})
    (long_units,) = snapshot.execute(
        f"""select count(*) from handle_time_units
        where segmentEnd >= $start and segmentEnd < $end and handleTimeMillis > $long{whose}""",  # noqa: S608
        {"start": instant_of(of.start), "end": instant_of(of.end), "long": long_millis, **given},
    ).fetchone() or (0,)
    return DataQuality(int(human), int(without_focus), int(long_units))
