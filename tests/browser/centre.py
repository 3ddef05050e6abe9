"""A contact centre for the browser: a real server over a real store, filled before it starts."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from handletime.keys import keys
from handletime.keys.keys import NewKey, Permission
from handletime.keys.sidefile import SideFile
from handletime.simulate import centre, simulate
from handletime.store.store import Store
from tests.crash.nursery import Child, shared
from tests.segments.tables import events_of

EXAMPLES = Path(__file__).parent.parent / "golden" / "examples"
DEMO_LABELS = Path(__file__).parents[2] / "scripts" / "demo-labels.csv"
Event = dict[str, Any]

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">'\"&amp;{{7*7}}\u202e"
"""Text that would be something else if it were not escaped."""
LABELS = {
    ("agent", 3001): "Heron",
    ("skill", 10): "Billing",
    ("skill", 20): "Orders",
    ("group", 501): "Team North",
    ("agent", 66): "<script>document.title='owned'</script>",
    ("skill", 67): "</td><b>bold</b>",
}


class Centre:
    """A folder with a store, keys and labels; and the server, while it runs.

    Accounts: `centre` has two made-up days up to now, `golden` the example of a bot and a human, ended ten minutes ago,
    `hostile` a conversation whose texts are traps, `desk` an agent between two conversations, long waits, a forgotten
    conversation and one whose seconds were sent as milliseconds, `fresh` nothing.
    """

    def __init__(self, folder: Path, *, demo: bool = False, targets: str = "") -> None:
        """`demo`: a month instead of two days, and a name for everybody. `targets` are those of a file, if any."""
        self.folder, self.data, self.labels = folder, folder / "store", folder / "labels.csv"
        self.process: Child | None = None
        self.port = "0"
        self.url = ""
        self.data.mkdir()
        self.targets = folder / "targets.toml" if targets else None
        if self.targets is not None:
            self.targets.write_text(targets)
        days, conversations, agents = (30, 24_000, 24) if demo else (2, 1500, 12)
        made = centre.Centre(
            start=datetime.now(UTC) - timedelta(days=days),
            days=days,
            conversations=conversations,
            agents=agents,
            seed=5,
            accounts=("centre",),
        )
        with SideFile(self.data) as side, Store(self.data, side) as store:
            for events in simulate.simulate(made):
                store.ingest("centre", events)
            for account, listed in (("golden", golden()), ("hostile", hostile()), ("desk", desk())):
                store.ingest(account, events_of([{"accountId": account, **event} for event in listed]))
        if demo:
            self.labels.write_bytes(DEMO_LABELS.read_bytes())
        else:
            self.write_labels(LABELS)
        self.keys = {account: self.new_key(account) for account in ("centre", "golden", "hostile", "desk", "fresh")}

    def bring(self, account: str, events: Sequence[Event]) -> None:
        """Sends events to the server."""
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        headers = {
            "Authorization": f"Bearer {self.new_key(account, 'ingest').token}",
            "Content-Type": "application/x-ndjson",
        }
        httpx.post(f"{self.url}/api/account/{account}/events", content=lines, headers=headers).raise_for_status()

    def new_key(self, account: str, *permissions: Permission) -> NewKey:
        """A key of an account; one that may read, if nothing else is said."""
        with SideFile(self.data) as side:
            return keys.create(side, account, permissions or keys.READING)

    def revoke(self, key: NewKey) -> None:
        """Ends a key."""
        with SideFile(self.data) as side:
            keys.revoke(side, key.id)

    def write_labels(self, labels: Mapping[tuple[str, int], str]) -> None:
        """Puts other names into the file."""
        rows = [f'{kind},{number},"{label.replace(chr(34), chr(34) * 2)}"' for (kind, number), label in labels.items()]
        self.labels.write_text("kind,id,label\n" + "\n".join(rows) + "\n", "utf-8")

    def start(self) -> None:
        """Starts the server: at first on any port, later on the same. It looks for news each second."""
        arguments: list[object] = ["serve", "--data", self.data, "--port", self.port, "--labels", self.labels]
        arguments += [] if self.targets is None else ["--targets", self.targets]
        constants = {"handletime.web.now.EVERY_S": 1.0, "handletime.answers.live.KEPT_S": 0.5}
        self.process = shared().start(self.folder / "server", *arguments, constants=constants)
        url = self.process.address()
        assert url is not None, self.process.log.read_text()
        self.url, self.port = url, url.rpartition(":")[2]

    def stop(self) -> int:
        """Stops it as a service manager does; gives its exit code."""
        assert self.process
        self.process.kill(signal.SIGTERM)
        code, self.process = self.process.wait(30), None
        return code

    def kill(self) -> None:
        """Ends it, however it is."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


def golden() -> list[Event]:
    """The example of a bot and a human, as if it had ended ten minutes ago."""
    case = json.loads((EXAMPLES / "04-bot-to-human.json").read_text())
    ended = max(datetime.fromisoformat(event["time"]) for event in case["events"])
    later = datetime.now(UTC) - timedelta(minutes=10) - ended
    return [{**event, "time": _text(datetime.fromisoformat(event["time"]) + later)} for event in case["events"]]


def expected() -> dict[str, Any]:
    """What follows from it."""
    case: dict[str, Any] = json.loads((EXAMPLES / "04-bot-to-human.json").read_text())
    return case


def hostile() -> list[Event]:
    """A conversation whose id, source and employee are traps; it begins in the middle, and one unit is very long."""
    begun = datetime.now(UTC) - timedelta(hours=3)
    event = {"conversationId": HOSTILE}
    return [
        {
            **event,
            "eventId": "1",
            "time": _text(begun),
            "type": "assigned",
            "agentId": 66,
            "employeeId": HOSTILE,
            "skillId": 67,
        },
        {**event, "eventId": "2", "time": _after(begun, 5), "type": "focused", "agentId": 66},
        {**event, "eventId": "3", "time": _after(begun, 10), "type": "message", "sentBy": "consumer"},
        {**event, "eventId": "4", "time": _after(begun, 3600), "type": "message", "sentBy": "agent"},
        {**event, "eventId": "5", "time": _after(begun, 3700), "type": "closed", "closedBy": "consumer"},
        {**event, "eventId": "6", "time": _after(begun, 4000), "type": "opened", "source": HOSTILE[:64], "skillId": 67},
        {
            **event,
            "eventId": "7",
            "time": _after(begun, 4001),
            "type": "assigned",
            "agentId": 66,
            "employeeId": HOSTILE,
        },
        {**event, "eventId": "8", "time": _after(begun, 4002), "type": "message", "sentBy": "consumer"},
    ]


def desk() -> list[Event]:
    """What agent 7 has to do with: `one` and `two` are open, `overnight` is not; nobody took the others."""
    now = datetime.now(UTC)
    numbers = count(1)

    def event(conversation: str, minutes_ago: float, type_: str, **more: object) -> Event:
        time = _text(now - timedelta(minutes=minutes_ago))
        return {"conversationId": conversation, "eventId": f"{next(numbers)}", "time": time, "type": type_, **more}

    def message(conversation: str, minutes_ago: float, by: str) -> Event:
        return event(conversation, minutes_ago, "message", sentBy=by)

    found = [event("forgotten", 20 * 24 * 60, "opened", skillId=20, source="SMS")]
    found += [message("forgotten", 20 * 24 * 60 - 1, "consumer")]
    # Numbers like these are refused today, but stand in stores of before; as text they can be brought.
    seconds = int(now.timestamp()) - 4000
    found += [{**event("seconds", 0, "opened", skillId=20), "time": _of_1970(seconds)}]
    found += [{**message("seconds", 0, "consumer"), "time": _of_1970(seconds + 10)}]
    for conversation, begun in (("one", 60), ("two", 50)):
        found += [event(conversation, begun, "opened", skillId=10, source="WEB")]
        found += [message(conversation, begun - 1, "consumer"), event(conversation, begun - 2, "assigned", agentId=7)]
    found += [event("one", 57, "focused", agentId=7), event("two", 47, "focused", agentId=7)]
    found += [message("one", 46, "consumer"), event("two", 36, "unfocused", agentId=7)]
    found += [message("one", 32, "agent"), message("one", 31, "consumer"), message("two", 30, "agent")]
    found += [event("overnight", 1400, "opened", skillId=10), event("overnight", 1398, "assigned", agentId=7)]
    waits = ((1390, 790), (784, 730), (727, 709), (290, 284))
    found += [
        message("overnight", at, by) for wait in waits for at, by in zip(wait, ("consumer", "agent"), strict=True)
    ]
    return [*found, event("overnight", 280, "closed", closedBy="consumer")]


def opened_just_now(conversation: str) -> list[Event]:
    """A conversation that waits in the queue."""
    now = datetime.now(UTC) - timedelta(seconds=2)
    event = {"conversationId": conversation, "time": _text(now)}
    return [
        {**event, "eventId": "1", "type": "opened", "skillId": 10},
        {**event, "eventId": "2", "type": "message", "sentBy": "consumer"},
    ]


def _of_1970(seconds: int) -> str:
    """What seconds say that are taken for milliseconds."""
    return _text(datetime.fromtimestamp(seconds / 1000, UTC))


def ended_at(conversation: str, agent: int, end: str) -> list[Event]:
    """A conversation of one agent that ended at a time, a minute after it began."""
    begun = datetime.fromisoformat(end) - timedelta(minutes=1)
    event = {"conversationId": conversation}
    return [
        {**event, "eventId": "1", "time": _text(begun), "type": "opened", "skillId": 10},
        {**event, "eventId": "2", "time": _after(begun, 5), "type": "assigned", "agentId": agent},
        {**event, "eventId": "3", "time": _after(begun, 60), "type": "closed", "closedBy": "agent"},
    ]


def _after(begun: datetime, seconds: int) -> str:
    return _text(begun + timedelta(seconds=seconds))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
