"""One agent beside the peers: segments by skill and by what they follow, and where a difference of handle time lies.

Peers are the other human agents with segments in the same skills.

    one query ─> kinds (skill × follows), the agent's and the peers' ─> how much another mix of kinds makes, how much
    longer handling within the kinds
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.terms import SUMS, VALUES

HUMAN: Final = "human"
TELLING: Final = 0.4
"""The share of a difference from which on one thing explains it."""


class Handled(NamedTuple):
    """Segments that ended, of how many the handle time is known, its sum over these, and its median (rules.md 4)."""

    segments: int = 0
    known: int = 0
    total: int = 0
    median: int | None = None

    @property
    def mean(self) -> float | None:
        """The average handle time, not truncated; None where none is known."""
        return self.total / self.known if self.known else None

    @property
    def average(self) -> int | None:
        """The average handle time in milliseconds, truncated as everywhere; None where none is known."""
        return self.total // self.known if self.known else None


class Kind(NamedTuple):
    """Segments of one skill that follow the same, the agent's and the peers'."""

    skill: int
    follows: str
    own: Handled
    peers: Handled


class Beside(NamedTuple):
    """All kinds that the agent or the peers have, the agent's most first, and all segments together."""

    kinds: list[Kind]
    own: Handled
    peers: Handled
    peer_count: int
    """How many peers there are."""


class Parts(NamedTuple):
    """What a difference of average handle times is made of, in milliseconds: `mix` + `within` is all of it."""

    mix: float
    within: float


class Telling(NamedTuple):
    """What of the mix says most: segments that follow something, or of a skill, the agent's beside the peers'."""

    follows: str | None
    skill: int | None
    own: int
    peers: int


def skills_of(snapshot: Snapshot, of: Selection) -> dict[int, frozenset[int]]:
    """The skills in which each human agent has segments in a selection."""
    condition = of._replace(user_type=HUMAN).condition()
    rows = snapshot.execute(
        f"select agentId, list(distinct skillId) from agent_segments where {condition.where} group by agentId",  # noqa: S608
        condition.parameters,
    ).fetchall()
    return {agent: frozenset(skills) for agent, skills in rows}


def beside_peers(snapshot: Snapshot, of: Selection, agent: int) -> Beside:
    """One agent's segments and those of the peers, of human agents, in one query. `of` names no agent.

    Both are segments in the skills of which the agent has segments in the selection.
    """
    condition = of._replace(agents=None, user_type=HUMAN).condition()
    terms = SUMS["agentSegments"]
    _, is_known = VALUES["agentSegments"]["handleTime"]
    rows = snapshot.execute(
        f"""select skillId, follows, agentId = $agent as own, count(*),
            sum({terms["handled"]})::bigint, sum({terms["handleTime"]})::bigint,
            quantile_disc(totalHandleTimeMillis, 0.5) filter (where {is_known}), count(distinct agentId)
        from agent_segments
        where {condition.where} and skillId in
            (select skillId from agent_segments where {condition.where} and agentId = $agent)
        group by grouping sets ((skillId, follows, agentId = $agent), (agentId = $agent)) having count(*) > 0""",  # noqa: S608
        {**condition.parameters, "agent": agent},
    ).fetchall()
    found: dict[tuple[int, str] | None, dict[bool, Handled]] = {}
    peer_count = 0
    for skill, follows, is_own, segments, known, total, median, agents in rows:
        key = None if skill is None else (skill, follows)
        found.setdefault(key, {})[is_own] = Handled(segments, known, total, median)
        if key is None and not is_own:
            peer_count = agents
    whole, none = found.pop(None, {}), Handled()
    kinds = [Kind(*key, each.get(True, none), each.get(False, none)) for key, each in found.items() if key is not None]
    kinds.sort(key=lambda kind: (-kind.own.segments, -kind.peers.segments, kind.skill, kind.follows))
    return Beside(kinds, whole.get(True, none), whole.get(False, none), peer_count)


def parts_of(beside: Beside) -> Parts | None:
    """How much of the difference of average handle times (agent − peers) another mix of kinds makes, and how much
    longer handling within the same kinds; None where either average is unknown.

    For each kind the difference of its shares counts with the mean of both averages, the difference of its averages
    with the mean of both shares. A kind that only one side has is mix alone. Shares are those among segments whose
    handle time is known.
    """
    if not (beside.own.known and beside.peers.known):
        return None
    mix = within = 0.0
    for kind in beside.kinds:
        means = [each for each in (kind.own.mean, kind.peers.mean) if each is not None]
        if means:
            own_share, peers_share = kind.own.known / beside.own.known, kind.peers.known / beside.peers.known
            own, peers = means[0], means[-1]
            mix += (own_share - peers_share) * (own + peers) / 2
            within += (own_share + peers_share) / 2 * (own - peers)
    return Parts(mix, within)


def telling(beside: Beside, parts: Parts) -> Telling | None:
    """What the agent has more of than the peers and what makes most of the difference that comes from the mix, by what
    segments follow or by skill; None where nothing makes `TELLING` of it.
    """
    both = [
        *_by(beside.kinds, lambda kind: (kind.follows, None)),
        *_by(beside.kinds, lambda kind: (None, kind.skill)),
    ]
    found: list[tuple[float, Telling]] = []
    average = beside.peers.mean or 0.0
    for (follows, skill), (own, peers) in both:
        more = own.segments / beside.own.segments - peers.segments / beside.peers.segments
        mean = peers.mean if peers.mean is not None else own.mean
        if mean is not None and more > 0:
            found.append((more * (mean - average), Telling(follows, skill, own.segments, peers.segments)))
    sign = 1 if parts.mix >= 0 else -1
    best, one = max(found, key=lambda each: sign * each[0], default=(0.0, None))
    return one if sign * best > TELLING * abs(parts.mix) else None


def _by(
    kinds: Sequence[Kind], key: Callable[[Kind], tuple[str | None, int | None]]
) -> list[tuple[tuple[str | None, int | None], tuple[Handled, Handled]]]:
    """Kinds together that have the same key; without medians."""
    found: dict[Hashable, tuple[tuple[str | None, int | None], tuple[Handled, Handled]]] = {}
    for kind in kinds:
        of = key(kind)
        _, (own, peers) = found.get(of, (of, (Handled(), Handled())))
        found[of] = (of, (_added(own, kind.own), _added(peers, kind.peers)))
    return list(found.values())


def _added(one: Handled, other: Handled) -> Handled:
    return Handled(one.segments + other.segments, one.known + other.known, one.total + other.total)
