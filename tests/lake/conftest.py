"""Two servers over the same events: one over a store, one over tables that were made of its events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from handletime.clock import SystemClock
from handletime.events.model import INSTANT
from handletime.keys import keys as store_keys
from handletime.keys import keys_file as file_keys
from handletime.keys.sidefile import SideFile
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from tests.crash.nursery import Child, Nursery
from tests.lake.maker import write_run
from tests.messy_streams import BASE, messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import standing_copies

ACCOUNTS: Final = ("north", "south", "local")
DAY: Final = 86_400_000
HOUR: Final = 3_600_000


class Site(NamedTuple):
    """A server and a token for each account, and one that may nothing but read handle time."""

    client: httpx.Client
    tokens: dict[str, str]

    def get(self, path: str, account: str, **headers: str) -> httpx.Response:
        """The answer to a key of an account."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers={"Authorization": f"Bearer {self.tokens[account]}"} | named)


class Places(NamedTuple):
    """Where everything lies: `now` is when it was made, `events` are all there are."""

    folder: Path
    events: pa.Table
    now: int
    tokens: dict[str, str]

    @property
    def lake(self) -> Path:
        """The tables."""
        return self.folder / "lake"

    @property
    def keys(self) -> Path:
        """The file of keys."""
        return self.folder / "keys.json"

    @property
    def targets(self) -> Path:
        """Targets with opening hours, which ask for every column."""
        path = self.folder / "targets.toml"
        if not path.exists():
            path.write_text(TARGETS)
        return path

    @property
    def exported(self) -> Path:
        """The events as Parquet."""
        return self.folder / "out" / "events"


TARGETS = """
[calendars.office]
zone = "Europe/Berlin"
monday = ["08:00-12:00", "13:00-20:00"]
tuesday = ["08:00-20:00"]
wednesday = ["08:00-20:00"]
thursday = ["08:00-20:00"]
friday = ["08:00-20:00", "22:00-30:00"]
saturday = ["00:00-24:00"]
sunday = ["07:07-23:00"]

[[targets]]
name = "office"
user-type = "human"
calendar = "office"
first-response = "2min"
first-response-from = "queued"
response = "2min"
response-first = false

[[targets]]
name = "the rest"
first-response = "30s"
response = "30s"
queue-wait = "40s"
"""


def made_events(now: int) -> pa.Table:
    """Two days of two accounts, in which some conversations are still open, and a stream that reaches every clause."""
    start = datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=2)
    tables = [
        table
        for account, seed, conversations in (("north", 5, 700), ("south", 6, 150))
        for table in simulate(
            Centre(start=start, days=2, conversations=conversations, agents=12, seed=seed, accounts=(account,))
        )
    ]
    raw = [{**event, "accountId": "local"} for event in messy_stream(77, events=600, conversations=20, accounts=1)]
    messy = events_of(standing_copies(raw))
    moved = pc.add(messy["time"].cast(pa.int64()), pa.scalar(now - 2 * DAY - BASE)).cast(INSTANT)
    messy = messy.set_column(messy.schema.get_field_index("time"), messy.schema.field("time"), moved)
    messy = messy.filter(pc.less(messy["time"].cast(pa.int64()), pa.scalar(now)))
    return pa.concat_tables([*tables, messy]).unify_dictionaries()


def of_account(events: pa.Table, account: str) -> pa.Table:
    """The events of one account."""
    return events.filter(pc.equal(events["accountId"].cast(pa.string()), account))


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Places:
    """A store, tables, keys and exported events, with no server over them yet."""
    folder = tmp_path_factory.mktemp("places")
    now = SystemClock().now()
    events = made_events(now)
    data = folder / "store"
    data.mkdir(mode=0o700)
    with SideFile(data) as side, Store(data, side, StoreSettings(memory_bytes=256 << 20, threads=1)) as store:
        for account in ACCOUNTS:
            store.ingest(account, of_account(events, account))
    tokens = {account: file_keys.create(folder / "keys.json", account).token for account in ACCOUNTS}
    found = Places(folder, events, now, tokens)
    write_run(found.lake, events, now - 5000)
    assert nursery.run(folder / "export", "export", "--data", data, "--out", folder / "out").wait() == 0
    return found


@pytest.fixture(scope="session")
def store_site(places: Places, nursery: Nursery) -> Iterator[Site]:
    """The server over the store."""
    data = places.folder / "store"
    with SideFile(data) as side:
        tokens = {account: store_keys.create(side, account).token for account in ACCOUNTS}
    options = ("--port", "0", "--key-rate", "0", "--targets", places.targets)
    server = nursery.start(data, "serve", "--data", data, *options)
    with httpx.Client(base_url=listening(server), timeout=60) as client:
        yield Site(client, tokens)
    server.kill()


@pytest.fixture(scope="session")
def lake_site(places: Places, nursery: Nursery) -> Iterator[Site]:
    """A server over the tables, with the events."""
    options = ("--events", places.exported, "--targets", places.targets)
    with lake_server(nursery, places, places.folder / "one", *options) as site:
        yield site


class lake_server:  # noqa: N801
    """A server over the tables of some places, for a while."""

    def __init__(self, nursery: Nursery, places: Places, place: Path, *options: object) -> None:
        chosen = ("--lake", places.lake, "--keys", places.keys, "--port", "0", "--key-rate", "0", "--address-rate", "0")
        self.server = nursery.start(place, "serve", *chosen, *options)
        self.client = httpx.Client(base_url=listening(self.server), timeout=60)
        self.site = Site(self.client, places.tokens)

    def __enter__(self) -> Site:
        return self.site

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.kill()


def listening(server: Child) -> str:
    """The address of a server that has started."""
    address = server.address()
    assert address is not None, server.log.read_text()
    return address


# --- small tables, to change --------------------------------------------------------------------------------------


def centre(now: int, conversations: int, employee: str, *, days_ago: int = 1) -> list[dict[str, object]]:
    """Some ended conversations of one agent, in one hour of an earlier day, all with the same employee."""
    begun = (now - days_ago * DAY) // HOUR * HOUR
    events: list[dict[str, object]] = []
    for number in range(conversations):
        at = begun + number * 20_000
        named = {"conversationId": f"c{days_ago}-{number}", "accountId": "north"}
        steps: list[tuple[int, dict[str, object]]] = [
            (0, {"type": "assigned", "agentId": 7, "employeeId": employee}),
            (1000, {"type": "message", "sentBy": "consumer"}),
            (2000, {"type": "focused", "agentId": 7}),
            (5000, {"type": "message", "sentBy": "agent"}),
            (9000, {"type": "closed", "closedBy": "agent"}),
        ]
        events += [
            {**named, "eventId": f"{step}", "time": at + after, **more} for step, (after, more) in enumerate(steps)
        ]
    return events


@pytest.fixture
def small(tmp_path: Path) -> Places:
    """Tables of one run: three conversations yesterday and two the day before."""
    now = SystemClock().now()
    events = events_of([*centre(now, 3, "run1"), *centre(now, 2, "run1", days_ago=2)])
    tokens = {"north": file_keys.create(tmp_path / "keys.json", "north").token}
    places = Places(tmp_path, events, now, tokens)
    write_run(places.lake, events, now - 100_000)
    return places


def window(places: Places) -> str:
    return f"from={places.now - 4 * DAY}&to={places.now}"


def segments(site: Site, places: Places) -> tuple[int, list[str]]:
    """How many segments there are, and the employee of each."""
    answer = site.get(f"/api/account/north/agent-segments?source=test&limit=500&{window(places)}", "north")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["pagination"]["count"], [each["employeeId"] for each in found["segments"]]
