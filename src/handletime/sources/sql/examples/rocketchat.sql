-- Rocket.Chat: the Omnichannel webhook, or a file of its bodies (docs/mappings/rocketchat.md).
-- Ids are texts: they become numbers by id53, and employeeId holds the agent's.
with bodies as (
    select
        *,
        txt(body, '$._id') as room,
        txt(body, '$.type') as kind,
        txt(body, '$.departmentId') as department,
        txt(body, '$.servedBy._id') as agent,
        txt(body, '$.servedBy.ts') as served
    from input
),
messages as (
    select "row", room, unnest(from_json(body -> '$.messages', '["json"]')) as message
    from bodies
    where kind in ('LivechatSessionStart', 'LivechatSession', 'Message')
)
select
    "row", room as "conversationId", 'o' as "eventId", txt(body, '$.createdAt') as "time", 'opened' as "type",
    null as "agentId", null as "employeeId", id53(department) as "skillId",
    null as "sentBy", null as "reason", null as "closedBy"
from bodies where kind = 'LivechatSessionStart'

union all -- Each message has its id, so it may come in several bodies.
select
    "row", room, 'm' || coalesce(txt(message, '$._id'), txt(message, '$.ts')), txt(message, '$.ts'), 'message',
    id53(txt(message, '$.agentId')), null, null,
    case when txt(message, '$.agentId') is null then 'consumer' else 'agent' end, null, null
from messages
where txt(message, '$.closingMessage') is null and txt(message, '$.navigation') is null

union all -- A chat that is forwarded without a new agent waits in the department; only the delivery has a time then.
select
    "row", room, 't' || coalesce(served, epoch_ms(received)::text), coalesce(served, strftime(received at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ')), 'transferred',
    null, null, id53(department),
    null, case when txt(body, '$.oldDepartmentId') <> department then 'skill' else 'agent' end, null
from bodies where kind = 'LivechatSessionForwarded'

union all
select
    "row", room, 'a' || served, served, 'assigned',
    id53(agent), agent, id53(department),
    null, null, null
from bodies where kind in ('LivechatSessionTaken', 'LivechatSessionForwarded') and agent is not null

union all
select
    "row", room, 'c', txt(body, '$.closedAt'), 'closed',
    null, null, null,
    null, null,
    case
        when txt(body, '$.closer') = 'visitor' then 'consumer'
        when txt(body, '$.closedBy._id') = 'rocket.cat' then 'system'  -- chats that were silent for too long
        else 'agent'
    end
from bodies where kind = 'LivechatSession'
