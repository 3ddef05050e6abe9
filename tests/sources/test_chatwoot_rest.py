"""Conversations of Chatwoot's REST API become events, beside deliveries and in their place.

Covers: sources/chatwoot/rest.
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
from handletime.sources.chatwoot.rest import History, Period, history_of
from handletime.sources.chatwoot.webhook import Options, events_of
from tests.segments.tables import events_of as event_table
from tests.segments.tables import in_order, rows_of
from tests.sources.chatwoot_stories import START, in_rest, lived
from tests.sources.chatwoot_stub import Chatwoot, Deliverer

STORIES = Path(__file__).parent / "chatwoot"
INBOX, TEAM = Options(), Options(skill="team")
BOT = 2 * 10**12 + 3
NEVER, ALWAYS = Period(), Period(until=START + 10**9)
Row = dict[str, Any]


def answer(name: str) -> Any:
    (path,) = STORIES.glob(f"{name}*.json")
    return json.loads(path.read_bytes())


RECORD = answer("91-")["data"]["payload"][0]
MESSAGES = answer("90-")["payload"]


def history(
    record: Row = RECORD, messages: Iterable[Row] = MESSAGES, options: Options = INBOX, silent: Period = ALWAYS
) -> History:
    return history_of(json.dumps(record).encode(), [json.dumps(each).encode() for each in messages], options, silent)


def short(events: Iterable[Any]) -> list[str]:
    known = ("conversationId", "eventId", "time", "sequence", "type", "source")
    return [
        " ".join([row["eventId"], row["type"], *(str(value) for name, value in row.items() if name not in known)])
        for row in map(msgspec.to_builtins, events)
    ]


def delivered(bodies: Iterable[bytes], options: Options) -> list[Row]:
    found = [events_of(body, options) for body in bodies]
    assert [each.problem for each in found if each.problem] == []
    return [msgspec.to_builtins(event) for each in found for event in each.events]


def backfilled(chatwoot: Chatwoot, options: Options, silent: Period = NEVER) -> list[Row]:
    """What REST tells now of all conversations."""
    told: list[Row] = []
    for record in chatwoot.answer("GET", "/api/v1/accounts/1/conversations?status=all", b"")[1]["data"]["payload"]:
        messages = f"/api/v1/accounts/1/conversations/{record['id']}/messages?after=0"
        found = history(record, chatwoot.answer("GET", messages, b"")[1]["payload"], options, silent)
        assert found.problems == []
        told += [msgspec.to_builtins(event) for event in found.events]
    return told


def derived(told: Iterable[Row]) -> dict[str, list[Row]]:
    tables = derive(event_table(told))
    return {name: in_order(rows_of(getattr(tables, name))) for name in ("agent_segments", "skill_segments")}


# --- one conversation -----------------------------------------------------------------------------------------


def test_where_no_delivery_was_made_messages_tell_who_had_the_conversation() -> None:
    found = history()
    assert short(found.events) == [
        "o opened 3",
        "m1001 message consumer",
        f"m1002:a assigned {BOT} bot",
        f"m1002 message {BOT} agent",
        "m1003 message system",
        "m1004:a assigned 7",
        "m1004 message 7 agent",
        "m1006 message consumer",
        "m1007 message system",
        "m1008 message 7 agent",
        "m1010 message consumer",
        "m1011 message 7 agent",
        "m1012 message system",
        "u1795166160412:c closed agent",
    ]
    assert found.is_reconstructed
    assert found.problems == []


def test_where_deliveries_were_made_rest_assigns_nobody() -> None:
    found = history(silent=NEVER)
    assert [event.type for event in found.events if event.type not in ("message", "opened")] == ["closed"]
    assert not found.is_reconstructed
    begun = history(silent=Period(until=1_795_165_276_000))
    assert [event.event_id for event in begun.events if event.type == "assigned"] == ["m1002:a"]


def test_times_are_those_of_rest_and_have_revision_0() -> None:
    found = history().events
    assert [(event.time, event.sequence) for event in found[:2]] == [(1_795_165_200_000, 0), (1_795_165_200_000, 1001)]
    assert (found[-1].time, {event.revision for event in found}) == (1_795_166_160_412, {0})


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"status": "open"}, ["u1795166160412:r resumed 3", "u1795166160412:a assigned 7"]),
        ({"status": "snoozed"}, []),
        ({"status": "pending"}, []),
        ({"updated_at": 1_795_166_160.412999}, ["u1795166160412:c closed agent"]),
        ({"updated_at": None}, ["u1795166140000:c closed agent"]),
        ({"updated_at": None, "last_activity_at": None}, []),
    ],
    ids=str,
)
def test_the_present_state_is_told_as_the_delivery_of_its_change_tells_it(change: Row, wanted: list[str]) -> None:
    assert short(history(RECORD | change, []).events)[1:] == wanted


def test_without_the_time_of_the_state_it_contradicts_no_delivery() -> None:
    assert short(history(RECORD | {"updated_at": None}, [], silent=NEVER).events) == ["o opened 3"]


def test_the_channel_stands_beside_the_assignee() -> None:
    record = RECORD | {"meta": RECORD["meta"] | {"channel": "Channel::Whatsapp"}}
    assert history(record, []).events[0].source == "Whatsapp"


def test_the_present_team_counts_from_the_start_where_nothing_else_tells() -> None:
    assert short(history(messages=[], options=TEAM).events)[0] == "o opened 5"
    assert short(history(messages=[], options=TEAM, silent=NEVER).events)[0] == "o opened"


def test_what_is_wrong_is_said_without_the_value_and_the_rest_is_told() -> None:
    wrong = [
        MESSAGES[0] | {"created_at": 5},
        MESSAGES[1] | {"id": "x"},
        MESSAGES[4] | {"sender": {"id": -3, "type": "user"}},
        MESSAGES[5] | {"created_at": "2026-11-20T09:02:00Z"},
        MESSAGES[7],
    ]
    found = history(messages=wrong)
    assert found.problems == [
        "a message: Expected `int`, got `str` - at `$.id`",
        "message 1001: created_at: must be epoch seconds, from 2000 on",
        "message 1004: sender.id: must be an integer from 1 to 999999999999",
        "message 1006: created_at: must be epoch seconds",
    ]
    assert "m1008 message 7 agent" in short(found.events)
    assert history(RECORD | {"id": "x"}) == ([], ["Expected `int`, got `str` - at `$.id`"], False)


# --- beside deliveries ----------------------------------------------------------------------------------------

SEEDS = range(40)


@pytest.mark.parametrize("options", [INBOX, TEAM], ids=["inbox", "team"])
def test_order_doubles_and_copies_made_later_change_nothing(options: Options, seed: int) -> None:
    for own in SEEDS:
        chatwoot, bodies, jobs = lived(seed + own)
        wanted = derived(delivered(bodies, options))
        dice = random.Random(seed + own)
        again = [json.dumps(chatwoot.render(job)).encode() for job in dice.sample(jobs, len(jobs) // 2)]
        shuffled = [*bodies, *dice.choices(bodies, k=5), *again]
        dice.shuffle(shuffled)
        assert derived(delivered(shuffled, options)) == wanted, seed + own


@pytest.mark.parametrize("options", [INBOX, TEAM], ids=["inbox", "team"])
def test_a_backfill_at_any_moment_changes_nothing_of_what_deliveries_told(options: Options, seed: int) -> None:
    for own in SEEDS:
        told: list[Row] = []

        def look(chatwoot: Chatwoot, told: list[Row] = told) -> None:
            told += backfilled(chatwoot, options)

        _, bodies, _ = lived(seed + own, look)
        wanted = derived(delivered(bodies, options))
        both = [*delivered(bodies, options), *told]
        random.Random(seed + own).shuffle(both)
        assert derived(both) == wanted, seed + own


def test_lost_deliveries_are_made_good_where_rest_has_the_facts(seed: int) -> None:
    """At whole seconds all columns are the same."""
    for own in SEEDS:
        chatwoot, bodies, jobs = lived(seed + own, bots=False, millis=False)
        dice = random.Random(seed + own)
        kept = [
            body
            for body, known in zip(bodies, in_rest(chatwoot, jobs), strict=True)
            if not known or dice.random() < 0.4
        ]
        told = [*delivered(kept, INBOX), *backfilled(chatwoot, INBOX)]
        assert derived(told) == derived(delivered(bodies, INBOX)), seed + own


def test_lost_milliseconds_alone_are_lost(seed: int) -> None:
    """With milliseconds all columns but the response times, which are measured between messages."""
    for own in SEEDS:
        chatwoot, bodies, jobs = lived(seed + own, bots=False)
        kept = [body for body, known in zip(bodies, in_rest(chatwoot, jobs), strict=True) if not known]
        found = derived([*delivered(kept, INBOX), *backfilled(chatwoot, INBOX)])
        for name, wanted in derived(delivered(bodies, INBOX)).items():
            assert in_order(map(plain, found[name])) == in_order(map(plain, wanted)), seed + own


def plain(row: Row) -> Row:
    """A row without what is measured from one message to another: only how many times that could be done."""
    return {
        name: len(value) if isinstance(value, list) else value is None if name == "firstResponseMillis" else value
        for name, value in row.items()
    }


def test_deliveries_made_late_tell_all_changes(seed: int) -> None:
    """Where all jobs run at the end, in any order and some twice: only who keeps a conversation at its reopening, and
    what bots have, stands in states alone."""
    tried = 0
    for own in SEEDS:
        chatwoot, bodies, jobs = lived(seed + own, bots=False)
        if any("resolved" in str(job.changes) for job in jobs[:-1]):
            continue
        tried += 1
        chatwoot.jobs, late = list(jobs), list[bytes]()
        Deliverer(chatwoot, late.append).run_late(random.Random(seed + own), doubled=0.3)
        wanted = derived(delivered(bodies, INBOX))
        assert derived(delivered(late, INBOX)) == wanted, seed + own
        assert derived([*backfilled(chatwoot, INBOX), *delivered(late, INBOX)]) == wanted, seed + own
    assert tried
