"""Compiled code uses no memory that it gave back: what comes out does not depend on what the allocator does with it.

Real processes run under allocators that hand memory out again at once, or overwrite it (the GNU C library's tunables).
A use of freed memory shows there as a crash or as other rows; with the allocator as it is, it mostly shows not at all.
The long tests watch each access: valgrind those to memory that is freed or nobody's, Numba those beyond an array's end.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import duckdb
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handletime.events.encode import to_ndjson
from handletime.segments.threads import SMALL
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from tests.cli.test_serve import bearer, handletime, new_key, serving
from tests.seeds import mostly_long

LIBRARY, VERSION = platform.libc_ver()
TELLS: Final = LIBRARY == "glibc" and tuple(map(int, VERSION.split(".")[:2])) >= (2, 33)
"""Whether it says which settings it knows."""
pytestmark = pytest.mark.skipif(LIBRARY != "glibc", reason="needs the GNU C library (glibc)")

AS_IT_IS: Final = "as it is"
ALLOCATORS: Final = {
    AS_IT_IS: {},
    "threads keep nothing for later": {"glibc.malloc.tcache_count": 0},
    "what is freed is overwritten": {"glibc.malloc.tcache_count": 0, "glibc.malloc.perturb": 0xA5},
    "all threads share one heap": {"glibc.malloc.tcache_count": 0, "glibc.malloc.arena_max": 1},
}
REUSING: Final = tuple(ALLOCATORS)[1:]
ACCOUNT: Final = "acme"
START: Final = datetime(2026, 3, 2, tzinfo=UTC)
CONVERSATIONS: Final = SMALL + 100
"""Enough for a walk to be cut in shares, on threads."""
TABLES: Final = (
    "conversations",
    "events",
    "focus_moves",
    "losses",
    "agents",
    "agent_segments",
    "skill_segments",
    "handle_time_units",
    "open_conversations",
)


def environment(allocator: str) -> dict[str, str]:
    """What makes the C library's allocator behave so."""
    tunables = ALLOCATORS[allocator]
    return {"GLIBC_TUNABLES": ":".join(f"{name}={value}" for name, value in tunables.items())} if tunables else {}


@pytest.mark.skipif(not TELLS, reason="needs the GNU C library (glibc) 2.33 or newer")
def test_the_c_library_knows_these_settings() -> None:
    """It says nothing where it does not."""
    loader = re.search(r"(/\S*/ld[-\w.]*\.so[.\d]*)$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert loader
    told = subprocess.run([loader[1], "--list-tunables"], capture_output=True, text=True, check=True).stdout
    assert {name for tunables in ALLOCATORS.values() for name in tunables} <= set(re.findall(r"^[\w.]+", told, re.M))


class Day(NamedTuple):
    """A simulated day in two halves, each with events of every conversation; and a folder of an empty store."""

    folder: Path
    halves: tuple[pa.Table, pa.Table]
    conversations: list[str]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    centre = Centre(start=START, seed=7, conversations=CONVERSATIONS, accounts=(ACCOUNT,), messiness=0.02)
    events = pa.concat_tables(list(simulate(centre))).combine_chunks()
    ids = events["conversationId"].combine_chunks().dictionary_encode()
    numbers = ids.indices.to_numpy()
    by_conversation = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    assert len(sizes) > SMALL
    assert min(sizes) > 1
    place = np.empty(len(numbers), np.int64)
    place[by_conversation] = np.arange(len(numbers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    early = pa.array(place < sizes[numbers] // 2)
    halves = events.filter(early), events.filter(pa.compute.invert(early))
    folder = tmp_path_factory.mktemp("day")
    (folder / "day.ndjson").write_bytes(b"".join(map(to_ndjson, halves)))
    array = b",".join(to_ndjson(halves[0].slice(0, 5_000)).splitlines())
    (folder / "few.json").write_bytes(b"[" + array + b"]")
    pq.write_table(pa.concat_tables(halves), folder / "day.parquet")
    return Day(folder, halves, ids.dictionary[:5_000:1_000].to_pylist())


@pytest.mark.parametrize("allocator", mostly_long([REUSING[1], REUSING[0], REUSING[2]], 1))
def test_what_is_derived_is_the_same(allocator: str, day: Day, tmp_path: Path) -> None:
    def derive(allocator: str) -> dict[str, bytes]:
        out = tmp_path / allocator
        handletime("derive", day.folder / "day.ndjson", "--out", out, env=environment(allocator), anew=True)
        return {path.name: path.read_bytes() for path in out.iterdir()}

    expected = derive(AS_IT_IS)
    assert len(expected) == 5
    assert derive(allocator) == expected


@pytest.mark.long
def test_what_is_explained_is_the_same(day: Day) -> None:
    """Of a JSON array, which is made lines first. Under the other allocators a server explains, below."""

    def explain(allocator: str) -> str:
        asked = ("explain", day.folder / "few.json", "--conversation", day.conversations[0])
        return handletime(*asked, env=environment(allocator), anew=True).stdout

    expected = explain(AS_IT_IS)
    assert "assigned" in expected
    assert explain(REUSING[2]) == expected


@pytest.mark.long
def test_what_is_stored_is_the_same_also_with_queries_beside(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request touches more conversations than are walked at once; without a server they come from Parquet."""
    key = new_key(tmp_path / "empty", "ingest", "operations", "handle-time")
    headers = bearer(key)
    answers = {}
    for allocator in (AS_IT_IS, REUSING[1]):
        folder = shutil.copytree(tmp_path / "empty", tmp_path / allocator)
        with monkeypatch.context() as patch:
            for name, value in environment(allocator).items():
                patch.setenv(name, value)
            with (
                serving(folder, anew=True) as server,
                httpx.Client(base_url=server.url, headers=headers, timeout=60) as client,
            ):
                answers[allocator] = send(client, day)
                assert server.stop() == 0, server.log.read_text()
    folder = shutil.copytree(tmp_path / "empty", tmp_path / "bulk")
    bulk = ("ingest", day.folder / "day.parquet", "--data", folder, "--account", ACCOUNT)
    handletime(*bulk, env=environment(REUSING[2]), anew=True)

    assert [allocator for allocator, given in answers.items() if given != answers[AS_IT_IS]] == []
    for name in (REUSING[1], "bulk"):
        assert differing_rows(tmp_path / AS_IT_IS, tmp_path / name) == {}, name


def send(client: httpx.Client, day: Day) -> list[bytes]:
    """Sends both halves while others ask; gives what is answered afterwards."""
    end = int((START + timedelta(days=1)).timestamp() * 1000)
    paths = [
        f"/operations/api/account/{ACCOUNT}/msgagentsegments?v=1&timeframe=1440&to={end}&agentIds=all",
        *(f"/api/account/{ACCOUNT}/conversations/{id_}/explain" for id_ in day.conversations),
    ]
    with ThreadPoolExecutor(2) as threads:
        for half in day.halves:
            sent = threads.submit(client.post, f"/api/account/{ACCOUNT}/events", content=to_ndjson(half))
            while not sent.done():
                answers = [client.get(path) for path in paths]
                assert {answer.status_code for answer in answers} <= {200, 404}
                time.sleep(0.2)
            assert sent.result().status_code == 200, sent.result().text
    answers = [client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.content for answer in answers]


def differing_rows(folder: Path, other: Path) -> dict[str, list[tuple[object, ...]]]:
    """By table, some rows that one of two stores has and the other has not."""
    found = {}
    with duckdb.connect() as connection:
        for name, path in (("a", folder), ("b", other)):
            connection.execute(f"attach '{path / 'store.duckdb'}' as {name} (read_only)")
        for table in TABLES:
            but = "lambda c: c not in ('commit_number', 'key')"
            a, b = (f"select columns({but})::varchar from {name}.kept.{table}" for name in "ab")  # noqa: S608
            there = connection.execute(f"from ({a}) limit 1").fetchall()
            assert there, table
            rows = connection.execute(f"(({a}) except all ({b})) union all (({b}) except all ({a})) limit 5").fetchall()
            if rows:
                found[table] = rows
    return found


# --- every access watched --------------------------------------------------------------------------------------------

COMPILED_CODE: Final = (sys.executable, "-m", "tests.segments.compiled_code")
ROOT: Final = Path(__file__).parents[2]
VALGRIND: Final = (
    *("valgrind", "--tool=memcheck", "--undef-value-errors=no", "--leak-check=no", "--error-limit=no", "--xml=yes"),
    "--smc-check=all",  # code is made anew where other code was
)
BASELINE: Final = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "ARROW_USER_SIMD_LEVEL": "NONE"}
"""Instructions that valgrind knows: not those of the newest processors."""
OBJECTS_BY_MALLOC: Final = {"PYTHONMALLOC": "malloc"}


def what_comes_out(*arguments: object, env: Mapping[str, str], watch: tuple[str, ...] = ()) -> str:
    """What `tests.segments.compiled_code` says."""
    command = [*watch, *COMPILED_CODE, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def watched(report: Path, *arguments: object, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """The same under valgrind, and its complaints of compiled code, which is code that lies in no file."""
    said = what_comes_out(*arguments, env=env, watch=(*VALGRIND, f"--xml-file={report}"))
    complaints = []
    for error in ElementTree.parse(report).iter("error"):  # noqa: S314 - valgrind has written it
        stack = error.find("stack")
        if stack is not None and any(frame.find("obj") is None for frame in stack):
            complaints.append(f"{error.findtext('kind')}: {error.findtext('what')}")
    return said, complaints


@pytest.mark.long
@pytest.mark.requires_command("valgrind")
def test_valgrind_finds_no_access_to_memory_that_is_not_there(tmp_path: Path) -> None:
    """What is compiled beforehand is loaded: valgrind need not watch the compiler."""
    env = BASELINE | {"HANDLETIME_CACHE_DIR": str(tmp_path / "cache")}
    what_comes_out("--wrong", env=env)
    _, complaints = watched(tmp_path / "wrong.xml", "--wrong", env=env | OBJECTS_BY_MALLOC)
    assert {complaint.partition(":")[0] for complaint in complaints} >= {"InvalidRead", "InvalidWrite"}

    expected = what_comes_out(folder(tmp_path / "plain"), env=env)
    found = watched(tmp_path / "right.xml", folder(tmp_path / "watched"), env=env | OBJECTS_BY_MALLOC)
    assert found == (expected, [])


@pytest.mark.long
def test_no_place_lies_beyond_the_end_of_an_array(tmp_path: Path) -> None:
    """The same, compiled with a check of each place: valgrind does not see what lies within the same block."""
    env = {"NUMBA_BOUNDSCHECK": "1", "HANDLETIME_CACHE_DIR": str(tmp_path / "cache")}
    assert what_comes_out("--wrong", env=env).split()[-1] == "IndexError"
    assert what_comes_out("--wrong", env={}).split()[-1] != "IndexError"
    assert what_comes_out(folder(tmp_path / "checked"), env=env) == what_comes_out(folder(tmp_path / "plain"), env={})


def folder(path: Path) -> Path:
    """A new one."""
    path.mkdir()
    return path
