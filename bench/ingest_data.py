"""The events for ingest: a simulated day as it comes in, cut where enough conversations are open.

As a program it writes them, and says how many there are.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

START: Final = datetime(2025, 11, 10, tzinfo=UTC)
SEED: Final = 1
DAY_EVENTS: Final = 5_400_000
"""So many events a day keep some 20,000 conversations open at once."""
BEFORE: Final = 0.35
"""The part of the day that is stored before anything is measured."""
MESSINESS: Final = 0.01
ACCOUNT: Final = "bench"


def make(folder: Path, sizes: list[int]) -> dict[str, int]:
    """Writes `before.ndjson`, and what comes after it as `1.ndjson` and so on, of so many events each."""
    import numpy as np
    import pyarrow as pa

    from handletime.events.encode import to_ndjson
    from handletime.simulate.centre import Centre
    from handletime.simulate.simulate import simulate

    centre = Centre(start=START, days=1, seed=SEED, events=DAY_EVENTS, messiness=MESSINESS, accounts=(ACCOUNT,), bots=4)
    events = pa.concat_tables(list(simulate(centre)))
    first = int(events.num_rows * BEFORE)
    (folder / "before.ndjson").write_bytes(to_ndjson(events.slice(0, first)))
    ids = events["conversationId"].combine_chunks().dictionary_encode().indices.to_numpy()
    places = np.arange(len(ids))
    begin, end = np.full(ids.max() + 1, len(ids)), np.zeros(ids.max() + 1, np.int64)
    np.minimum.at(begin, ids, places)
    np.maximum.at(end, ids, places)
    is_open = (begin < first) & (end > first)
    for number, size in enumerate(sizes, 1):
        (folder / f"{number}.ndjson").write_bytes(to_ndjson(events.slice(first, size)))
        first += size
    return {"before": int(events.num_rows * BEFORE), "open": int(is_open.sum())}


if __name__ == "__main__":
    print(json.dumps(make(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])))
