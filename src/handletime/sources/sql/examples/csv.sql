-- A plain CSV, one row for each thing that happened:
--   conversation,time,event,agent,agent_name,queue,channel,reason
-- Times are a clock on the wall in Berlin; write your own zone. Agents have numbers, queues have names.
with rows as (
    select *, row_number() over (partition by conversation, time order by "row") as n  -- within one second
    from input
)
select
    "row",
    conversation as "conversationId",
    concat(time, ' ', n) as "eventId",  -- the same in each export that has all rows of the second
    time::timestamp at time zone 'Europe/Berlin' as "time",
    n as "sequence",
    case event
        when 'started' then 'opened'
        when 'accepted' then 'assigned'
        when 'customer wrote' then 'message'
        when 'agent wrote' then 'message'
        when 'transferred' then 'transferred'
        when 'ended by customer' then 'closed'
        when 'ended by agent' then 'closed'
        when 'ended by system' then 'closed'
        when 'started again' then 'resumed'
        else event  -- what is not known is told as a fault
    end as "type",
    agent as "agentId",
    id53(queue) as "skillId",
    channel as "source",
    case event when 'customer wrote' then 'consumer' when 'agent wrote' then 'agent' end as "sentBy",
    case
        when event <> 'transferred' then null
        when reason = 'back to queue' then 'backToQueue'
        when reason = 'other queue' then 'skill'
        else 'agent'
    end as "reason",
    case event
        when 'ended by customer' then 'consumer'
        when 'ended by agent' then 'agent'
        when 'ended by system' then 'system'
    end as "closedBy"
from rows
