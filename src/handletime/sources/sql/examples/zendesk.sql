-- Zendesk: audits of tickets, one row for each event in them (docs/mappings/zendesk.md).
--   audit_id,event_id,ticket_id,created_at,author_id,author_role,type,public,field_name,previous_value,value,via
-- Times are UTC, in whole seconds. What one audit says happened at once: it is in the order of the rules.
with audits as (
    select
        *,
        created_at::timestamp at time zone 'UTC' as moment,
        type in ('Create', 'Change') and field_name = 'assignee_id' as gives_assignee,
        type in ('Create', 'Change') and field_name = 'group_id' as gives_group,
        type = 'Change' and field_name = 'status' and previous_value = 'solved' and value <> 'closed' as reopens,
        bool_or(gives_assignee) over audit as has_assignee,
        bool_or(gives_group and type = 'Change') over audit as has_group,
        max(value) filter (where gives_group) over audit as new_group,
        last_value(case when gives_assignee then coalesce(value, '') end ignore nulls) over so_far as assignee
    from input
    window
        audit as (partition by ticket_id, audit_id),
        so_far as (partition by ticket_id order by try_cast(event_id as bigint))
),
mapped as (
    select
        *,
        case
            when type = 'Create' and field_name = 'status' then 'opened'
            when reopens then 'resumed'
            -- A comment that is not public is a note among agents.
            when type = 'Comment' and public = 'true' then 'message'
            when gives_assignee and coalesce(value, '') <> '' then 'assigned'
            when gives_group and type = 'Change' then 'transferred'
            when gives_assignee and type = 'Change' and not has_group then 'transferred'
            when type = 'Change' and field_name = 'status' and value = 'solved' then 'closed'
            -- Solved becomes closed by itself some days later; only what nobody solved ends here.
            when type = 'Change' and field_name = 'status' and value = 'closed' and previous_value <> 'solved' then 'closed'
        end as event,
        event_id as id,
        value as agent
    from audits
    union all by name
    -- A ticket that is opened again keeps its assignee.
    select *, 'assigned' as event, event_id || ':a' as id, assignee as agent
    from audits
    where reopens and not has_assignee and assignee <> ''
)
select
    "row",
    ticket_id as "conversationId",
    id as "eventId",
    moment as "time",
    audit_id as "sequence",
    event as "type",
    case event when 'assigned' then agent when 'message' then author_id end as "agentId",
    case event when 'assigned' then new_group end as "groupId",
    case when event = 'opened' or event = 'transferred' and gives_group then new_group end as "skillId",
    case event when 'opened' then via end as "source",
    case
        when event <> 'message' then null
        when author_role = 'end-user' then 'consumer'
        when author_role in ('agent', 'admin') then 'agent'
        else 'system'
    end as "sentBy",
    case when event = 'transferred' and gives_group then 'skill' when event = 'transferred' then 'backToQueue' end as "reason",
    case author_role when 'end-user' then 'consumer' when 'system' then 'system' else 'agent' end as "closedBy"
from mapped
where event is not null
