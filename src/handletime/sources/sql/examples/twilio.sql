-- Twilio TaskRouter: Event Streams (one event or an array of them), or answers of the REST API's Events
-- (docs/mappings/twilio.md). Sids are texts: they become numbers by id53, and employeeId holds the worker's.
with told as (
    select
        "row",
        unnest(
            case
                when json_type(body) = 'ARRAY' then from_json(body, '["json"]')
                when json_exists(body, '$.events') then from_json(body -> '$.events', '["json"]')
                else [body]
            end
        ) as event
    from input
),
events as (
    select
        "row",
        coalesce(txt(event, '$.data.payload.sid'), txt(event, '$.sid')) as id,
        coalesce(txt(event, '$.data.payload.eventtype'), txt(event, '$.event_type')) as kind,
        coalesce(txt(event, '$.data.payload.timestamp'), txt(event, '$.event_date')) as moment,
        coalesce(event -> '$.data.payload', event -> '$.event_data') as data
    from told
)
select
    "row",
    txt(data, '$.task_sid') as "conversationId",
    id as "eventId",
    moment as "time",
    case
        when kind = 'task-queue.entered' then 'opened'
        when kind = 'reservation.accepted' then 'assigned'
        else 'closed'
    end as "type",
    case kind when 'reservation.accepted' then id53(txt(data, '$.worker_sid')) end as "agentId",
    case kind when 'reservation.accepted' then txt(data, '$.worker_sid') end as "employeeId",
    id53(txt(data, '$.task_queue_sid')) as "skillId",
    txt(data, '$.task_channel_unique_name') as "source",
    case
        when kind <> 'task.canceled' then 'agent'
        when coalesce(txt(data, '$.task_canceled_reason'), txt(data, '$.reason')) = 'Task TTL Exceeded' then 'system'
        else 'consumer'
    end as "closedBy"
from events
where kind in ('task-queue.entered', 'reservation.accepted', 'task.wrapup', 'task.completed', 'task.canceled')
