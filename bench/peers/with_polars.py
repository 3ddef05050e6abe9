"""Polars: expressions over conversations and two joins, lazy, but collected where a step is used more than once.

(One lazy query for everything takes eight times as long: steps that are used twice are computed twice.)

Complete for agent segments, handle time included. Leaves out: accounts (there is one), skills, sources, employees
and groups, skill segments, handle-time units with their reasons (only their sum), single response times (only number
and sum), stable ids, what had no effect and why, the handle time of segments that are still running.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl
from polars import col

from bench.peers import FOLLOWED_BY_FIRST_RESPONSE, Summary, program

RANKS: Final = {
    "opened": 0,
    "resumed": 0,
    "transferred": 1,
    "assigned": 2,
    "focused": 3,
    "unfocused": 3,
    "message": 4,
    "closed": 5,
}
END_REASONS: Final = {
    "closed consumer": "closedByConsumer",
    "closed agent": "closedByAgent",
    "closed system": "closedBySystem",
    "transferred agent": "agentTransfer",
    "transferred skill": "skillTransfer",
    "transferred backToQueue": "backToQueue",
    "transferred takeover": "other",
}
OPENS: Final = col("type").is_in(["opened", "resumed"])
NAMES: Final = {
    "conversationId": "conversation",
    "eventId": "id",
    "agentId": "agent",
    "userType": "user_type",
    "sentBy": "sent_by",
    "closedBy": "closed_by",
}


def read(path: Path) -> pl.DataFrame:
    """The events as a data frame, times in milliseconds, closed lists as strings."""
    columns = [*NAMES, "time", "sequence", "type", "reason"]
    closed_lists = ["type", "userType", "sentBy", "reason", "closedBy"]
    events = pl.read_parquet(path, columns=columns)
    return events.with_columns(col("time").cast(pl.Int64), col(closed_lists).cast(pl.String)).rename(NAMES)


def segments(events: pl.DataFrame) -> pl.DataFrame:
    """All agent segments, one row each."""
    ordered = in_order(events.lazy()).collect()
    control = control_events(ordered.lazy()).collect()
    starts = control.filter(type="assigned").rename({"place": "segment", "time": "start"}).lazy()
    waits = waits_of(runs_of(ordered.lazy(), control.lazy(), starts), starts).collect().lazy()
    result = (
        starts.join(answers_of(waits), on="segment", how="left")
        .join(handle_time(ordered.lazy(), waits), on="segment", how="left")
        .with_columns(
            col("handle_time").fill_null(0),
            first_response=pl.when(col("follows").is_in(FOLLOWED_BY_FIRST_RESPONSE)).then(
                col("first_answer") - col("start")
            ),
            outcome=pl.when(col("agent_messages") > 0)
            .then(pl.when("followed").then(pl.lit("interactive")).otherwise(pl.lit("nonResponsiveConsumer")))
            .when(end_reason="closedByConsumer")
            .then(pl.lit("abandoned"))
            .otherwise(pl.lit("nonResponsiveAgent")),
        )
    )
    return result.collect()


def in_order(events: pl.LazyFrame) -> pl.LazyFrame:
    """Conversation by conversation in the order of events, doubles dropped, with the state before each event."""
    consumer = col("sent_by").eq_missing("consumer")
    phase = pl.when(OPENS | (col("type") == "closed")).then("type")
    return (
        events.with_columns(rank=col("type").replace_strict(RANKS, return_dtype=pl.Int8))
        .sort("conversation", "time", "sequence", "rank", "id")
        .unique(["conversation", "id"], keep="first", maintain_order=True)
        .with_row_index("place")
        .with_columns(
            phase=phase.forward_fill().shift().over("conversation"),
            spoken=(consumer.cum_sum() - consumer.cast(pl.UInt32) > 0).over("conversation"),
        )
    )


def control_events(ordered: pl.LazyFrame) -> pl.LazyFrame:
    """What opens, assigns, transfers and closes, without what is void; with what comes before and after."""
    acts = col("type").is_in(["transferred", "assigned", "closed"]) & col("phase").ne_missing("closed")
    before = col("type").shift().over("conversation")
    again = (col("type") == "assigned") & col("before").eq_missing("assigned") & (col("agent_before") == col("agent"))
    leads_to = (
        pl.when(OPENS & ((col("type") == "resumed") | col("before").eq_missing("closed")))
        .then(pl.lit("resume"))
        .when(OPENS)
        .then(pl.lit("newConversation"))
        .when(col("reason").eq_missing("takeover"))
        .then(pl.lit("takeover"))
        .otherwise(pl.lit("transfer"))
    )
    cause = pl.concat_str("type", pl.lit(" "), pl.coalesce("reason", "closed_by"))
    reason = cause.replace_strict(END_REASONS, default="agentTransfer")
    return (
        ordered.filter(OPENS | acts)
        .filter(~OPENS | before.is_null() | (before == "closed"))
        .with_columns(before=before, agent_before=col("agent").shift().over("conversation"))
        .filter(~again.fill_null(False))
        .with_columns(
            follows=leads_to.shift().over("conversation").fill_null("newConversation"),
            end=col("time").shift(-1).over("conversation"),
            end_reason=reason.shift(-1).over("conversation"),
        )
    )


def runs_of(ordered: pl.LazyFrame, control: pl.LazyFrame, starts: pl.LazyFrame) -> pl.LazyFrame:
    """Runs: the consumer's messages up to the agent's next one. Each segment's own start stands in its first run."""
    current = control.select("conversation", "place", segment="place", assigned="agent", acts="type").sort("place")
    by_agent = col("sent_by") == "agent"
    by_the_assigned = by_agent & (col("agent").is_null() | (col("agent") == col("assigned")))
    counted = (
        ordered.filter(type="message")
        .join_asof(current, on="place", by="conversation", check_sortedness=False)
        .filter(col("acts") == "assigned")
        .filter((col("sent_by") == "consumer") | by_the_assigned)
        .select("segment", "place", "time", by_agent=by_agent)
    )
    start = starts.select("segment", place="segment", time="start", by_agent=pl.lit(None, pl.Boolean))
    before = col("by_agent").fill_null(False).cast(pl.UInt32)
    return (
        pl.concat([counted, start])
        .sort("segment", "place")
        .with_columns(run=(before.cum_sum() - before).over("segment"))
        .group_by("segment", "run")
        .agg(consumer_wrote=col("time").filter(~col("by_agent")).min(), answered=col("time").filter("by_agent").max())
    )


def waits_of(runs: pl.LazyFrame, starts: pl.LazyFrame) -> pl.LazyFrame:
    """Runs with the moment since which the consumer waits, until when, and the agent's message before."""
    since = pl.when((col("run") == 0) & col("spoken")).then("start").otherwise("consumer_wrote")
    timed = (col("run") > 0) | col("follows").is_in(FOLLOWED_BY_FIRST_RESPONSE)
    known = starts.select("segment", "conversation", "agent", "user_type", "start", "end", "follows", "spoken")
    return (
        runs.join(known, on="segment")
        .sort("segment", "run")
        .with_columns(
            since=since,
            until=pl.coalesce("answered", "end"),
            wrote_before=col("answered").shift().over("segment"),
            response=pl.when(timed).then(col("answered") - since),
        )
    )


def answers_of(waits: pl.LazyFrame) -> pl.LazyFrame:
    """Messages and responses by segment."""
    return waits.group_by("segment").agg(
        agent_messages=col("answered").count(),
        first_answer=col("answered").min(),
        responses=col("response").count(),
        response_millis=col("response").sum(),
        followed=((col("run") > 0) & col("consumer_wrote").is_not_null()).any(),
    )


def handle_time(ordered: pl.LazyFrame, waits: pl.LazyFrame) -> pl.LazyFrame:
    """By segment: where an agent's focus overlaps with waiting, or with writing between two messages of their own."""
    human = waits.filter(col("user_type").ne_missing("bot"))
    writing = human.filter(col("consumer_wrote").is_null()).with_columns(since="wrote_before", until="answered")
    spans = pl.concat([human, writing]).drop_nulls(["since", "until"])
    overlap = pl.min_horizontal("until", "until_look") - pl.max_horizontal("since", "since_look")
    return (
        spans.join(looks_of(ordered), on=["conversation", "agent"])
        .filter(overlap > 0)
        .group_by("segment")
        .agg(handle_time=overlap.sum())
    )


def looks_of(ordered: pl.LazyFrame) -> pl.LazyFrame:
    """From when until when each agent's focus was on a conversation."""
    focused = col("type") == "focused"
    return (
        ordered.filter(col("rank") == RANKS["focused"])
        .sort("agent", "time", "sequence", "id", "conversation")
        .with_columns(focus=pl.when(focused).then("conversation").forward_fill().over("agent"))
        .filter(focused | (col("focus") == col("conversation")))
        .with_columns(until_look=col("time").shift(-1).over("agent").fill_null(2**62))
        .filter(focused)
        .select("conversation", "agent", "until_look", since_look="time")
    )


def summary(rows: pl.DataFrame) -> Summary:
    """Sums over ended segments."""
    ended = rows.filter(col("end").is_not_null())
    return Summary(
        ended=len(ended),
        duration_millis=(ended["end"] - ended["start"]).sum(),
        agent_messages=ended["agent_messages"].sum(),
        first_responses=ended["first_response"].count(),
        first_response_millis=ended["first_response"].sum(),
        responses=ended["responses"].sum(),
        response_millis=ended["response_millis"].sum(),
        handle_time_millis=ended["handle_time"].sum(),
        outcomes=dict(ended["outcome"].value_counts().iter_rows()),
        end_reasons=dict(ended["end_reason"].value_counts().iter_rows()),
    )


if __name__ == "__main__":
    program(read, segments, summary)
