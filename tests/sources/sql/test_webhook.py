"""Bodies of webhooks, many at once: each gives all of its events or none, and what runs away harms nobody.

Covers: sources/sql/worker.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from threading import Timer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handletime.errors import InputError
from handletime.sources.batch import MappedBodies
from handletime.sources.sql import webhook as module
from handletime.sources.sql.webhook import BODY_MAX_BYTES, Webhook, unreadable

AT = 1_795_600_800_000
# Each body's `events` as they are.
MAPPING = """
with each as (select {row} received, unnest(from_json(body -> '$.events', '["json"]')) as e from input)
select {row} 'c' as "conversationId", txt(e, '$.id') as "eventId", txt(e, '$.type') as type,
    coalesce(txt(e, '$.at')::timestamptz, received) as time, txt(e, '$.skill')::bigint as "skillId",
    txt(e, '$.account') as "accountId"
from each
"""
WITH_ROWS, WITHOUT_ROWS = MAPPING.format(row='"row",'), MAPPING.format(row="")


@pytest.fixture(scope="module", params=[WITH_ROWS, WITHOUT_ROWS], ids=["with rows", "without rows"])
def webhook(request: pytest.FixtureRequest) -> Iterator[Webhook]:
    """A mapping that passes on the row of the input, and one that does not."""
    with Webhook(request.param, "my.sql") as made:
        yield made


def a_body(*ids: str, type_: str = "opened", **more: object) -> bytes:
    return json.dumps({"events": [{"id": id_, "type": type_, **more} for id_ in ids]}).encode()


def mapped(webhook: Webhook, *bodies: bytes) -> MappedBodies:
    return webhook.map_bodies([(body, AT) for body in bodies], account="acme")


def ids(batch: MappedBodies) -> list[str]:
    return sorted(batch.events["eventId"].to_pylist())


def test_good_bodies_become_events(webhook: Webhook) -> None:
    batch = mapped(webhook, a_body("a", "b"), b'{"events": []}', b"{}", b"[1]", b"null", a_body("c", skill="7"))
    assert batch.problems == {}
    assert ids(batch) == ["a", "b", "c"]
    assert set(batch.events["accountId"].to_pylist()) == {"acme"}
    assert {time.timestamp() * 1000 for time in batch.events["time"].to_pylist()} == {AT}


def test_no_bodies_become_no_events(webhook: Webhook) -> None:
    assert mapped(webhook).events.num_rows == 0


def test_a_body_gives_all_of_its_events_or_none(webhook: Webhook) -> None:
    half = json.dumps({"events": [{"id": "x", "type": "opened"}, {"id": "y", "type": "open"}]}).encode()
    batch = mapped(webhook, a_body("a"), half, a_body("b"), a_body("c", type_="message"), a_body("d"))
    assert ids(batch) == ["a", "b", "d"]
    assert list(batch.problems) == [1, 3]
    assert batch.problems[1].startswith("type: must be one of opened")
    assert batch.problems[3].startswith("sentBy: is missing")


def test_a_body_on_which_sql_fails_is_kept_back_alone(webhook: Webhook) -> None:
    bodies = [a_body(str(number)) for number in range(40)]
    bodies[7] = a_body("Jane", skill="Jane Doe")
    bodies[23] = a_body("Jane", at="Jane Doe")
    batch = mapped(webhook, *bodies)
    assert len(ids(batch)) == 38
    assert list(batch.problems) == [7, 23]
    assert "a value could not become" in batch.problems[7]
    assert "line 4 of the mapping" in batch.problems[7]
    assert not any("Jane" in why for why in batch.problems.values())


def test_times_without_zone_and_other_accounts_are_problems_of_their_bodies(webhook: Webhook) -> None:
    batch = mapped(
        webhook, a_body("a", at="2026-11-20 10:00:00"), a_body("b", account="other"), a_body("c", account="acme")
    )
    assert ids(batch) == ["c"]
    assert batch.problems[0].startswith("time: this timestamp has no time zone")
    assert batch.problems[1] == "accountId: the address of a webhook decides about the account; leave it out"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is no JSON in UTF-8"),
        (b"{", "the body is no JSON in UTF-8"),
        (b'{"a": "\xff"}', "the body is no JSON in UTF-8"),
        (b'{"a": 1} {}', "the body is no JSON in UTF-8"),
        (b"a=1&b=2", "the body is no JSON in UTF-8"),
        (b"[" * 101 + b"]" * 101, "the body is nested deeper than 100 levels"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "the body is nested deeper than 100 levels"),
        (b'"' + b"x" * BODY_MAX_BYTES + b'"', "the body is longer than 4,194,304 bytes"),
    ],
    ids=range(8),
)
def test_a_body_that_cannot_be_read_is_kept_back_alone(webhook: Webhook, body: bytes, says: str) -> None:
    batch = mapped(webhook, a_body("a"), body, a_body("b"))
    assert ids(batch) == ["a", "b"]
    assert batch.problems == {1: says}


def test_wide_bodies_and_those_of_100_levels_are_read() -> None:
    assert unreadable(b"[" + b"[]," * 1000 + b"[]]") is None
    assert unreadable(b"[" * 100 + b"]" * 100) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
event_values = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3) | json_values,
        "type": st.sampled_from(["opened", "resumed", "assigned", "closed", "x"]) | json_values,
        "at": st.sampled_from(["2026-11-20T10:00:00Z", "2026-11-20 10:00:00", "x", "-infinity", "5000000-01-01"]),
        "skill": st.integers() | st.sampled_from(["1", "x", "1e3", "-9223372036854775809"]),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    bodies=st.lists(
        st.builds(
            lambda events: json.dumps({"events": events}).encode(), st.lists(event_values, max_size=3) | json_values
        )
        | st.binary(max_size=20)
        | json_values.map(lambda value: json.dumps(value).encode()),
        min_size=1,
        max_size=5,
    )
)
def test_any_bodies_give_what_each_gives_alone(webhook: Webhook, bodies: list[bytes]) -> None:
    together = mapped(webhook, *bodies)
    alone = [mapped(webhook, body) for body in bodies]
    assert list(together.problems) == [place for place, batch in enumerate(alone) if batch.problems]
    assert all(batch.events.num_rows == 0 for batch in alone if batch.problems)
    assert ids(together) == sorted(id_ for batch in alone for id_ in ids(batch))


@pytest.mark.parametrize(
    "runs_away",
    [
        "(select sum(r.range) from range(case txt(body, '$.bad') when 'yes' then 1000000000000 else 1 end) r)",
        "length(repeat('x', 1000000000 + \"row\"))",
        'len(list_transform(range(100000000 + "row"), lambda x: x + 1))',
        "len(regexp_extract_all(repeat('a', 20000000 + \"row\"), 'a'))",
    ],
)
def test_a_mapping_that_runs_away_is_stopped_and_the_next_batch_is_mapped(runs_away: str) -> None:
    text = f"""select 'c' as "conversationId", 'e' as "eventId", 'opened' as type, received as time,
        case when txt(body, '$.bad') = 'yes' then {runs_away} end as "skillId" from input"""  # noqa: S608
    with Webhook(text, "my.sql", limit_s=2) as webhook:
        batch = mapped(webhook, b'{"bad": "no"}', b'{"bad": "yes"}')
        assert batch.events.num_rows == 1
        assert list(batch.problems) == [1]
        assert any(why in batch.problems[1] for why in ("took too long", "more memory", "process ended"))
        assert mapped(webhook, b"{}", b"{}").events.num_rows == 2


def test_a_process_that_was_killed_is_started_again(webhook: Webhook) -> None:
    assert ids(mapped(webhook, a_body("a"))) == ["a"]
    process = webhook._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    batch = mapped(webhook, a_body("a"))
    assert (ids(batch), batch.problems) == (["a"], {})


@pytest.mark.parametrize("text", [WITH_ROWS, WITHOUT_ROWS], ids=["with rows", "without rows"])
def test_a_body_that_needs_all_memory_takes_none_of_the_others(text: str) -> None:
    pairs = "range((case when e ->> '$.many' is null then 1 else 3000000 end)::bigint)"
    hungry = f"{text} where (select count(*) from {pairs} as a, {pairs} as b where a.range + b.range >= 0) > 0"  # noqa: S608
    bodies = [a_body(str(number), many="yes" if number == 7 else None) for number in range(24)]
    with Webhook(hungry, "my.sql", limit_s=20.0) as webhook:
        batch = mapped(webhook, *bodies)
    assert list(batch.problems) == [7]
    assert len(ids(batch)) == 23


def test_a_process_that_somebody_ends_costs_no_body() -> None:
    slow = WITHOUT_ROWS.replace(
        "with each", "with long as (select sum(n % 7) as n from range(60_000_000) as all_(n)), each"
    )
    slow += "where (select n from long) > 0"
    with Webhook(slow, "my.sql", limit_s=30.0) as webhook:
        process = webhook._process
        assert process is not None
        killing = Timer(0.1, process.kill)
        killing.start()
        batch = mapped(webhook, a_body("a"))
        assert (ids(batch), batch.problems) == (["a"], {})
        assert webhook._process is not process


@pytest.mark.parametrize("text", [WITH_ROWS, WITHOUT_ROWS], ids=["with rows", "without rows"])
def test_what_there_is_no_time_for_stays_untried_but_each_time_something_is_done(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(module, "BATCH_LIMIT_S", -1.0)
    bodies = {str(number): a_body(str(number), at="yesterday" if number < 4 else None) for number in range(12)}
    refused = []
    with Webhook(text, "my.sql") as webhook:
        for _ in range(12):
            batch = mapped(webhook, *bodies.values())
            assert sorted(
                [*ids(batch), *(list(bodies)[place] for place in (*batch.problems, *batch.untried))]
            ) == sorted(bodies)
            refused += [list(bodies)[place] for place in batch.problems]
            bodies = {key: body for place, (key, body) in enumerate(bodies.items()) if place in batch.untried}
            if not bodies:
                break
    assert (bodies, refused) == ({}, ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("select 1; select 2", "exactly one select"),
        ("select nope from input", 'Referenced column "nope" not found'),
        ("select * from input", "no event has body, received"),
        ("select 'a' as \"conversationId\"", "eventId: this column is missing"),
        ("select a from read_text('my.sql') t(a)", "may not read files"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_at_once(text: str, says: str) -> None:
    with pytest.raises(InputError, match=r"my\.sql: ") as refused:
        Webhook(text, "my.sql")
    assert says in str(refused.value)
