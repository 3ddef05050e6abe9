"""The examples of the OpenAPI document, by asking a running server over the real store (`make examples`).

The events are golden ones: LivePerson's agents 12 and 13, and the plainest conversation with focus. The requests are
chosen here, and must find something.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from handletime.api.csv_table import TYPE as CSV
from handletime.api.errors import JSON
from handletime.api.examples import FILE
from handletime.api.ports import Store as StoreOfTheMethods
from handletime.api.service import ApiSettings
from handletime.keys.sidefile import SideFile
from handletime.store.store import Store
from tests.api.world import NOW, World

GOLDEN: Final = Path(__file__).parents[1] / "golden"
ACCOUNT: Final = "acme"
Json = dict[str, Any]


def main() -> None:
    """Writes the examples anew."""
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(text_of(made(Path(folder))))


def text_of(examples: Json) -> str:
    """The file of these examples."""
    return json.dumps(examples, indent=1, ensure_ascii=False) + "\n"


def made(folder: Path) -> Json:
    """An example of each method that answers in JSON: parameters, body and answer. The store lies in a folder."""
    with SideFile(folder) as side, Store(folder, side) as store:
        fits: StoreOfTheMethods = store
        with World(ApiSettings(public_url="https://reports.example.com"), fits) as world:
            return dict(_asked(world))


def _asked(world: World) -> Json:
    """Asks one method after another; later requests name what earlier answers gave."""
    found: Json = {}
    account = {"accountId": ACCOUNT}
    events = f"/api/account/{ACCOUNT}/events"
    world.post(events, _lines(livepersons_agents())).raise_for_status()
    world.post(events, _lines(waiting())).raise_for_status()
    body = _events("examples/01-one-answer.json")
    answer = world.post(events, json.dumps(body).encode(), Content_Type=JSON)
    found["ingest"] = {"parameters": account, "answer": answer.raise_for_status().json(), "body": body}
    move = {"eventId": "f:7c1e:41", "sequence": 41, "conversationId": "4711", "time": NOW, "leaseMillis": 45_000}
    moves = [{"type": "focused", **move}]
    path = f"/api/account/{ACCOUNT}/focus"
    answer = world.post(path, json.dumps(moves).encode(), f"{ACCOUNT}@12", Content_Type=JSON)
    found["focus"] = {"parameters": account, "answer": answer.raise_for_status().json(), "body": moves}

    def ask(method: str, path: str, /, **parameters: object) -> Any:
        answer = world.get(filled(path, account | parameters), Accept=JSON).raise_for_status().json()
        found[method] = {"parameters": (account if "{accountId}" in path else {}) | parameters, "answer": answer}
        return answer

    def ask_both(method: str, path: str, **parameters: object) -> Any:
        answer = ask(method, path, **parameters)
        table = world.get(filled(path, account | parameters), Accept=CSV).raise_for_status()
        found[method]["table"] = table.text
        return answer

    actual, operations = "/api/account/{accountId}", "/operations/api/account/{accountId}"
    page = ask_both("agentSegments", f"{actual}/agent-segments", source="reports", limit=2)
    files = ask("breakdown", f"{actual}/agent-segments/breakdown", source="reports")
    ask("breakdownFile", f"{actual}/agent-segments/files", path=files["files"][0], source="reports")
    of_both: Json = {"timeframe": 180, "v": "1", "userType": "human", "skillIds": "333,444"}
    ask_both("agentOperations", f"{operations}/msgagentsegments", **of_both, agentIds="12,13", source="APP")
    ask_both("skillOperations", f"{operations}/msgskillsegments", **of_both)
    closed: Json = {"timeframe": 180, "v": "1", "skillIds": "333,444", "agentIds": "12,13"}
    ask_both("conversations", f"{operations}/msgconversation", **closed)
    path = filled(f"{operations}/msgconversation", account | {"timeframe": 60, "v": "1"})
    fields = {"timeframe": "180", "skillIds": "333,444"}
    content = json.dumps(fields).encode()
    posted = world.post(path, content, Content_Type=JSON, Accept=JSON).raise_for_status().json()
    found["conversationsPosted"] = {
        "parameters": account | {"timeframe": 60, "v": "1"},
        "answer": posted,
        "body": fields,
    }
    found["conversationsPosted"]["table"] = world.post(path, content, Content_Type=JSON, Accept=CSV).text
    ask_both("currentQueueHealth", f"{operations}/msgqueuehealth/current", v="1", skillIds="333,444")
    of_minutes: Json = {"timeframe": 10, "v": "2", "interval": 5, "skillIds": "333,444"}
    ask_both("queueHealth", f"{operations}/msgqueuehealth", **of_minutes)
    ask_both("due", f"{actual}/due", skillIds="333,444", limit=10)
    span: Json = {"from": "2026-11-20", "interval": "hour", "by": ["skill"], "userType": "human"}
    metrics = ["totalAgentConversationSegments", "avgTimeToResponseFromAgentAssignment", "medianResponseMillis"]
    ask_both("report", f"{actual}/report", **span, metrics=metrics)
    conversation, segment = page["segments"][0]["conversationId"], page["segments"][0]["segmentId"]
    ask("explainConversation", f"{actual}/conversations/{{conversationId}}/explain", conversationId=conversation)
    ask("explainSegment", f"{actual}/agent-segments/{{segmentId}}/explain", segmentId=segment)
    ask("domain", f"{actual}/service/{{service}}/baseURI.json", service="agentActivityDomain")
    ask("domains", f"{actual}/service/baseURI.json")
    ask("health", "/healthz")
    ask("ready", "/readyz")
    return found


def filled(path: str, parameters: Json) -> str:
    """A path with names in braces as an address: values in their places, and what is left as the query."""
    parameters = {name: ",".join(each) if isinstance(each, list) else each for name, each in parameters.items()}
    names = re.findall(r"\{(\w+)\}", path)
    query = {name: value for name, value in parameters.items() if name not in names}
    for name in names:
        path = path.replace(f"{{{name}}}", quote(str(parameters[name]), safe=""))
    return f"{path}?{urlencode(query)}" if query else path


def _events(file: str) -> list[Json]:
    events: list[Json] = json.loads((GOLDEN / file).read_text())["events"]
    return events


def livepersons_agents() -> list[Json]:
    """The events of LivePerson's agents 12 and 13, in conversations that began in an app."""
    return [
        {**event, "source": "APP"} if event["type"] == "opened" else event
        for event in _events("metrics/agents-12-and-13.json")
    ]


def waiting() -> list[Json]:
    """A conversation that waits in the queue of skill 333, and one that a bot gave back to the one of 444."""
    new: list[Json] = [
        {"time": NOW - 95_000, "type": "opened", "skillId": 333, "source": "APP"},
        {"time": NOW - 94_000, "type": "message", "sentBy": "consumer"},
    ]
    back: list[Json] = [
        {"time": NOW - 400_000, "type": "opened", "skillId": 444, "source": "WEB"},
        {"time": NOW - 390_000, "type": "assigned", "agentId": 14, "userType": "bot"},
        {"time": NOW - 40_000, "type": "transferred", "reason": "backToQueue"},
    ]
    return [
        {"conversationId": name, "eventId": f"{name}-{number}", **event}
        for name, story in (("4712", new), ("4713", back))
        for number, event in enumerate(story)
    ]


def _lines(events: list[Json]) -> bytes:
    return "".join(json.dumps(event) + "\n" for event in events).encode()


if __name__ == "__main__":
    main()
