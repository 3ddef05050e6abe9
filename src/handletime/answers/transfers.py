"""How conversations went from one skill to another (rules.md 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from handletime.answers.relations import Snapshot
from handletime.answers.selection import instant_of


class Transfer(NamedTuple):
    """How many conversations were transferred from a skill to another, or to one whose segment still runs (None)."""

    source: int
    target: int | None
    number: int


def transfers_between(snapshot: Snapshot, start: int, end: int, skill: int | None = None) -> list[Transfer]:
    """The transfers in [start, end), epoch milliseconds, the most first; those from or to one skill where it is named.

    A transfer to another skill ends one skill segment and begins the next. While the next one runs it is no row yet,
    and where it went to is not known here.
    """
    asked: dict[str, object] = {"low": instant_of(start), "until": instant_of(end)}
    chosen = ""
    if skill is not None:
        asked["skill"] = skill
        chosen = "where source = $skill or target = $skill"
    rows = snapshot.execute(
        f"""select source, target, count(*)::bigint as number from (
            select ended.skillId as source, next.skillId as target
            from (select conversationId, "sequence", skillId from skill_segments
                where endReason = 'skillTransfer' and "end" >= $low and "end" < $until) ended
            left join (select conversationId, "sequence", skillId from skill_segments where "end" >= $low) next
                on next.conversationId = ended.conversationId and next."sequence" = ended."sequence" + 1)
        {chosen} group by 1, 2 order by number desc, source, target nulls last""",  # noqa: S608
        asked,
    ).fetchall()
    return [Transfer(*row) for row in rows]


def into_and_out_of(transfers: Sequence[Transfer], skill: int) -> tuple[int, int]:
    """How many came into a skill, and how many left it for another."""
    came = sum(each.number for each in transfers if each.target == skill)
    return came, sum(each.number for each in transfers if each.source == skill)
