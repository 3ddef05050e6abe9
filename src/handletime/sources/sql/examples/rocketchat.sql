-- Rocket.Chat: the Omnichannel webhook, or a file of its bodies (docs/mappings/rocketchat.md).
-- Ids are texts: they become numbers by id53, and employeeId holds the agent's.
with bodies as ( -- What is read of a body, in one go; texts and names are not.
    select "row", received, unnest(from_json(body, '{
        "_id": "varchar", "type": "varchar", "createdAt": "varchar", "departmentId": "varchar",
        "oldDepartmentId": "varchar", "closedAt": "varchar", "closer": "varchar",
        "servedBy": {"_id": "varchar", "ts": "varchar"}, "closedBy": {"_id": "varchar"},
        "messages": [{"_id": "varchar", "ts": "varchar", "agentId": "varchar", "closingMessage": "json", "navigation": "json"}]
    }'))
    from input
),
messages as (
    select "row", _id as room, unnest(messages) as message
    from bodies
    where type in ('LivechatSessionStart', 'LivechatSession', 'Message')
)
select
    "row", _id as "conversationId", 'o' as "eventId", createdAt as "time", 'opened' as "type",
    null as "agentId", null as "employeeId", id53(departmentId) as "skillId",
    null as "sentBy", null as "reason", null as "closedBy"
from bodies where type = 'LivechatSessionStart'

union all -- Each message has its id, so it may come in several bodies.
select
    "row", room, 'm' || coalesce(message._id, message.ts), message.ts, 'message',
    id53(message.agentId), null, null,
    case when message.agentId is null then 'consumer' else 'agent' end, null, null
from messages
where message.closingMessage is null and message.navigation is null

union all -- A chat that is forwarded without a new agent waits in the department; only the delivery has a time then.
select
    "row", _id, 't' || coalesce(servedBy.ts, epoch_ms(received)::text),
    coalesce(servedBy.ts, strftime(received at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ')), 'transferred',
    null, null, id53(departmentId),
    null, case when oldDepartmentId <> departmentId then 'skill' else 'agent' end, null
from bodies where type = 'LivechatSessionForwarded'

union all
select
    "row", _id, 'a' || servedBy.ts, servedBy.ts, 'assigned',
    id53(servedBy._id), servedBy._id, id53(departmentId),
    null, null, null
from bodies where type in ('LivechatSessionTaken', 'LivechatSessionForwarded') and servedBy._id is not null

union all
select
    "row", _id, 'c', closedAt, 'closed',
    null, null, null,
    null, null,
    case
        when closer = 'visitor' then 'consumer'
        when closedBy._id = 'rocket.cat' then 'system'  -- chats that were silent for too long
        else 'agent'
    end
from bodies where type = 'LivechatSession'
