"""pandas: sorted once, then shifts, forward fills and groups; no loop over rows.

Complete for agent segments, handle time included. Leaves out: accounts (there is one), skills, sources, employees
and groups, skill segments, handle-time units with their reasons (only their sum), single response times (only number
and sum), stable ids, what had no effect and why, the handle time of segments that are still running, agents with ids
beyond 2^53 (a column with gaps is of floats).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

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
    "consumer": "closedByConsumer",
    "agent": "closedByAgent",
    "system": "closedBySystem",
    "transferred agent": "agentTransfer",
    "skill": "skillTransfer",
    "backToQueue": "backToQueue",
    "takeover": "other",
    "assigned": "agentTransfer",
}
OPENS: Final = ["opened", "resumed"]


def read(path: Path) -> pd.DataFrame:
    """The events as a data frame, times in milliseconds."""
    columns = ["conversationId", "eventId", "time", "sequence", "type", "agentId", "userType", "sentBy", "reason"]
    events = pd.read_parquet(path, columns=[*columns, "closedBy"])
    events["time"] = events["time"].astype("int64")
    events["type"] = events["type"].astype(str)
    return events


def segments(events: pd.DataFrame) -> pd.DataFrame:
    """All agent segments, one row each."""
    ordered = in_order(events)
    control = control_events(ordered)
    starts = control[control["type"] == "assigned"].reset_index(drop=True)
    runs = runs_of(ordered, control, starts)
    waits = waits_of(runs, starts)
    result = starts.join(answers_of(waits))
    result["firstResponse"] = np.where(
        result["follows"].isin(FOLLOWED_BY_FIRST_RESPONSE), result["firstAnswer"] - result["time"], np.nan
    )
    result["handleTime"] = handle_time(ordered, waits).reindex(result.index, fill_value=0)
    unanswered = np.where(result["endReason"] == "closedByConsumer", "abandoned", "nonResponsiveAgent")
    answered = np.where(result["followed"], "interactive", "nonResponsiveConsumer")
    result["outcome"] = np.where(result["agentMessages"] > 0, answered, unanswered)
    return result


def in_order(events: pd.DataFrame) -> pd.DataFrame:
    """Conversation by conversation in the order of events, doubles dropped, with the state before each event."""
    events = events.assign(rank=events["type"].map(RANKS), conversation=pd.factorize(events["conversationId"])[0])
    events = events.sort_values(["conversation", "time", "sequence", "rank", "eventId"], ignore_index=True)
    events = events.drop_duplicates(["conversation", "eventId"], ignore_index=True)
    events["place"] = np.arange(len(events))
    conversation = events["conversation"]
    phase = events["type"].where(events["type"].isin([*OPENS, "closed"]))
    events["phase"] = phase.groupby(conversation).ffill().groupby(conversation).shift()
    consumer = (events["sentBy"] == "consumer").astype("int64")
    events["spoken"] = consumer.groupby(conversation).cumsum() > consumer
    return events


def control_events(ordered: pd.DataFrame) -> pd.DataFrame:
    """What opens, assigns, transfers and closes, without what is void; with what comes before and after."""
    acts = ordered["type"].isin(["transferred", "assigned", "closed"]) & (ordered["phase"] != "closed")
    control = ordered[ordered["type"].isin(OPENS) | acts]
    before = control.groupby("conversation")["type"].shift()
    control = control[~control["type"].isin(OPENS) | before.isna() | (before == "closed")]
    groups = control.groupby("conversation")
    before, agent_before = groups["type"].shift(), groups["agentId"].shift()
    again = (control["type"] == "assigned") & (before == "assigned") & (agent_before == control["agentId"])
    resumes = (control["type"] == "resumed") | (before == "closed")
    control = control.assign(leads=leads_to(control, resumes), ends=end_reason(control))[~again]
    groups = control.groupby("conversation")
    return control.assign(
        follows=groups["leads"].shift().fillna("newConversation"),
        end=groups["time"].shift(-1),
        endReason=groups["ends"].shift(-1),
    )


def leads_to(control: pd.DataFrame, resumes: pd.Series) -> pd.Series:
    """What an agent segment follows after each of these events."""
    leads = pd.Series("transfer", index=control.index)
    leads[control["reason"] == "takeover"] = "takeover"
    opens = control["type"].isin(OPENS)
    leads[opens] = np.where(resumes[opens], "resume", "newConversation")
    return leads


def end_reason(control: pd.DataFrame) -> pd.Series:
    """Why an agent segment ends at each of these events."""
    reason = control["reason"].astype(object).replace("agent", "transferred agent")
    cause = control["closedBy"].astype(object).where(control["type"] == "closed", reason)
    return cause.where(control["type"] != "assigned", "assigned").map(END_REASONS)


def runs_of(ordered: pd.DataFrame, control: pd.DataFrame, starts: pd.DataFrame) -> pd.DataFrame:
    """Runs: the consumer's messages up to the agent's next one, by segment and number of the run."""
    segment = pd.Series(-1, index=control.index)
    segment[control["type"] == "assigned"] = np.arange(len(starts))
    current = segment.reindex(ordered.index).groupby(ordered["conversation"]).ffill().fillna(-1).astype("int64")
    messages = ordered[(ordered["type"] == "message") & (current >= 0)]
    messages = messages.assign(segment=current)
    agent = starts["agentId"].to_numpy()[messages["segment"]]
    by_agent = (messages["sentBy"] == "agent") & (messages["agentId"].isna() | (messages["agentId"] == agent))
    messages = messages[by_agent | (messages["sentBy"] == "consumer")]
    by_agent = messages["sentBy"] == "agent"
    run = by_agent.groupby(messages["segment"]).cumsum() - by_agent
    keys = [messages["segment"], run.rename("run")]
    consumer_wrote = messages["time"].where(~by_agent).groupby(keys).min()
    answered = messages["time"].where(by_agent).groupby(keys).max()
    first = pd.MultiIndex.from_arrays([starts.index, np.zeros(len(starts), "int64")], names=["segment", "run"])
    runs = pd.DataFrame({"consumerWrote": consumer_wrote, "answered": answered})
    return runs.reindex(runs.index.union(first)).reset_index()


def waits_of(runs: pd.DataFrame, starts: pd.DataFrame) -> pd.DataFrame:
    """Runs with the moment since which the consumer waits, until when, and the agent's message before."""
    waits = runs.join(starts[["conversation", "agentId", "userType", "time", "end", "follows", "spoken"]], on="segment")
    first = waits["run"] == 0
    waits["since"] = waits["time"].where(first & waits["spoken"], waits["consumerWrote"])
    waits["until"] = waits["answered"].fillna(waits["end"])
    waits["wroteBefore"] = waits.groupby("segment")["answered"].shift()
    timed = ~first | waits["follows"].isin(FOLLOWED_BY_FIRST_RESPONSE)
    waits["response"] = (waits["answered"] - waits["since"]).where(timed)
    waits["followed"] = ~first & waits["consumerWrote"].notna()
    return waits


def answers_of(waits: pd.DataFrame) -> pd.DataFrame:
    """Messages and responses by segment."""
    return waits.groupby("segment").agg(
        agentMessages=("answered", "count"),
        firstAnswer=("answered", "min"),
        responses=("response", "count"),
        responseMillis=("response", "sum"),
        followed=("followed", "any"),
    )


def handle_time(ordered: pd.DataFrame, waits: pd.DataFrame) -> pd.Series:
    """By segment: where an agent's focus overlaps with waiting, or with writing between two messages of their own."""
    waits = waits[waits["userType"] != "bot"]
    columns = ["segment", "conversation", "agentId", "since", "until"]
    writing = waits[waits["consumerWrote"].isna() & waits["wroteBefore"].notna() & waits["answered"].notna()]
    writing = writing.assign(since=writing["wroteBefore"])
    spans = pd.concat([waits.loc[waits["since"].notna(), columns], writing[columns]])
    both = spans.merge(looks_of(ordered), on=["conversation", "agentId"], suffixes=("", "Look"))
    overlap = np.minimum(both["until"], both["untilLook"]) - np.maximum(both["since"], both["sinceLook"])
    return overlap.clip(lower=0).groupby(both["segment"]).sum()


def looks_of(ordered: pd.DataFrame) -> pd.DataFrame:
    """From when until when each agent's focus was on a conversation."""
    moves = ordered[ordered["rank"] == RANKS["focused"]]
    moves = moves.sort_values(["agentId", "time", "sequence", "eventId", "conversationId"])
    focused = moves["type"] == "focused"
    focus = moves["conversation"].where(focused).groupby(moves["agentId"]).ffill()
    moves = moves[focused | (focus == moves["conversation"])]
    looks = pd.DataFrame(
        {
            "conversation": moves["conversation"],
            "agentId": moves["agentId"],
            "sinceLook": moves["time"],
            "untilLook": moves.groupby("agentId")["time"].shift(-1).fillna(np.inf),
        }
    )
    return looks[moves["type"] == "focused"]


def summary(rows: pd.DataFrame) -> Summary:
    """Sums over ended segments."""
    ended = rows[rows["end"].notna()]
    return Summary(
        ended=len(ended),
        duration_millis=int((ended["end"] - ended["time"]).sum()),
        agent_messages=int(ended["agentMessages"].sum()),
        first_responses=int(ended["firstResponse"].count()),
        first_response_millis=int(ended["firstResponse"].sum()),
        responses=int(ended["responses"].sum()),
        response_millis=int(ended["responseMillis"].sum()),
        handle_time_millis=int(ended["handleTime"].sum()),
        outcomes=ended["outcome"].value_counts().to_dict(),
        end_reasons=ended["endReason"].value_counts().to_dict(),
    )


if __name__ == "__main__":
    program(read, segments, summary)
