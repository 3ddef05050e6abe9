"""`handletime import liveperson` as a user calls it: records of LivePerson's history to a file of events."""

from __future__ import annotations

import json
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.process import handletime, run
from bench.results import Progress, Section, amount, gigabytes

CONVERSATIONS: Final = 50_000
MESSAGES: Final = 10
CONVERSATIONS_PER_SECOND: Final = 3_000
_BEGIN_MS: Final = 1_794_819_600_000


def measure(progress: Progress, conversations: int = CONVERSATIONS, times: int = 3) -> Section:
    """Conversations a second of whole processes, and their peak memory."""
    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as name:
        history, events = Path(name, "history.ndjson"), Path(name, "events.ndjson")
        progress(f"writing {conversations:,} records of LivePerson's history")
        _write(history, conversations)
        command = [*handletime(), "import", "liveperson", str(history), "--out", str(events)]
        runs = []
        for number in range(times):
            runs.append(run(command))
            progress(f"import liveperson, {number + 1} of {times}: {runs[-1].seconds:.1f} s")
        size, out = history.stat().st_size, events.stat().st_size
    best = min(each.seconds for each in runs)
    per_second, target = amount(conversations / best), f"≥ {amount(CONVERSATIONS_PER_SECOND)}"
    peak = gigabytes(max(each.peak_bytes for each in runs))
    return Section(
        f"`handletime import liveperson`, {conversations:,} conversations of {MESSAGES} messages ({gigabytes(size)})",
        ("to", "seconds", "conversations a second", "target", "MB a second", "peak memory"),
        [(f"NDJSON ({gigabytes(out)})", f"{best:.1f}", per_second, target, f"{size / best / 1e6:.0f}", peak)],
        f"A process from its start to its end, best of {times}. The records are made up, with all that an export has.",
    )


def _write(path: Path, conversations: int) -> None:
    dice = random.Random(1)
    with path.open("w") as file:
        file.writelines(json.dumps(_record(number, dice)) + "\n" for number in range(conversations))


def _record(number: int, dice: random.Random) -> dict[str, Any]:
    """A conversation from a bot to an agent: ten messages, a transfer, a close."""
    id_, agent, begin = f"{number:08x}-4d5e-4f60-8172-93a4b5c6d7e8", 3000 + number % 200, _BEGIN_MS + 1500 * number
    in_main = {"dialogId": id_}
    messages, at = [], begin
    for seq in range(MESSAGES):
        by_agent = seq % 2 == 1
        messages.append(
            {
                "type": "TEXT_PLAIN",
                "messageData": {"msg": {"text": "a message that was made up for this measurement. " * 2}},
                "messageId": f"ms::dialog:{id_}::msg:{seq}",
                "seq": seq,
                **in_main,
                "participantId": str(agent) if by_agent else f"consumer-{number:032x}",
                "source": "APP",
                **_at("time", at),
                "device": "MOBILE",
                "sentBy": "Agent" if by_agent else "Consumer",
                "contextData": {"rawMetadata": "[]", "structuredMetadata": []},
                "audience": "ALL",
            }
        )
        at += dice.randrange(5_000, 90_000)
    span = _at("startTime", begin) | _at("endTime", at) | {"status": "CLOSE", "closeReason": "AGENT"}
    person = {"agentFullName": "Made Up", "agentNickname": "Up", "agentLoginName": "up@example.invalid"}
    return {
        "info": {
            **span,
            **_at("conversationEndTime", at),
            "duration": at - begin,
            "conversationId": id_,
            "brandId": "made1up",
            "latestSkillId": 20,
            "latestSkillName": "Made up",
            "latestAgentId": str(agent),
            "latestAgentFullName": "Made Up",
            "source": "APP",
            "device": "MOBILE",
            "isPartial": False,
        },
        "campaign": {"campaignEngagementId": "1", "goalName": "made up"},
        "messageRecords": messages,
        "agentParticipants": [
            {
                **person,
                "agentId": str(agent),
                "agentGroupId": 501,
                "userType": "1",
                "permission": "ASSIGNED_AGENT",
                **_at("time", begin + 4000),
                **in_main,
            }
        ],
        "agentParticipantsActive": [],
        "consumerParticipants": [{"participantId": f"consumer-{number:032x}", **_at("time", begin)}],
        "transfers": [
            {
                **_at("time", begin + 3000),
                "reason": "Skill",
                "sourceSkillId": 10,
                "targetSkillId": 20,
                "sourceAgentId": "9001",
                "assignedAgentId": "null",
                **in_main,
            }
        ],
        "interactions": [{"assignedAgentId": str(agent), **_at("interactionTime", begin + 4010), **in_main}],
        "dialogs": [{"dialogType": "MAIN", "skillId": 20, **span, **in_main}],
    }


def _at(name: str, moment: int) -> dict[str, object]:
    """A time as LivePerson writes it, twice."""
    text = datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {name: f"{text}.{moment % 1000:03d}+0000", f"{name}L": moment}
