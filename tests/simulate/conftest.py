import msgspec
import pyarrow as pa
import pytest

from handletime.events.encode import to_ndjson
from handletime.simulate import simulate as simulation
from tests.plain_reading import Reading, read
from tests.simulate.made import events_of


@pytest.fixture(scope="session")
def day() -> pa.Table:
    return events_of(conversations=2000, accounts=("demo", "shop"))


@pytest.fixture(scope="session")
def reading() -> Reading:
    # In accounts, as the plain reading takes long over many events of one.
    events = events_of(conversations=700, accounts=tuple(f"account{n}" for n in range(8)))
    return read([msgspec.json.decode(line) for line in to_ndjson(events).splitlines()])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "BLOCK", 60)
