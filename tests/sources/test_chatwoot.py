"""Chatwoot's deliveries become events as docs/chatwoot.md says.

Covers: sources/chatwoot/agents, sources/chatwoot/fields, sources/chatwoot/webhook, sources/event.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from handletime.segments.derive import derive
from handletime.sources.chatwoot.webhook import Mapped, Options, events_of
from tests.segments.tables import events_of as event_table
from tests.segments.tables import in_order, rows_of

STORIES = Path(__file__).parent / "chatwoot"
STORY: list[dict[str, Any]] = [json.loads(path.read_bytes()) for path in sorted(STORIES.glob("[0-2]*.json"))]
INBOX, TEAM = Options(), Options(skill="team")
BOT = 2 * 10**12 + 3


def mapped(body: dict[str, Any], options: Options = INBOX) -> Mapped:
    return events_of(json.dumps(body).encode(), options)


def events(bodies: Iterable[dict[str, Any]], options: Options = INBOX) -> list[dict[str, Any]]:
    found = [mapped(body, options) for body in bodies]
    assert [each.problem for each in found if each.problem] == []
    return [msgspec.to_builtins(event) for each in found for event in each.events]


def derived(told: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, object]]]:
    tables = derive(event_table(told))
    return {name: in_order(rows_of(getattr(tables, name))) for name in ("agent_segments", "skill_segments")}


def body_of(name: str) -> dict[str, Any]:
    """A delivery of the story, by a part of its file's name."""
    (path,) = STORIES.glob(f"*{name}*.json")
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def short(event: dict[str, Any]) -> str:
    """An event in a line: id, type, and the fields of its own."""
    known = ("conversationId", "eventId", "time", "sequence", "revision", "type", "source")
    own = [f"{value}" for name, value in event.items() if name not in known]
    return " ".join([event["eventId"], event["type"], *own])


def test_the_story_by_inbox() -> None:
    assert [short(event) for event in events(STORY)] == [
        "o opened 3",
        f"o:a assigned {BOT} bot",
        "m1001 message consumer",
        f"m1002 message {BOT} agent",
        "u1795165230912:t transferred skill",
        "u1795165230912:a withdrawn",
        "u1795165241662:r resumed 3",
        "u1795165241662:a assigned 7",
        "m1003 message system",
        "m1004 message 7 agent",
        "m1006:r resumed 3",
        "m1006:a assigned 7",
        "m1006 message consumer",
        "u1795165350412:r resumed 3",
        "u1795165350412:a assigned 9",
        "m1007 message system",
        "u1795165380412:t transferred backToQueue",
        "u1795165385412:r resumed 3",
        "u1795165385412:a assigned 7",
        "m1008 message 7 agent",
        "u1795165530412:c closed agent",
        "m1010:r resumed 3",
        "m1010:a assigned 7",
        "m1010 message consumer",
        "u1795166100452:r resumed 3",
        "u1795166100452:a assigned 7",
        "m1011 message 7 agent",
        "m1012 message system",
        "u1795166160412:c closed agent",
    ]


def test_by_team_the_team_is_the_skill() -> None:
    assert [short(event) for event in events([body_of("team-and-assignee")], TEAM)] == [
        "u1795165350412:r resumed 5",
        "u1795165350412:t transferred 5 skill",
        "u1795165350412:a assigned 9",
    ]
    assert short(events([body_of("conversation_created")], TEAM)[0]) == "o opened"


def test_the_times_are_those_of_what_happened_and_the_channel_is_the_source() -> None:
    opened, _ = events([body_of("01-")])
    assert (opened["time"], opened["source"], opened["conversationId"]) == (1_795_165_200_000, "WebWidget", "42")
    (message,) = events([body_of("02-")])
    assert (message["time"], message["sequence"], message["revision"]) == (1_795_165_200_512, 1001, 1)


def test_the_segments_of_the_story() -> None:
    segments = derived(events(STORY))["agent_segments"]
    assert [
        (row["agentId"], row["userType"], row["start"], row["end"], row["endReason"])
        for row in sorted(segments, key=lambda row: str(row["start"]))
    ] == [
        (BOT, "bot", 1_795_165_200_000, 1_795_165_230_912, "skillTransfer"),
        (7, "human", 1_795_165_241_662, 1_795_165_350_412, "agentTransfer"),
        (9, "human", 1_795_165_350_412, 1_795_165_380_412, "backToQueue"),
        (7, "human", 1_795_165_385_412, 1_795_165_530_412, "closedByAgent"),
        (7, "human", 1_795_166_100_412, 1_795_166_160_412, "closedByAgent"),
    ]
    assert {row["skillId"] for row in segments} == {3}


@pytest.mark.parametrize("options", [INBOX, TEAM], ids=["inbox", "team"])
def test_order_and_doubles_change_nothing(options: Options, seed: int) -> None:
    dice = random.Random(seed)
    wanted = derived(events(STORY, options))
    for _ in range(20):
        bodies = [*STORY, *dice.choices(STORY, k=10)]
        dice.shuffle(bodies)
        assert derived(events(bodies, options)) == wanted


def test_a_lost_beginning_is_made_good_by_the_next_message_of_the_consumer() -> None:
    first = min(derived(events(STORY[10:]))["agent_segments"], key=lambda row: str(row["start"]))
    assert (first["agentId"], first["skillId"], first["source"], first["start"]) == (
        *(7, 3, "WebWidget"),
        1_795_165_320_412,
    )


def test_a_state_that_is_not_fresh_assigns_nobody_or_gives_way() -> None:
    late = body_of("02-")
    late["conversation"] |= {"status": "open", "updated_at": late["conversation"]["updated_at"] + 2}
    assert [short(event) for event in events([late])] == ["m1001 message consumer"]
    reopened = body_of("23-")
    assert [event.get("revision", 0) for event in events([reopened])] == [1, 1]
    reopened["updated_at"] += 60
    assert [event.get("revision", 0) for event in events([reopened])] == [1, 0]


def revisions(body: dict[str, Any], options: Options = INBOX) -> dict[str, int]:
    """The revisions of a body's events, by the end of their ids."""
    return {event["eventId"].partition(":")[2]: event.get("revision", 0) for event in events([body], options)}


def later(body: dict[str, Any], **state: object) -> dict[str, Any]:
    """A delivery as it would be if its job ran a minute later."""
    new = {"updated_at": (body.get("conversation") or body)["updated_at"] + 60, **state}
    return body | ({"conversation": body["conversation"] | new} if "conversation" in body else new)


def test_of_a_delivery_and_its_copy_made_later_the_first_stands() -> None:
    assigned = {"meta": body_of("06-")["meta"]}
    handed_over = body_of("04-")
    assert [event["type"] for event in events([handed_over])] == ["transferred", "withdrawn"]
    assert revisions(handed_over) == {"t": 1, "a": 1}
    assert [event["type"] for event in events([later(handed_over, **assigned)])] == ["transferred", "assigned"]
    assert revisions(later(handed_over, **assigned)) == {"t": 1, "a": 0}
    to_the_bot = a_change(status=("open", "pending"))
    assert (revisions(to_the_bot), revisions(later(to_the_bot))) == ({"t": 1, "a": 1}, {"t": 1, "a": 0})
    by_the_bot = body_of("03-")
    assert (revisions(by_the_bot), revisions(later(by_the_bot))) == ({"": 2}, {"": 1})
    opened = body_of("01-")
    assert (revisions(opened, TEAM), revisions(later(opened), TEAM)) == ({"": 2, "a": 1}, {"": 1})


def test_who_closed_is_known_of_the_system_alone() -> None:
    resolved = body_of("20-")
    silent = Options(auto_resolve_minutes=2)
    assert events([resolved], silent)[0]["closedBy"] == "system"
    assert events([resolved], Options(auto_resolve_minutes=3))[0]["closedBy"] == "agent"
    resolved["last_activity_at"] = 1_795_165_600
    late = events([resolved], silent)[0]
    assert (late["closedBy"], late.get("revision", 0)) == ("agent", 0)


def a_change(**changes: tuple[object, object]) -> dict[str, Any]:
    """A `conversation_updated` of an open conversation that agent 7 has."""
    body = body_of("06-")
    attributes = [{name: {"previous_value": was, "current_value": now}} for name, (was, now) in changes.items()]
    body["changed_attributes"] = [*attributes, body["changed_attributes"][-1]]
    return body


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"status": ("open", "pending")}, ["transferred backToQueue", f"assigned {BOT} bot"]),
        ({"status": ("resolved", "pending")}, ["resumed 3", f"assigned {BOT} bot"]),
        ({"status": ("resolved", "open")}, ["resumed 3", "assigned 7"]),
        ({"status": ("pending", "open")}, ["transferred skill", "assigned 7"]),
        ({"status": ("open", "snoozed")}, []),
        ({"status": ("snoozed", "resolved")}, ["closed agent"]),
        ({"status": ("open", "resolved"), "assignee_id": (7, None)}, ["closed agent"]),
        ({"status": ("pending", "open"), "assignee_id": (None, 8)}, ["resumed 3", "transferred skill", "assigned 8"]),
        ({"assignee_agent_bot_id": (None, 2)}, ["resumed 3", f"assigned {10**12 + 2} bot"]),
        ({"assignee_agent_bot_id": (2, None), "assignee_id": (None, 8)}, ["resumed 3", "assigned 8"]),
        ({"assignee_id": (7, None)}, ["transferred backToQueue"]),
        ({"team_id": (5, None)}, []),
        ({"priority": (None, "high")}, []),
    ],
    ids=str,
)
def test_each_change_has_its_events(changes: dict[str, Any], wanted: list[str]) -> None:
    told = events([a_change(**changes)])
    assert [short(event).partition(" ")[2] for event in told] == wanted


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"content_attributes": {"external_echo": True}}, "message agent"),
        ({"additional_attributes": {"campaign_id": 6}}, "message system"),
        ({"sender": None}, "message system"),
        ({"message_type": "template"}, "message system"),
        ({"message_type": 1}, "message 7 agent"),
        ({"sender": {"id": 4, "type": "captain_assistant"}}, f"message {BOT} agent"),
    ],
    ids=str,
)
def test_who_wrote(change: dict[str, Any], kind: str) -> None:
    (event,) = events([body_of("08-") | change])
    assert short(event).partition(" ")[2] == kind


def test_a_bot_that_has_the_conversation_writes_as_itself() -> None:
    body = body_of("03-")
    body["conversation"]["meta"] |= {"assignee": {"id": 2}, "assignee_type": "AgentBot"}
    assert events([body])[0]["agentId"] == 10**12 + 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"created_at": "2026-11-20T09:01:16"}, "created_at: must be a time with an offset"),
        ({"id": "1004"}, "Expected `int`, got `str` - at `$.id`"),
        ({"id": 0}, "id: must be an integer from 1 to 9223372036854775807"),
        ({"message_type": "shout"}, "message_type: must be one of incoming, outgoing, activity, template"),
        ({"conversation": None}, "Expected `object`, got `null` - at `$.conversation`"),
        ({"sender": {"id": 10**12, "type": "user"}}, "sender.id: must be an integer from 1 to 999999999999"),
        ({"event": None}, "Expected `str`, got `null` - at `$.event`"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_without_the_value(change: dict[str, Any], problem: str) -> None:
    assert mapped(body_of("08-") | change) == ([], problem)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 100_000, b'{"event":"message_created","x":' + b"[" * 100_000]
)
def test_what_is_no_delivery_has_a_problem_and_no_events(body: bytes) -> None:
    found = events_of(body, INBOX)
    assert found.events == []
    assert found.problem


def test_seconds_have_to_be_seconds() -> None:
    for wrong in (1_795_165_200_000, -5, 10**300, 0):
        assert mapped(body_of("01-") | {"created_at": wrong}).problem == (
            "created_at: must be epoch seconds, from 2000 on"
        )
