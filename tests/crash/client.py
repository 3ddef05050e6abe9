"""A client that sends batches of events over sockets and records what was acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tests.crash.nursery import LIMIT_S
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.plain_reading import event_of
from tests.store.worlds import standing_copies

ACCOUNT: Final = "local"
SIZES: Final = (1, 1, 3, 10, 40)
AT_ONCE: Final = 4
INTAKE: Final = f"/api/account/{ACCOUNT}/events"


@dataclass
class Batch:
    """Events of one request; `sent`: a process was given them, `acknowledged`: it said that it has them."""

    events: list[RawEvent]
    body: bytes
    sent: bool = False
    acknowledged: bool = False


@dataclass
class Record:
    """All batches of a test, in the order in which they are sent; what of them was taken so far."""

    batches: list[Batch]
    taken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Batch | None:
        """The next one that was never sent."""
        with self.lock:
            if self.taken == len(self.batches):
                return None
            self.taken += 1
            return self.batches[self.taken - 1]

    def acknowledged(self) -> list[Batch]:
        return [batch for batch in self.batches if batch.acknowledged]

    def in_doubt(self) -> list[Batch]:
        """Those that were sent and not answered: they are stored, or not."""
        return [batch for batch in self.batches if batch.sent and not batch.acknowledged]


def prepared(seed: int, events: int) -> Record:
    """Batches of a messy stream, the first from this seed on that has enough of the past; no event stands twice."""
    dice = random.Random(seed)
    several = (
        past(messy_stream(seed + more, accounts=1, conversations=events // 30 + 1, agents=12, events=events))
        for more in range(100)
    )
    stream = next(stream for stream in several if len(stream) > events // 2)
    return Record([Batch(part, lines(part)) for part in _cut(stream, dice)])


def past(stream: Iterable[RawEvent]) -> list[RawEvent]:
    """First copies; a server takes none from the future."""
    return [event for event in standing_copies(stream) if event_of(event, ACCOUNT).time < BASE + 86_400_000]


def _cut(events: list[RawEvent], dice: random.Random) -> Iterator[list[RawEvent]]:
    place = 0
    while place < len(events):
        size = dice.choice(SIZES)
        yield events[place : place + size]
        place += size


def lines(events: Iterable[RawEvent]) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


class Client:
    """One connection with one key."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LIMIT_S)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}

    def post(self, body: bytes) -> tuple[int, dict[str, object]]:
        """Status and answer. Raises OSError, http.client.HTTPException where none comes."""
        self._connection.request("POST", INTAKE, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self._connection.close()


def send(record: Record, url: str, token: str, told: Callable[[], None]) -> None:
    """Sends batches until there are no more, or nobody answers; `told` is called after each acknowledgement."""
    client = Client(url, token)
    try:
        while (batch := record.next()) is not None:
            batch.sent = True
            status, answer = client.post(batch.body)
            assert (status, answer) == (200, {"accepted": len(batch.events), "duplicates": 0}), (status, answer)
            batch.acknowledged = True
            told()
    except (OSError, http.client.HTTPException):
        return  # The process was killed.
    finally:
        client.close()


def send_at_once(record: Record, url: str, token: str, enough: int) -> Senders:
    """Begins to send over several connections."""
    return Senders(record, url, token, enough)


class Senders:
    """Connections that send at once; `enough` is set when so many batches were acknowledged, or nothing is left."""

    def __init__(self, record: Record, url: str, token: str, enough: int) -> None:
        self.enough = threading.Event()
        self._wanted = enough
        self._failed: list[BaseException] = []
        self._left = AT_ONCE
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(record, url, token)) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def _send(self, record: Record, url: str, token: str) -> None:
        try:
            send(record, url, token, self._acknowledged)
        except BaseException as error:
            self._failed.append(error)
        finally:
            with self._lock:
                self._left -= 1
                if not self._left:
                    self.enough.set()

    def _acknowledged(self) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted <= 0:
                self.enough.set()

    def join(self) -> None:
        """Waits for all. Raises what one of them raised."""
        for thread in self._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        if self._failed:
            raise self._failed[0]


def resend(client: Client, batches: Sequence[Batch]) -> tuple[int, int]:
    """Sends batches again, all in one request; how many of their events were new, and how many were there."""
    status, answer = client.post(b"".join(batch.body for batch in batches))
    assert status == 200, answer
    accepted, duplicates = answer["accepted"], answer["duplicates"]
    assert isinstance(accepted, int)
    assert isinstance(duplicates, int)
    return accepted, duplicates
