"""DuckDB: window functions over a table of events, two joins.

Complete for agent segments, handle time included. Leaves out: accounts (there is one), skills, sources, employees
and groups, skill segments, handle-time units with their reasons (only their sum), single response times (only number
and sum), stable ids, what had no effect and why, the handle time of segments that are still running.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from bench.peers import Summary, program

READ: Final = """
create or replace table events as
select conversationId as conversation, eventId, epoch_ms("time") as t, sequence, type::varchar as type,
    case type::varchar when 'opened' then 0 when 'resumed' then 0 when 'transferred' then 1 when 'assigned' then 2
        when 'focused' then 3 when 'unfocused' then 3 when 'message' then 4 else 5 end as rank,
    agentId as agent, userType::varchar as user_type, sentBy::varchar as sent_by, reason::varchar as reason,
    closedBy::varchar as closed_by
from read_parquet(?)
"""

SEGMENTS: Final = (
    # Doubles out, a place in the order for each event, and the state before it as far as one look back tells.
    """
create or replace temp table walked as
with kept as (
    select * from events
    qualify row_number() over (partition by conversation, eventId order by t, sequence, rank) = 1
)
select *,
    row_number() over (order by t, sequence, rank, eventId, conversation) as place,
    last_value(case when type in ('opened', 'resumed', 'closed') then type end ignore nulls) over before as phase,
    coalesce(bool_or(sent_by = 'consumer') over before, false) as spoken
from kept
window before as (
    partition by conversation order by t, sequence, rank, eventId
    rows between unbounded preceding and 1 preceding
)
""",
    # What opens, assigns, transfers and closes: first without what is void while closed or open already, then
    # without assignments to the agent who has the conversation, then with what comes before and after.
    """
create or replace temp table control as
with possible as (
    select *, lag(type) over w as previous
    from walked
    where type in ('opened', 'resumed')
        or type in ('transferred', 'assigned', 'closed') and phase is distinct from 'closed'
    window w as (partition by conversation order by place)
), effective as (
    select *, lag(type) over w as type_before, lag(agent) over w as agent_before
    from possible
    where type not in ('opened', 'resumed') or previous is null or previous = 'closed'
    window w as (partition by conversation order by place)
)
select *,
    lag(case type
        when 'assigned' then 'transfer'
        when 'transferred' then if(reason = 'takeover', 'takeover', 'transfer')
        when 'closed' then null
        else if(type = 'resumed' or type_before = 'closed', 'resume', 'newConversation')
    end) over w as follows,
    lead(t) over w as "end",
    lead(case type
        when 'assigned' then 'agentTransfer'
        when 'closed' then
            case closed_by when 'consumer' then 'closedByConsumer' when 'agent' then 'closedByAgent'
                else 'closedBySystem' end
        else
            case reason when 'agent' then 'agentTransfer' when 'skill' then 'skillTransfer'
                when 'backToQueue' then 'backToQueue' else 'other' end
    end) over w as end_reason
from effective
where type <> 'assigned' or type_before is distinct from 'assigned' or agent_before <> agent
window w as (partition by conversation order by place)
""",
    """
create or replace temp table starts as
select place as segment, conversation, agent, user_type is distinct from 'bot' as human, t as start, "end", end_reason,
    coalesce(follows, 'newConversation') as follows, spoken
from control where type = 'assigned'
""",
    # Runs: the consumer's messages up to the agent's next one. Each segment's own start stands in its first run.
    """
create or replace temp table runs as
with counted as (
    select c.place as segment, m.place, m.t, m.sent_by = 'agent' as by_agent
    from walked m asof join control c on m.conversation = c.conversation and m.place > c.place
    where m.type = 'message' and c.type = 'assigned'
        and (m.sent_by = 'consumer' or m.sent_by = 'agent' and coalesce(m.agent = c.agent, true))
    union all
    select segment, segment, start, null from starts
), numbered as (
    select *, count(*) filter (by_agent) over (
        partition by segment order by place rows between unbounded preceding and 1 preceding) as run
    from counted
)
select segment, run, min(t) filter (not by_agent) as consumer_wrote, max(t) filter (by_agent) as answered
from numbered group by segment, run
""",
    """
create or replace temp table waits as
select s.segment, run, s.agent, s.conversation, s.human, answered,
    run = 0 and follows in ('takeover', 'resume') as untimed,
    if(run = 0 and spoken, start, consumer_wrote) as since,
    coalesce(answered, "end") as until,
    lag(answered) over (partition by s.segment order by run) as wrote_before,
    consumer_wrote
from runs join starts s using (segment)
""",
    # Handle time: where an agent's focus overlaps with waiting, or with writing between two messages of their own.
    """
create or replace temp table handled as
with moves as (
    select *, last_value(case when type = 'focused' then conversation end ignore nulls) over (
        partition by agent order by place rows between unbounded preceding and 1 preceding) as focus
    from walked where type in ('focused', 'unfocused')
), looks as (
    select agent, conversation, type, t as since,
        lead(t, 1, 9223372036854775807) over (partition by agent order by place) as until
    from moves where type = 'focused' or focus = conversation
), spans as (
    select segment, agent, conversation, since, until from waits where human and since is not null
    union all
    select segment, agent, conversation, wrote_before, answered from waits
    where human and consumer_wrote is null and answered is not null and wrote_before is not null
)
select segment, sum(least(s.until, l.until) - greatest(s.since, l.since)) as handle_time
from spans s join looks l
    on s.agent = l.agent and s.conversation = l.conversation and l.since < s.until and s.since < l.until
where l.type = 'focused'
group by segment
""",
    """
create or replace table segments as
with answers as (
    select segment, count(answered) as agent_messages, min(answered) as first_answer,
        count(*) filter (answered is not null and since is not null and not untimed) as responses,
        sum(answered - since) filter (answered is not null and since is not null and not untimed) as response_millis,
        bool_or(run > 0 and consumer_wrote is not null) as followed
    from waits group by segment
)
select segment, conversation, agent, start, "end", end_reason, follows, agent_messages,
    if(follows in ('newConversation', 'transfer'), first_answer - start, null) as first_response,
    responses, coalesce(response_millis, 0) as response_millis, coalesce(handle_time, 0) as handle_time,
    case when "end" is null then null
        when agent_messages > 0 then if(followed, 'interactive', 'nonResponsiveConsumer')
        when end_reason = 'closedByConsumer' then 'abandoned'
        else 'nonResponsiveAgent' end as outcome
from starts join answers using (segment) left join handled using (segment)
""",
)


def read(path: Path) -> duckdb.DuckDBPyConnection:
    """The events as a table of DuckDB, in memory."""
    connection = duckdb.connect()
    connection.execute(READ, [str(path)])
    return connection


def segments(events: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A connection that has the table `segments`."""
    for statement in SEGMENTS:
        events.execute(statement)
    return events


def summary(rows: duckdb.DuckDBPyConnection) -> Summary:
    """Sums over ended segments."""
    rows.execute(
        """select count(*) as ended, sum("end" - start) as duration_millis, sum(agent_messages) as agent_messages,
        count(first_response) as first_responses, sum(first_response) as first_response_millis,
        sum(responses) as responses, sum(response_millis) as response_millis, sum(handle_time) as handle_time_millis
        from segments where "end" is not null"""
    )
    names = [column[0] for column in rows.description or ()]
    sums = {name: int(value or 0) for name, value in zip(names, rows.fetchone() or (), strict=True)}
    return Summary(**sums, outcomes=_counts(rows, "outcome"), end_reasons=_counts(rows, "end_reason"))


def _counts(rows: duckdb.DuckDBPyConnection, column: str) -> dict[str, int]:
    counts = f'select {column}, count(*) from segments where "end" is not null group by 1'  # noqa: S608 - names above
    return dict(rows.execute(counts).fetchall())


if __name__ == "__main__":
    program(read, segments, summary)
