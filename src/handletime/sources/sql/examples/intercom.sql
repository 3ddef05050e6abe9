-- Intercom: conversations with their parts, from the REST API or from webhooks (docs/mappings/intercom.md).
-- Times are whole seconds; ids of parts grow, and are the order within a second.
with conversations as (
    select "row", coalesce(body -> '$.data.item', body) as item
    from input
    where coalesce(txt(body, '$.data.item.type'), txt(body, '$.type')) = 'conversation'
),
parts as (
    select
        "row",
        txt(item, '$.id') as conversation,
        txt(item, '$.admin_assignee_id') as assignee_now,
        unnest(from_json(item -> '$.conversation_parts.conversation_parts', '["json"]')) as part
    from conversations
),
told as (
    select
        *,
        try_cast(txt(part, '$.id') as bigint) as number,
        to_timestamp(try_cast(txt(part, '$.created_at') as bigint)) as moment,
        txt(part, '$.part_type') as kind,
        txt(part, '$.author.type') as author,
        txt(part, '$.author.id') as author_id,
        txt(part, '$.assigned_to.type') as target,
        txt(part, '$.assigned_to.id') as target_id,
        coalesce(txt(part, '$.body'), '') <> '' and kind not like 'note%' as is_message,
        kind in ('open', 'assign_and_reopen', 'note_and_reopen') as reopens,
        kind like '%assign%' as assigns,
        -- Who had the conversation: what the parts before say, else what the conversation says now.
        coalesce(last_value(case when target = 'admin' then target_id end ignore nulls) over so_far, assignee_now) as assignee
    from parts
    window so_far as (partition by "row", conversation order by number)
)
select
    "row", txt(item, '$.id') as "conversationId", 'o' as "eventId", 0 as "sequence", 'opened' as "type",
    to_timestamp(try_cast(txt(item, '$.created_at') as bigint)) as "time",
    null as "agentId", null as "skillId", txt(item, '$.source.type') as "source",
    null as "sentBy", null as "reason", null as "closedBy"
from conversations

union all -- The message that began it is no part.
select
    "row", txt(item, '$.id'), 's', 0, 'message', to_timestamp(try_cast(txt(item, '$.created_at') as bigint)),
    case txt(item, '$.source.author.type') when 'admin' then try_cast(txt(item, '$.source.author.id') as bigint) end,
    null, null,
    case
        when txt(item, '$.source.author.type') in ('user', 'lead', 'contact') then 'consumer'
        when txt(item, '$.source.author.type') = 'admin' then 'agent'
        else 'system'
    end,
    null, null
from conversations

union all
select "row", conversation, 'r' || number, number, 'resumed', moment, null, null, null, null, null, null
from told where reopens

union all -- To a team: it waits there. To nobody: it goes back.
select
    "row", conversation, 't' || number, number, 'transferred', moment,
    null, case target when 'team' then try_cast(target_id as bigint) end, null,
    null, case target when 'team' then 'skill' else 'backToQueue' end, null
from told where assigns and target is distinct from 'admin'

union all
select
    "row", conversation, 'a' || number, number, 'assigned', moment,
    try_cast(assignee as bigint), null, null,
    null, null, null
from told where assignee is not null and (target = 'admin' or reopens and not assigns)

union all
select
    "row", conversation, 'm' || number, number, 'message', moment,
    case author when 'admin' then try_cast(author_id as bigint) end, null, null,
    case when author in ('user', 'lead', 'contact') then 'consumer' when author = 'admin' then 'agent' else 'system' end,
    null, null
from told where is_message

union all
select
    "row", conversation, 'c' || number, number, 'closed', moment,
    null, null, null, null, null,
    case when author in ('user', 'lead', 'contact') then 'consumer' when author = 'admin' then 'agent' else 'system' end
from told where kind = 'close'
