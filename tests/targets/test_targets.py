"""Which target counts, and each verdict, clause by clause (rules.md 5.2 and 5.3).

Covers: targets/waits.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from handletime.clock import HOUR, MINUTE, SECOND
from handletime.targets.targets import AccountTargets, Of, Target, Targets, Verdict, Wait, judge, without_case
from handletime.targets.waits import AgentSegment, QueueSegment, judged
from tests.targets.test_hours import at, calendar

START = at("2026-11-10T09:00+01:00")  # a Tuesday
OF = Of(10, "WEB", START, "human")
ALL = Target("all", {"firstResponse": 60_000, "response": 30_000, "queueWait": 20_000})


@pytest.mark.parametrize(
    ("target", "fits"),
    [
        (ALL, True),
        (replace(ALL, skills=frozenset({10})), True),
        (replace(ALL, skills=frozenset({11})), False),
        (replace(ALL, sources=frozenset({"web"})), True),
        (replace(ALL, sources=frozenset({"app"})), False),
        (replace(ALL, user_type="human"), True),
        (replace(ALL, user_type="bot"), False),
        (replace(ALL, since=START), True),
        (replace(ALL, since=START + 1), False),
    ],
)
def test_a_target_fits_where_all_its_conditions_hold(target: Target, fits: bool) -> None:
    assert target.fits(OF) is fits


def test_a_segment_without_source_fits_no_condition_on_sources() -> None:
    assert not replace(ALL, sources=frozenset({"web"})).fits(OF._replace(source=None))
    assert not replace(ALL, sources=frozenset({""})).fits(OF._replace(source=None))


@pytest.mark.parametrize("source", ["\u0391\u03a3", "\u0130stanbul", "Stra\u00dfe", "WEB"])
def test_a_source_has_one_lower_case(source: str) -> None:
    """That of DuckDB, which reports count with."""
    ((lower,),) = duckdb.execute("select lower(?)", [source]).fetchall()
    assert without_case(source) == lower
    assert replace(ALL, sources=frozenset({without_case(source)})).fits(OF._replace(source=source))


def test_a_target_for_a_user_type_is_never_a_queue_segments() -> None:
    assert not replace(ALL, user_type="human").fits(OF._replace(user_type=None))


def test_the_first_that_fits_counts_also_for_clocks_that_it_does_not_set() -> None:
    first = Target("first", {"queueWait": 1}, skills=frozenset({10}))
    own = AccountTargets((first, ALL))
    assert own.first(OF) is first
    assert own.first(OF._replace(skill=11)) is ALL
    segment = agent_segment(first_response=1)
    assert list(judged(own, segment, START)) == []


def test_targets_are_their_accounts() -> None:
    acme = replace(ALL, accounts=frozenset({"acme"}))
    both = Targets((acme, ALL))
    assert both.of("acme").targets == (acme, ALL)
    assert both.of("Acme").targets == (ALL,)
    assert both.of(None).targets == (acme, ALL)


# --- the verdicts ----------------------------------------------------------------------------------------------------

T = 60_000


def wait(clock: str, **kinds: int) -> Wait:
    given = {name: START + after for name, after in kinds.items()}
    return Wait(clock, START, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (wait("firstResponse", answered=T), "met"),
        (wait("firstResponse", answered=T + 1), "missed"),
        (wait("firstResponse", ended=T), "left"),
        (wait("firstResponse", ended=T + 1), "missed"),
        (wait("firstResponse"), "pending"),
        (wait("response", answered=T), "met"),
        (wait("response", answered=T + 1), "missed"),
        (wait("queueWait", answered=T), "met"),
        (wait("queueWait", answered=T + 1), "missed"),
        (wait("queueWait", ended=T + 1), "left"),
        (wait("queueWait", ended=T)._replace(abandoned=True), "left"),
        (wait("queueWait", ended=T + 1)._replace(abandoned=True), "missed"),
        (wait("queueWait", answered=0), "met"),
    ],
)
def test_the_verdict_is_that_of_the_table(case: Wait, verdict: Verdict) -> None:
    target = Target("one", {"firstResponse": T, "response": T, "queueWait": T})
    found = judge(target, case, START)
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize(("after", "verdict"), [(0, "pending"), (T, "pending"), (T + 1, "pastDue")])
def test_what_is_not_answered_is_pending_until_it_is_past_due(after: int, verdict: Verdict) -> None:
    found = judge(Target("one", {"response": T}), Wait("response", START), START + after)
    assert found is not None
    assert (found.verdict, found.elapsed, found.due) == (verdict, after, START + T)


@pytest.mark.parametrize(
    ("abandoned", "early", "late"),
    [("late", "left", "missed"), ("missed", "missed", "missed"), ("met", "met", "met"), ("ignored", "left", "left")],
)
def test_what_the_consumer_ended_in_the_queue_is_as_the_target_says(abandoned: str, early: str, late: str) -> None:
    target = Target("one", {"queueWait": T}, abandoned=abandoned, short_abandon=5 * SECOND)  # type: ignore[arg-type]
    for length, verdict in ((5 * SECOND, early), (T + 1, late), (5 * SECOND - 1, "left")):
        found = judge(target, wait("queueWait", ended=length)._replace(abandoned=True), START)
        assert found is not None
        assert found.verdict == verdict


def test_short_is_plain_time_not_opening_hours() -> None:
    hours = calendar("08:00-09:00", "12:00-17:00")  # closed from the start of the wait on
    target = Target("one", {"queueWait": T}, calendar=hours, short_abandon=5 * SECOND, abandoned="missed")
    for length, verdict in ((5 * SECOND - 1, "left"), (5 * SECOND, "missed")):
        found = judge(target, wait("queueWait", ended=length)._replace(abandoned=True), START)
        assert found is not None
        assert (found.elapsed, found.verdict) == (0, verdict)


def test_only_opening_hours_elapse() -> None:
    hours = calendar("09:00-12:30", "13:00-17:00")
    start = at("2026-11-10T12:29+01:00")
    target = Target("one", {"firstResponse": 2 * MINUTE}, calendar=hours)
    found = judge(target, Wait("firstResponse", start, start + HOUR), START)
    assert found is not None
    assert (found.verdict, found.elapsed) == ("missed", MINUTE + 29 * MINUTE)
    assert found.due == at("2026-11-10T13:01+01:00")
    assert found.counted == [
        (start, at("2026-11-10T12:30+01:00")),
        (at("2026-11-10T13:00+01:00"), start + HOUR),
    ]


def test_a_service_level_of_a_queue_is_that_of_the_published_example() -> None:
    # 100 answered, 20 of them late, 10 abandoned, 3 of these shorter than `short-abandon`.
    waits = [
        *(wait("queueWait", answered=T) for _ in range(80)),
        *(wait("queueWait", answered=T + 1) for _ in range(20)),
        *(wait("queueWait", ended=30 * SECOND)._replace(abandoned=True) for _ in range(7)),
        *(wait("queueWait", ended=SECOND)._replace(abandoned=True) for _ in range(3)),
    ]
    for abandoned, met, missed in (("missed", 80, 27), ("ignored", 80, 20), ("met", 87, 20)):
        target = Target("one", {"queueWait": T}, short_abandon=5 * SECOND, abandoned=abandoned)  # type: ignore[arg-type]
        verdicts = [found.verdict for each in waits if (found := judge(target, each, START))]
        assert (verdicts.count("met"), verdicts.count("missed")) == (met, missed)


# --- which waits a segment has ---------------------------------------------------------------------------------------


def agent_segment(
    follows: str = "newConversation",
    *,
    first_response: int | None = None,
    responses: tuple[tuple[int, int], ...] = (),
    end: int | None = None,
    waiting_since: int | None = None,
    wrote: bool = False,
) -> AgentSegment:
    return AgentSegment(
        of=OF,
        end=end,
        follows=follows,
        queued_since=START - HOUR,
        first_response=first_response,
        responses=[(START + since, length) for since, length in responses],
        first_is_response=bool(responses),
        wrote=wrote,
        waiting_since=waiting_since,
    )


def clocks(segment: AgentSegment | QueueSegment, target: Target = ALL) -> list[tuple[str, int]]:
    return [(each.clock, each.start - START) for each in segment.waits(target)]


def test_a_first_response_counts_where_the_segment_follows_a_new_conversation_or_a_transfer() -> None:
    for follows, wanted in (("newConversation", 1), ("transfer", 1), ("takeover", 0), ("resume", 0)):
        assert clocks(agent_segment(follows)) == [("firstResponse", 0)] * wanted


def test_a_first_response_may_be_counted_from_the_start_of_the_queue() -> None:
    queued = replace(ALL, first_response_from="queued")
    assert clocks(agent_segment(), queued) == [("firstResponse", -HOUR)]
    assert clocks(agent_segment()._replace(queued_since=None), queued) == [("firstResponse", 0)]


def test_the_agents_first_message_may_be_left_out_of_the_responses() -> None:
    segment = agent_segment("takeover", responses=((0, 5), (10, 5)))
    later = replace(ALL, response_first=False)
    assert clocks(segment) == [("response", 0), ("response", 10)]
    assert clocks(segment, later) == [("response", 10)]
    assert clocks(segment._replace(first_is_response=False), later) == [("response", 0), ("response", 10)]


def test_a_wait_that_goes_on_counts_where_an_answer_would_be_a_response() -> None:
    waiting = START + 1
    assert clocks(agent_segment(waiting_since=waiting))[1:] == [("response", 1)]
    assert clocks(agent_segment("takeover", waiting_since=waiting)) == []
    assert clocks(agent_segment("takeover", waiting_since=waiting, wrote=True)) == [("response", 1)]
    assert clocks(agent_segment(waiting_since=waiting), replace(ALL, response_first=False)) == [("firstResponse", 0)]
    # Who still waits when the segment ends makes no response, and so no verdict.
    assert clocks(agent_segment(waiting_since=waiting, end=START + HOUR)) == [("firstResponse", 0)]


def test_a_queue_segment_is_answered_by_an_assignment_alone() -> None:
    for reason, answered, abandoned in (
        ("assigned", True, False),
        ("closedByConsumer", False, True),
        ("closedBySystem", False, False),
        ("skillTransfer", False, False),
    ):
        (found,) = QueueSegment(OF, START, reason).waits(ALL)
        assert ((found.answered is not None), found.abandoned) == (answered, abandoned)
