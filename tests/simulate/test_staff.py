from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from tests.simulate.made import events_of


def test_what_an_agent_is_does_not_change(day: pa.Table) -> None:
    assigned = day.filter(pc.equal(day["type"].cast(pa.string()), "assigned"))
    columns = ["accountId", "agentId", "employeeId", "groupId", "userType"]
    agents = assigned.select(columns).unify_dictionaries().group_by(columns).aggregate([])
    assert agents.select(columns[:2]).group_by(columns[:2]).aggregate([]).num_rows == agents.num_rows
    bots = agents.filter(pc.equal(agents["userType"].cast(pa.string()), "bot"))
    assert set(bots["agentId"].to_pylist()) == {1001, 1002}
    assert pc.min(agents.filter(pc.greater(agents["agentId"], 3000))["groupId"]).as_py() >= 501


def test_agents_have_a_few_conversations_at_once() -> None:
    events = events_of(conversations=1500).select(["conversationId", "time", "type", "agentId", "userType"])
    running: dict[str, int] = {}
    loads: list[float] = []
    for event in events.to_pylist():
        if event["type"] == "assigned" and event["userType"] == "human":
            running[event["conversationId"]] = event["agentId"]
        elif event["type"] in ("assigned", "transferred", "closed"):
            running.pop(event["conversationId"], None)
        if 10 <= event["time"].hour < 16:
            loads.append(len(running) / len(set(running.values())))
    assert 2 < sum(loads) / len(loads) < 4


def test_nights_and_weekends_are_quieter() -> None:
    events = events_of(conversations=3000, days=7)
    opened = events.filter(pc.equal(events["type"].cast(pa.string()), "opened"))["time"].to_pylist()
    hours = Counter((time.weekday() >= 5, time.hour) for time in opened)
    assert hours[False, 10] > 3 * hours[False, 3]
    assert hours[False, 10] / 5 > hours[True, 10] / 2
    assert hours[False, 15] > hours[False, 20]
