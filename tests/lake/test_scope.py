"""Over tables a key that is limited to groups or skills sees the same rows, and the same of agents' focus, as over a
store.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from handletime.answers.relations import OF_AGENTS, RELATIONS
from handletime.answers.selection import instant_of
from handletime.keys import keys_file
from handletime.lake.lake import Lake, LakeSettings
from handletime.lake.reader import LakeReader
from handletime.scope import WHOLE, Scope, scope_of
from handletime.segments.agent_focus import OUTSIDE
from tests.crash.nursery import Nursery
from tests.lake.conftest import ACCOUNTS, DAY, Places, lake_server, of_account
from tests.store.worlds import a_store

ONE: Final = LakeSettings(threads=1)
NAMES: Final = [name for name in RELATIONS if name != "open_conversations"]


def rows(reader: LakeReader, name: str, window: tuple[int, int] | None) -> list[dict[str, Any]]:
    end = "segmentEnd" if name == "handle_time_units" else '"end"'
    where, values = "", {}
    if window is not None and name != "running_queue_segments":
        where = f"where {end} >= $start and {end} < $end"
        values = {"start": instant_of(window[0]), "end": instant_of(window[1])}
    columns = "*, skillId as skill, groupId as grp" if name == "handle_time_units" else "*"
    with reader.snapshot() as snapshot:
        found: list[dict[str, Any]] = snapshot.table(
            f"select {columns} from {name} {where} order by all",  # noqa: S608
            values,
        ).to_pylist()
    return found


def is_within(name: str, row: dict[str, Any], scope: Scope) -> bool:
    """The rule once more: agents' rows by group and skill, all others by skill, and none of them with groups."""
    if name in OF_AGENTS:
        return scope.has(row["skillId"], row["groupId"])
    return scope.groups is None and scope.has_skill(row["skillId"])


def scopes(events: pa.Table, dice: random.Random) -> list[Scope]:
    """Some groups and skills that there are."""
    ids = [[id_ for id_ in events[name].unique().to_pylist() if id_ is not None] for name in ("groupId", "skillId")]
    some = [tuple(sorted(dice.sample(each, min(len(each), 2)))) for each in ids]
    return [Scope(some[0]), Scope(None, some[1]), Scope(*some), Scope((4711,))]


def test_every_relation_has_only_the_rows_within(places: Places, seed: int) -> None:
    windows = (None, (places.now - 3 * DAY, places.now + DAY), (places.now - DAY, places.now))
    with Lake(places.lake, ONE) as lake:
        for account in ACCOUNTS:
            for scope in scopes(of_account(places.events, account), random.Random(seed)):
                for name in NAMES:
                    for window in windows:
                        whole = rows(lake.reader(account), name, window)
                        wanted = [row for row in whole if is_within(name, row, scope)]
                        # Rows have their columns in another order, and so are sorted by others.
                        found = rows(lake.reader(account, scope), name, window)
                        assert in_order(found) == in_order(wanted), name


def in_order(found: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted((sorted(row.items()) for row in found), key=repr)


def test_what_is_known_of_an_agents_focus_is_the_same_as_over_a_store(
    places: Places, tmp_path: Path, seed: int
) -> None:
    outside = inside = 0
    with Lake(places.lake, ONE) as lake, a_store(tmp_path / "store") as store:
        for account in ACCOUNTS:
            mine = of_account(places.events, account)
            store.ingest(account, mine)
            moves = mine.filter(pc.is_in(mine["type"].cast(pa.string()), pa.array(["focused", "unfocused"])))
            times = moves["time"].cast(pa.int64())
            low, last = pc.min(times).as_py(), pc.max(times).as_py()
            for scope in scopes(mine, random.Random(seed)):
                for agent in sorted(moves["agentId"].unique().to_pylist())[:4]:
                    whole = store.reader(account).focus(agent, low, last)
                    found = store.reader(account, scope).focus(agent, low, last)
                    assert lake.reader(account, scope).focus(agent, low, last) == found
                    named = {each.conversation for each in found} - {None, OUTSIDE}
                    outside += sum(each.conversation == OUTSIDE for each in found)
                    inside += len(named)
                    assert named <= {each.conversation for each in whole}
                    if scope.groups == (4711,):
                        assert found == []
    assert outside > 0
    assert inside > 0


def test_a_limited_key_of_a_file(places: Places, nursery: Nursery, tmp_path: Path) -> None:
    """The whole way: a file of keys, a server over tables, its answers and its refusals."""
    events = of_account(places.events, "north")
    group = max(group for group in events["groupId"].unique().to_pylist() if group is not None)
    token = keys_file.create(places.keys, "north", scope=scope_of([group])).token
    path = f"/api/account/north/agent-segments?source=test&format=csv&from={places.now - 2 * DAY}&to={places.now}"
    with lake_server(nursery, places, tmp_path / "limited", "--events", places.exported) as site:
        limited = {"Authorization": f"Bearer {token}"}
        whole = site.get(path, "north")
        mine = site.client.get(path, headers=limited)
        assert mine.status_code == 200, mine.text
        head, *lines = (line.split(",") for line in mine.text.splitlines())
        assert {line[head.index("groupId")] for line in lines} == {str(group)}
        assert 0 < int(mine.headers["X-Total-Count"]) < int(whole.headers["X-Total-Count"])
        for refused in ("agent-segments/breakdown?source=test", "msgqueuehealth?v=1&timeframe=60"):
            where = "/operations/api" if refused.startswith("msg") else "/api"
            answer = site.client.get(f"{where}/account/north/{refused}", headers=limited)
            assert answer.status_code == 403
            assert f"limited to group {group}" in answer.json()["message"]


def test_a_reader_is_of_the_whole_account_unless_it_is_told(places: Places) -> None:
    with Lake(places.lake, ONE) as lake:
        assert lake.reader("north").scope == WHOLE
        states = {lake.reader("north", scope).state() for scope in (WHOLE, Scope((1,)), Scope(None, (1,)))}
        assert len(states) == 3
