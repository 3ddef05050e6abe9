"""How many bodies of a webhook a mapping in SQL takes a second."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.process import handletime, run
from bench.results import Progress, Section, amount
from handletime.deliveries.mapper import BODIES_MAX
from handletime.sources.sql.shipped import shipped
from handletime.sources.sql.webhook import Webhook

TARGET: Final = 20_000
BATCH: Final = BODIES_MAX
_BATCHES: Final = 50
_FILE_BODIES: Final = 200_000
_KINDS: Final = ("LivechatSessionStart", "LivechatSessionTaken", "Message", "Message", "Message", "LivechatSession")


def measure(progress: Progress) -> Section:
    """Bodies a second, by the shipped mapping of Rocket.Chat: as webhooks in batches, and from a file."""
    progress("bodies of webhooks")
    bodies = [(_body(number), 1_795_600_000_000) for number in range(BATCH)]
    size = sum(len(body) for body, _ in bodies) // BATCH
    with Webhook(shipped("rocketchat"), "rocketchat") as webhook:
        webhook.map_bodies(bodies, account="acme")
        batch = statistics.median(_seconds(webhook, bodies) for _ in range(_BATCHES))
        alone = statistics.median(_seconds(webhook, bodies[:1]) for _ in range(_BATCHES))
    progress(f"a file of {_FILE_BODIES:,} bodies")
    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as folder:
        file = Path(folder, "bodies.ndjson")
        file.write_bytes(b"".join(_body(number) + b"\n" for number in range(_FILE_BODIES)))
        command = ["import", "sql", "rocketchat", str(file), "--out", str(Path(folder, "events.parquet"))]
        whole = run([*handletime(), *command], {}).seconds
    return Section(
        "Mappings in SQL",
        ("", "bodies a second", "target"),
        [
            (f"webhook, {BATCH:,} bodies at once, median of {_BATCHES}", amount(BATCH / batch), f"≥ {TARGET:,}"),
            ("webhook, one body", f"{1 / alone:,.0f}", ""),
            (f"import sql, {_FILE_BODIES:,} bodies, the whole command", amount(_FILE_BODIES / whole), ""),
        ],
        f"Rocket.Chat's bodies, {size} bytes each. A batch goes to the mapping's process, is mapped twice (so that no "
        "time is guessed), and comes back as checked events.",
    )


def _seconds(webhook: Webhook, bodies: list[tuple[bytes, int]]) -> float:
    began = time.perf_counter()
    batch = webhook.map_bodies(bodies, account="acme")
    seconds = time.perf_counter() - began
    assert not batch.problems
    return seconds


def _body(number: int) -> bytes:
    chat, kind = divmod(number, len(_KINDS))
    second = f"2026-11-20T{chat // 3600 % 24:02}:{chat // 60 % 60:02}:{chat % 60:02}"
    message = {
        "_id": f"m{number}",
        "username": "guest-5",
        "msg": "made up " * 10,
        "ts": f"{second}.{number % 1000:03}Z",
    }
    body = {
        **{"_id": f"room{chat}", "type": _KINDS[kind], "createdAt": f"{second}.000Z", "departmentId": f"dep{chat % 9}"},
        **{"visitor": {"_id": "v1", "username": "guest-5"}, "messages": [message] if kind != 1 else []},
    }
    if _KINDS[kind] in ("LivechatSessionTaken", "LivechatSession"):
        body["servedBy"] = {"_id": f"agent{chat % 50}", "username": "made up", "ts": f"{second}.900Z"}
    if _KINDS[kind] == "LivechatSession":
        body |= {"closedAt": f"{second}.999Z", "closer": "user", "closedBy": {"_id": f"agent{chat % 50}"}}
    return json.dumps(body).encode()
