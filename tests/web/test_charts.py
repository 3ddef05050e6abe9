"""What charts and small lines say of intervals that are not whole, and of an hour that comes twice."""

from __future__ import annotations

from handletime.answers.registry import METRICS
from handletime.api.parameters import Query
from handletime.events.book import instant
from handletime.web.charts import Stroke, charts_of, trend_of, trend_text
from handletime.web.figures import HISTORY, History
from handletime.web.view import read_view

COUNT = METRICS["totalAgentConversationSegments"]


def test_a_small_line_is_dashed_where_an_interval_is_not_whole() -> None:
    assert trend_of([4, 2, 4, 1], {3}) == [
        Stroke("0.0,2.0 32.0,11.0 64.0,2.0", is_part=False),
        Stroke("64.0,2.0 96.0,15.5", is_part=True),
    ]
    assert [stroke.is_part for stroke in trend_of([1, 2, 3, 4], {0, 3})] == [True, False, True]
    assert [stroke.is_part for stroke in trend_of([1, 2], {1})] == [True]
    assert [stroke.is_part for stroke in trend_of([1, None, 3], ())] == [False]
    assert trend_of([None, 3], ()) == trend_of([], ()) == []


def test_a_small_line_in_words_keeps_a_part_apart() -> None:
    assert trend_text(COUNT, [4, 2, 4, 1], {3}) == "trend: lowest 2, highest 4, last 4; then 1 in a part of an interval"
    assert trend_text(COUNT, [4, 2], ()) == "trend: lowest 2, highest 4, last 2"
    assert trend_text(COUNT, [1], {0}) == "trend: then 1 in a part of an interval"
    assert trend_text(COUNT, [None, None], {1}) == ""


def test_charts_name_what_they_count_and_which_hour() -> None:
    query = Query(b"from=2026-10-25T01:00&to=2026-10-25T03:30&interval=hour&tz=Europe/Berlin")
    view = read_view(query, instant("2026-11-20T00:00:00Z") or 0)
    count = len(view.bounds) - 1
    agents, skills = (
        History(view.bounds, {key: [1] * count for key in HISTORY[table]}, {})
        for table in ("agentSegments", "skillSegments")
    )
    for history, title in ((None, "Agent segments by outcome"), (skills, "Skill segments by outcome")):
        charts = charts_of(agents, view, history)
        assert charts[0].title == title
        assert all("gent segment" in chart.title for chart in charts[1:])
        assert [chart.times for chart in charts] == [
            [
                "Sun 2026-10-25 01:00",
                "Sun 2026-10-25 02:00 +02:00",
                "Sun 2026-10-25 02:00 +01:00",
                "Sun 2026-10-25 03:00 (part)",
            ]
        ] * 4
        assert {tuple(chart.parts) for chart in charts} == {(3,)}
        (path,) = {series.link.partition("?")[0] for series in charts[0].series}
        assert path == ("/segments" if history is None else "/skill-segments")
        assert all("tz=Europe%2FBerlin" in series.link for chart in charts for series in chart.series)
