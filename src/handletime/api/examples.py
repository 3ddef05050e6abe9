"""What the OpenAPI document shows as examples. A test holds them against its schemas."""

from __future__ import annotations

from typing import Any, Final

ACCOUNT: Final = "acme"
CONVERSATION: Final = "5e4b1a4e-6b6a-4c0f-9c7e-0a8a4c6d2f10"
SEGMENT: Final = f"{ACCOUNT}:12:{CONVERSATION}:0pV2y5mQx8sT1uW4zA7bCd"
_PATH: Final = "/year=2026/month=11/day=20/hour=09/accountId=acme/sequences.1795255200000.20261121100000.00000.json.gz"

PARAMETERS: Final[dict[str, Any]] = {
    "source": "reports",
    "path": _PATH,
    "timeframe": 1440,
    "v": "1",
    "tz": "Europe/Berlin",
    "agentIds": "12,13",
    "skillIds": "all",
}

EVENTS: Final[list[dict[str, Any]]] = [
    {
        "conversationId": CONVERSATION,
        "eventId": "1",
        "time": "2026-11-20T09:00:00.000Z",
        "type": "opened",
        "skillId": 3,
    },
    {
        "conversationId": CONVERSATION,
        "eventId": "2",
        "time": "2026-11-20T09:00:20.000Z",
        "type": "assigned",
        "agentId": 12,
        "skillId": 3,
    },
]

DOMAIN: Final = {"service": "agentActivityDomain", "account": ACCOUNT, "baseURI": "reports.example.com"}

_TIMEFRAME: Final = {
    "startTime": "2026-11-20T09:00:00Z",
    "endTime": "2026-11-20T10:00:00Z",
    "startTimeL": 1795165200000,
    "endTimeL": 1795168800000,
}
_PAGE: Final = "https://reports.example.com/api/account/acme/agent-segments?source=reports&sort=Date%3Adesc"
AGENT_SEGMENTS: Final = {
    "timeframe": _TIMEFRAME,
    "segments": [
        {
            "segmentId": SEGMENT,
            "startTimeL": 1795165220000,
            "endTimeL": 1795165520000,
            "conversationId": CONVERSATION,
            "agentId": 12,
            "employeeId": "e12",
            "skillId": 3,
            "groupId": -1,
            "endReason": "Agent",
            "totalHandleTimeMillis": 184000,
            "endTime": "2026-11-20T09:05:20.000Z",
            "startTime": "2026-11-20T09:00:20.000Z",
        }
    ],
    "pagination": {
        "count": 1,
        "references": [{"rel": rel, "href": f"{_PAGE}&offset=0&limit=100"} for rel in ("self", "first", "last")],
    },
}
BREAKDOWN: Final = {"timeframe": _TIMEFRAME, "files": [_PATH]}
UNITS: Final = [
    {
        "segmentId": SEGMENT,
        "sequence": 0,
        "startReason": "focused",
        "endReason": "unfocused",
        "startTimestamp": 1795165225000,
        "endTimestamp": 1795165409000,
        "handleTimeMillis": 184000,
        "insertTimestamp": 1795255200000,
    }
]
_AGENT: Final = {"totalAgentConversationSegments": 1, "avgAgentMessagesinAgentSegment": 2.5}
AGENT_OPERATIONS: Final = {"agentsMetrics": {"metricsPerAgent": {"12": _AGENT}}, "metricsTotal": _AGENT}
_SKILL: Final = {"totalSkillConversationSegments": 1, "interactiveSkillSegments": 1}
SKILL_OPERATIONS: Final = {"skillsMetrics": {"3": _SKILL}, "metricsTotal": _SKILL}
