-- Genesys Cloud: answers of the conversation detail query, or single conversations (docs/mappings/genesys.md).
-- Ids are texts: they become numbers by id53, and employeeId holds the agent's.
with conversations as (
    select
        "row",
        unnest(
            case
                when json_exists(body, '$.conversations') then from_json(body -> '$.conversations', '["json"]')
                else [body]
            end
        ) as conversation
    from input
),
participants as (
    select
        "row",
        txt(conversation, '$.conversationId') as id,
        txt(conversation, '$.conversationEnd') as ended,
        unnest(from_json(conversation -> '$.participants', '["json"]')) as participant
    from conversations
),
sessions as (
    select
        * exclude (participant),
        txt(participant, '$.purpose') as purpose,
        txt(participant, '$.userId') as agent,
        unnest(from_json(participant -> '$.sessions', '["json"]')) as session
    from participants
),
segments as (
    select
        * exclude (session),
        txt(session, '$.sessionId') as session,
        unnest(from_json(session -> '$.segments', '["json"]')) as segment
    from sessions
    where txt(session, '$.mediaType') = 'message'
),
-- What one participant did in one session: agents from where they interact, queues from where it waits in them.
stays as (
    select
        any_value("row") as "row", id, session, purpose,
        any_value(agent) as agent,
        any_value(ended) as ended,
        arg_min(txt(segment, '$.queueId'), txt(segment, '$.segmentStart')) as queue,
        min(txt(segment, '$.segmentStart')) as began,
        max(txt(segment, '$.segmentEnd')) as left_at,
        arg_max(txt(segment, '$.disconnectType'), txt(segment, '$.segmentEnd')) as left_by
    from segments
    where purpose <> 'agent' or txt(segment, '$.segmentType') in ('interact', 'hold')
    group by id, session, purpose
),
queued as (
    select *, row_number() over (partition by id order by began) as n from stays where purpose = 'acd'
)
select
    c."row", txt(conversation, '$.conversationId') as "conversationId", 'o' as "eventId", 'opened' as "type",
    txt(conversation, '$.conversationStart') as "time",
    null as "agentId", null as "employeeId", id53(q.queue) as "skillId",
    txt(conversation, '$.participants[0].sessions[0].messageType') as "source",
    null as "reason", null as "closedBy"
from conversations c left join queued q on q.id = txt(conversation, '$.conversationId') and q.n = 1
where exists (from stays s where s.id = txt(conversation, '$.conversationId'))

union all -- Every queue but the first is a transfer.
select "row", id, 'q' || session, 'transferred', began, null, null, id53(queue), null, 'skill', null
from queued where n > 1

union all
select "row", id, 'a' || session, 'assigned', began, id53(agent), agent, id53(queue), null, null, null
from stays where purpose = 'agent'

union all
select "row", id, 't' || session, 'transferred', left_at, null, null, null, null, 'agent', null
from stays where purpose = 'agent' and left_by like 'transfer%'

union all -- Of an agent "client" is the agent, "peer" the other side; of the consumer "endpoint" is the consumer.
select
    any_value("row"), id, 'c', 'closed', any_value(ended), null, null, null, null, null,
    case
        when arg_max(left_by, left_at) filter (where purpose = 'agent') in ('client', 'endpoint') then 'agent'
        when arg_max(left_by, left_at) filter (where purpose = 'agent') = 'peer' then 'consumer'
        when arg_max(left_by, left_at) filter (where purpose in ('customer', 'external')) in ('client', 'endpoint')
            then 'consumer'
        else 'system'
    end
from stays
where ended is not null
group by id
