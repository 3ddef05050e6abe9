"""The events of a soak: made beforehand, and afterwards compared with what is stored.

As a program: `make FOLDER EVENTS` writes `before.ndjson` (a Monday) and what comes after it as `ACCOUNT.ndjson`;
`compare FOLDER CUTOFF` says what the export of the store lacks, or has too much. Both print JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

ACCOUNTS: Final = ("north", "south")
DAYS: Final = 5
"""From a Monday to a Friday, the last that are over: days that are alike. The first is stored before the soak."""
SEED: Final = 20261123
MESSINESS: Final = 0.02
_LINE: Final = "{accountId: 'VARCHAR', conversationId: 'VARCHAR', eventId: 'VARCHAR', time: 'VARCHAR'}"


def make(folder: Path, events: int) -> dict[str, int]:
    """Writes the events of a centre in the order in which they come in; says how many."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from handletime.events.encode import to_ndjson
    from handletime.simulate.centre import Centre
    from handletime.simulate.simulate import simulate

    start = monday(datetime.now(UTC))
    centre = Centre(start=start, days=DAYS, seed=SEED, events=events, accounts=ACCOUNTS, messiness=MESSINESS)
    border = pa.scalar(start + timedelta(days=1), pa.timestamp("ms", "UTC"))
    made = dict.fromkeys(("before", *ACCOUNTS), 0)
    for table in simulate(centre):
        early = pc.less(pc.cast(table["time"], border.type), border)
        parts = {"before": table.filter(early)}
        later = table.filter(pc.invert(early))
        for account in ACCOUNTS:
            parts[account] = later.filter(pc.equal(pc.cast(later["accountId"], pa.string()), account))
        for name, part in parts.items():
            with (folder / f"{name}.ndjson").open("ab") as file:
                file.write(to_ndjson(part))
            made[name] += part.num_rows
    return made


def monday(now: datetime) -> datetime:
    """The last one whose week's `DAYS` are over."""
    latest = (now - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    return latest - timedelta(days=latest.weekday())


def compare(folder: Path, cutoff: str) -> dict[str, object]:
    """What was acknowledged and is missing, what is stored and was never sent, and what is stored twice.

    `folder` has `before.ndjson`, `acknowledged-*.ndjson`, perhaps `doubtful-*.ndjson` (sent, not answered),
    `forgotten.txt` (ids of conversations) and `export`. Events before `cutoff`, the last that the store was pruned
    at, may be gone.
    """
    import duckdb

    database = duckdb.connect(str(folder / "compare.duckdb"), config={"memory_limit": "1GiB"})
    database.execute("set TimeZone = 'UTC'")
    for name, files in (("acknowledged", ("before", "acknowledged-*")), ("doubtful", ("doubtful-*",))):
        there = [str(each) for pattern in files for each in folder.glob(f"{pattern}.ndjson") if each.stat().st_size]
        source = (
            f"read_json({there!r}, columns = {_LINE}, format = 'newline_delimited')"
            if there
            else "(select '' accountId, '' conversationId, '' eventId, '' as time limit 0)"
        )
        database.execute(f"create table {name} as select distinct * from {source}")  # noqa: S608
    names = (folder / "forgotten.txt").read_text().split() if (folder / "forgotten.txt").exists() else []
    database.execute("create table forgotten (conversationId varchar)")
    database.executemany("insert into forgotten values (?)", [[name] for name in ["", *names]])
    database.execute(
        f"""create table stored as select accountId, conversationId, eventId, time
        from read_parquet('{folder}/export/events/**/*.parquet', hive_partitioning = true)"""  # noqa: S608
    )

    def ask(sql: str, *values: object) -> int:
        return int(database.execute(sql, values).fetchall()[0][0])

    key = "accountId, conversationId, eventId"
    missing = f"""select count(*) from (select distinct {key} from acknowledged where time >= ?
        and conversationId not in (from forgotten)) anti join stored using ({key})"""  # noqa: S608
    strange = f"""select count(*) from stored
        anti join (select {key} from acknowledged union all select {key} from doubtful) using ({key})"""  # noqa: S608
    return {
        "acknowledged": ask(f"select count(*) from (select distinct {key} from acknowledged)"),  # noqa: S608
        "stored": ask("select count(*) from stored"),
        "checked": ask("select count(*) from acknowledged where time >= ?", cutoff),
        "missing": ask(missing, cutoff),
        "strange": ask(strange),
        "twice": ask(f"select count(*) from (select 1 from stored group by {key} having count(*) > 1)"),  # noqa: S608
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        print(json.dumps(make(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        print(json.dumps(compare(Path(sys.argv[2]), sys.argv[3])))
