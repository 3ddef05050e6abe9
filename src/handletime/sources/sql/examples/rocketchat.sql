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
steps as ( -- What a body tells, beside messages.
    select
        *,
        unnest(case type
            when 'LivechatSessionStart' then ['opened']
            when 'LivechatSessionTaken' then ['assigned']
            when 'LivechatSessionForwarded' then ['transferred', 'assigned']
            when 'LivechatSession' then ['closed']
        end) as step
    from bodies
),
messages as (
    select "row", _id as room, unnest(messages) as message
    from bodies
    where type in ('LivechatSessionStart', 'LivechatSession', 'Message')
)
select
    "row",
    _id as "conversationId",
    case step
        when 'opened' then 'o'
        when 'closed' then 'c'
        when 'assigned' then 'a' || servedBy.ts
        else 't' || coalesce(servedBy.ts, epoch_ms(received)::text)
    end as "eventId",
    case step
        when 'opened' then createdAt
        when 'closed' then closedAt
        -- A chat that is forwarded without a new agent waits in the department; only the delivery has a time then.
        else coalesce(servedBy.ts, strftime(received at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ'))
    end as "time",
    step as "type",
    case step when 'assigned' then id53(servedBy._id) end as "agentId",
    servedBy._id as "employeeId",
    id53(departmentId) as "skillId",
    null as "sentBy",
    case when oldDepartmentId <> departmentId then 'skill' else 'agent' end as "reason",
    case
        when closer = 'visitor' then 'consumer'
        when closedBy._id = 'rocket.cat' then 'system'  -- chats that were silent for too long
        else 'agent'
    end as "closedBy"
from steps
where step <> 'assigned' or servedBy._id is not null

union all -- Each message has its id, so it may come in several bodies.
select
    "row", room, 'm' || coalesce(message._id, message.ts), message.ts, 'message',
    id53(message.agentId), null, null,
    case when message.agentId is null then 'consumer' else 'agent' end, null, null
from messages
where message.closingMessage is null and message.navigation is null
