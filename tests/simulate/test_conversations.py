from collections import Counter
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.plain_reading import Reading
from tests.simulate.made import by_agent, events_of


def test_every_case_occurs(reading: Reading) -> None:
    def seen(rows: list[dict[str, object]], name: str) -> set[object]:
        return {row[name] for row in rows} - {None}

    outcomes = {"interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent"}
    assert seen(reading.agent_segments, "outcome") == seen(reading.skill_segments, "outcome") == outcomes
    assert seen(reading.agent_segments, "endReason") == {
        *("closedByConsumer", "closedByAgent", "closedBySystem"),
        *("agentTransfer", "skillTransfer", "backToQueue", "other"),
    }
    assert seen(reading.agent_segments, "follows") == {"newConversation", "resume", "transfer", "takeover"}
    assert seen(reading.skill_segments, "userType") == {"human", "bot", "mixed", "none"}
    assert seen(reading.skill_segments, "abandonedInQueue") == {True, False}
    assert seen(reading.handle_time_units, "startReason") == {
        *("consumerMessage", "conversationEntered", "conversationAssigned", "agentMessage"),
    }
    assert seen(reading.handle_time_units, "endReason") == {
        *("agentResponse", "conversationExited", "conversationClosed", "conversationTransferred"),
    }
    assert {"systemMessage", "messageByAnotherAgent", "messageWhileClosed", "focusedAlready"} <= reading.effects.keys()
    assert any(row["end"] is None for row in reading.agent_segments)


def test_outcomes_come_in_plausible_shares(reading: Reading) -> None:
    ended = [row["outcome"] for row in reading.agent_segments if row["end"] and row["userType"] == "human"]
    shares = {outcome: count / len(ended) for outcome, count in Counter(ended).items()}
    assert shares == {
        "interactive": pytest.approx(0.67, abs=0.04),
        "nonResponsiveConsumer": pytest.approx(0.16, abs=0.03),
        "abandoned": pytest.approx(0.09, abs=0.03),
        "nonResponsiveAgent": pytest.approx(0.08, abs=0.03),
    }


def test_handle_time_of_a_human_segment_is_some_minutes(reading: Reading) -> None:
    handled: list[Any] = [r["totalHandleTimeMillis"] for r in reading.agent_segments if r["userType"] == "human"]
    assert 2 * 60_000 < sum(handled) / len(handled) < 6 * 60_000


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("settings", [{"agents": 6, "days": 0.5}, {"agents": 40}, {"days": 3.0}])
def test_an_agent_writes_only_where_the_focus_is(settings: dict[str, Any]) -> None:
    events = events_of(conversations=400, without_focus=0, **settings)
    moves = 0
    for deeds in by_agent(events):
        focus = None
        for deed in deeds:
            match deed["type"]:
                case "focused":
                    moves += focus != deed["conversationId"]
                    focus = deed["conversationId"]
                case "unfocused":
                    assert focus == deed["conversationId"]
                    focus = None
                case "message":
                    assert focus == deed["conversationId"]
    assert moves > 500


def test_no_agent_looks_at_a_conversation_before_it_is_there(day: pa.Table) -> None:
    opened: dict[str, datetime] = {}
    for event in day.select(["conversationId", "time", "type"]).to_pylist():
        if event["type"] == "opened":
            opened.setdefault(event["conversationId"], event["time"])
        assert opened[event["conversationId"]] <= event["time"]


def test_agents_switch_between_conversations_and_come_back(day: pa.Table) -> None:
    returns = 0
    for deeds in by_agent(day):
        looks = [deed["conversationId"] for deed in deeds if deed["type"] == "focused"]
        returns += sum(a == c != b for a, b, c in zip(looks, looks[1:], looks[2:], strict=False))
    assert returns > 200


def test_the_share_without_focus_sends_none() -> None:
    deeds = list(by_agent(events_of(agents=80, without_focus=0.3, conversations=1000)))
    focused = {mine[0]["agentId"] for mine in deeds if any("focus" in deed["type"] for deed in mine)}
    writing = {mine[0]["agentId"] for mine in deeds if any(deed["type"] == "message" for deed in mine)}
    assert focused < writing
    assert 0.15 < len(writing - focused) / len(writing) < 0.45
    assert "focused" not in pc.unique(events_of(without_focus=1)["type"].cast(pa.string())).to_pylist()


def test_bots_have_no_focus(day: pa.Table) -> None:
    focus = pc.is_in(day["type"].cast(pa.string()), pa.array(["focused", "unfocused"]))
    assert pc.min(day.filter(focus)["agentId"]).as_py() > 3000
