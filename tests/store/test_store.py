"""The store as a whole: opened, closed, killed, locked, damaged.

Covers: closing, store/database, store/directory, store/opening.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from handletime.answers.relations import NotAllowed
from handletime.errors import NotNow, StoreError
from handletime.store import backlog, database
from handletime.store.backlog import Fold
from handletime.store.opening import FILE, StoreSettings
from handletime.store.requests import Ingested
from handletime.store.store import Store
from handletime.store.writer import Writer
from tests.messy_streams import BASE, messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import (
    SMALL,
    a_store,
    a_stream,
    account_of,
    derived_rows,
    in_batches,
    of_account,
    requests_of,
    standing_copies,
    stored_rows,
)

ONE = events_of([{"eventId": "e1", "conversationId": "c", "time": BASE, "type": "opened"}])
OTHER = events_of([{"eventId": "e2", "conversationId": "c", "time": BASE + 1, "type": "closed", "closedBy": "agent"}])


def test_what_was_ingested_is_there_after_reopening(tmp_path: Path) -> None:
    events = standing_copies(messy_stream(4, accounts=1))
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(events))
    with a_store(tmp_path) as store:
        assert stored_rows(store, "local") == derived_rows(events)
        assert store.ingest("local", events_of(events)).accepted == 0


def test_requests_at_once_from_many_threads_are_each_answered_for_themselves(tmp_path: Path) -> None:
    events = standing_copies(messy_stream(8, accounts=1, events=300))
    answers: list[Future[Ingested]] = []
    with a_store(tmp_path) as store:

        def send(part: int) -> None:
            answers.extend(store.submit("local", events_of([event])) for event in events[part::8])

        threads = [threading.Thread(target=send, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.result() for answer in answers} == {(1, 0)}
        assert len(answers) == len(events)
        assert stored_rows(store, "local") == derived_rows(events)


def test_a_full_queue_refuses_and_takes_again_later(tmp_path: Path) -> None:
    with a_store(tmp_path, StoreSettings(queue_events=2, threads=1)) as store:
        taken: list[Future[Ingested]] = []

        def flood() -> None:
            for _ in range(10_000):
                taken.append(store.submit("A", ONE))

        with pytest.raises(NotNow, match="wait to be stored"):
            flood()
        assert sum(answer.result().accepted for answer in taken) == 1
        assert store.ingest("A", ONE) == (0, 1)


def test_a_closed_store_takes_no_more_but_answers_what_it_took(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    answer = store.submit("A", ONE)
    store.close()
    assert answer.result() == (1, 0)
    with pytest.raises(NotNow, match="stopping"):
        store.ingest("A", ONE)
    with pytest.raises(NotNow), store.reader("A").snapshot():
        pass


def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    with a_store(tmp_path), pytest.raises(StoreError, match=f"in use by another handletime.*{os.getpid()}"):
        a_store(tmp_path)
    a_store(tmp_path).close()


# --- failures


class Failing:
    """Keeps the numbers of the last commit and entry, but for one time."""

    def __init__(self) -> None:
        self.number = self.entry = 0
        self.fails = self.entry_fails = False

    def last_commit(self) -> int:
        return self.number

    def set_last_commit(self, number: int) -> None:
        if self.fails:
            self.fails = False
            raise OSError("no space left on device")
        self.number = number

    def last_entry(self) -> int:
        return self.entry

    def set_last_entry(self, number: int) -> None:
        if self.entry_fails:
            self.entry_fails = False
            raise OSError("no space left on device")
        self.entry = number


def test_what_the_journal_cannot_take_is_not_acknowledged(tmp_path: Path) -> None:
    commits = Failing()
    with Store(tmp_path, commits, SMALL) as store:
        store.ingest("A", ONE)
        commits.entry_fails = True
        with pytest.raises(StoreError):
            store.ingest("A", OTHER)
        assert store.ingest("A", OTHER) == (1, 0)
        assert store.ingest("A", ONE) == (0, 1)
    assert commits.entry == 2


def test_a_fold_that_fails_is_done_again_once_the_tables_are_open_anew(tmp_path: Path) -> None:
    """What was acknowledged is in every answer from then on, and nothing twice."""
    commits = Failing()
    with Store(tmp_path, commits, SMALL) as store:
        store.ingest("A", ONE)
        store.settle()
        commits.fails = True
        assert store.ingest("A", OTHER) == (1, 0)
        with pytest.raises(NotNow):
            store.settle()
        # It was committed, but that could not be kept.
        assert store.ingest("A", OTHER) == (0, 1)
        wait_until(lambda: store.problem() is None)
        settled(store)
        assert store.ingest("A", OTHER) == (0, 1)
        assert store.ingest("A", ONE) == (0, 1)
        with store.snapshot() as cursor:
            assert cursor.execute("select eventId from kept.events order by all").fetchall() == [("e1",), ("e2",)]


def test_nothing_leaves_the_journal_before_its_fold_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`forget` empties the journal beside a fold that has not ended, and then fails."""
    reached, go = threading.Event(), threading.Event()

    def fail(step: str) -> None:
        if step == "before-commit" and not go.is_set():
            reached.set()
            assert go.wait(30)
            raise OSError("no space left on device")

    with Store(tmp_path, Failing(), SMALL) as store:
        monkeypatch.setattr(database, "crash_point", fail)
        store.ingest("A", ONE)
        assert reached.wait(30)
        store._empty_journal()
        assert store.journal.numbers() == [1]
        go.set()
        settled(store)
        assert store.journal.numbers() == []
        assert store.ingest("A", ONE) == (0, 1)


def settled(store: Store) -> None:
    """Waits until what could not be folded has been."""

    def is_settled() -> bool:
        try:
            store.settle()
        except NotNow:
            return False
        return True

    wait_until(is_settled)


def test_a_store_that_cannot_be_opened_anew_says_why_until_it_can(tmp_path: Path) -> None:
    """Meanwhile the journal takes what it has room for."""
    commits = Failing()
    with Store(tmp_path, commits, replace(SMALL, backlog_events=2)) as store:
        store.ingest("A", ONE)
        store.settle()
        commits.number = 100
        commits.fails = True
        assert store.ingest("A", OTHER) == (1, 0)
        wait_until(lambda: "reached commit" in (store.problem() or ""))
        with pytest.raises(NotNow, match="reached commit"), store.reader("A").snapshot():
            pass
        more = events_of([{"eventId": f"m{n}", "conversationId": "c", "time": BASE, "type": "opened"} for n in (1, 2)])
        with pytest.raises(NotNow, match="reached commit"):
            store.ingest("A", more)
        commits.number = 1
        wait_until(lambda: store.problem() is None)
        assert store.ingest("A", ONE) == (0, 1)
        settled(store)
        assert store.ingest("A", more) == (2, 0)


def test_answers_that_wait_for_a_fold_are_given_where_none_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an account that is asked about: what it has sent stands in the journal."""
    monkeypatch.setattr(backlog, "FEW_EVENTS", 0)
    commits = Failing()
    with Store(tmp_path, commits, SMALL) as store:
        with store.reader("A").snapshot():
            pass
        commits.number, commits.fails = 100, True
        assert store.submit("A", ONE).result(30) == (1, 0)
        wait_until(lambda: "reached commit" in (store.problem() or ""))
        with pytest.raises(NotNow, match="reached commit"), store.reader("A").snapshot():
            pass
        assert store.submit("A", OTHER).result(30) == (1, 0)


def test_a_store_is_closed_though_somebody_waits_for_room_that_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_writer: Writer, _fold: Fold) -> None:
        raise ValueError("this cannot be folded")

    monkeypatch.setattr(Writer, "fold", fail)
    with a_store(tmp_path, replace(SMALL, backlog_events=1)) as store:
        store.ingest("A", ONE)
        wait_until(lambda: bool(store._backlog._stuck) and store.problem() is None)
        waiting = [store.submit("A", OTHER), store.submit("A", OTHER)]
    # What waits is written all the same.
    assert [each.result(0) for each in waiting] == [(1, 0), (0, 1)]
    monkeypatch.undo()
    with a_store(tmp_path) as store, store.snapshot() as cursor:
        assert cursor.execute("select eventId from kept.events order by all").fetchall() == [("e1",), ("e2",)]


@pytest.mark.parametrize("how", ["removed", "replaced", "log removed"])
def test_a_file_that_is_taken_away_under_the_store_is_seen_by_the_next_commit(how: str, tmp_path: Path) -> None:
    """It went on acknowledging, into a file that had no name any more."""
    commits = Failing()
    file = tmp_path / FILE
    with Store(tmp_path, commits, SMALL) as store:
        store.ingest("A", ONE)
        store.settle()
        if how == "log removed":
            file.with_name(f"{FILE}.wal").unlink()
        else:
            (tmp_path / "copy").write_bytes(file.read_bytes())
            file.unlink()
            if how == "replaced":
                (tmp_path / "copy").rename(file)
        assert store.ingest("A", OTHER) == (1, 0)
        with pytest.raises(NotNow):
            store.settle()
        assert commits.number == 1
        assert store.journal.numbers() == [2]
        if how == "removed":
            wait_until(lambda: "is missing" in (store.problem() or ""))
            with pytest.raises(NotNow, match="is missing"):
                store.settle()


def test_a_checkpoint_is_not_taken_for_that(tmp_path: Path) -> None:
    with Store(tmp_path, Failing(), SMALL) as store:
        store.ingest("A", ONE)
        store.checkpoint()
        assert not (tmp_path / f"{FILE}.wal").exists()
        assert store.ingest("A", OTHER) == (1, 0)
        store.settle()


def test_a_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Its log would lie elsewhere."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="make the folder a link"):
        Store(tmp_path / "store", Failing(), SMALL)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- accounts


@pytest.mark.parametrize("seed", range(0, 50, 10))
def test_accounts_with_equal_ids_know_nothing_of_each_other(seed: int, tmp_path: Path) -> None:
    mine = standing_copies(messy_stream(seed, accounts=1))
    theirs = standing_copies(messy_stream(seed + 1, accounts=1))
    with a_store(tmp_path) as store:
        for place in range(0, 200, 20):
            store.ingest("A", events_of(mine[place : place + 20]))
            store.ingest("B", events_of(theirs[place : place + 20]))
        both = stored_rows(store, "A")
    with a_store(tmp_path / "alone") as store:
        store.ingest("A", events_of(mine))
        assert stored_rows(store, "A") == both


def test_an_account_that_came_first_without_events_takes_nobodys_number_later(tmp_path: Path) -> None:
    """What is numbered in memory may not get into the tables before the store is closed."""
    stream = messy_stream(1, accounts=1)
    with a_store(tmp_path) as store:
        store.ingest("first", events_of([]))
        store.ingest("second", events_of(stream))
        wanted = stored_rows(store, "second")
    with a_store(tmp_path) as store:
        assert store.ingest("first", events_of(stream[:1])).accepted == 1
        assert stored_rows(store, "second") == wanted


def test_an_account_that_is_folded_before_an_older_one_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "FOLD_S", 1e6)
    monkeypatch.setattr(backlog, "OTHERS_EVENTS", 0)
    stream = messy_stream(1, accounts=1)
    with a_store(tmp_path / "store") as store:
        store.ingest("older", events_of(stream[:1]))
        store.ingest("newer", events_of(stream))
        assert store.reader("newer").holds_all([])
        assert store.journal.numbers() == [1]
        shutil.copytree(store.folder, tmp_path / "killed")
        wanted = stored_rows(store, "newer")
    with a_store(tmp_path / "killed") as store:
        store.ingest("older", events_of(stream[1:]))
        assert stored_rows(store, "newer") == wanted
        with a_store(tmp_path / "alone") as alone:
            alone.ingest("older", events_of(stream))
            assert stored_rows(store, "older") == stored_rows(alone, "older")


def test_a_reader_finds_no_table_but_its_views(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.ingest("A", events_of(messy_stream(1, accounts=1)))
        with store.reader("nobody").snapshot() as connection:
            for name in ("agent_segments", "skill_segments", "handle_time_units"):
                assert connection.table(f"from {name}").num_rows == 0
            for name in ("events", "conversations", "accounts"):
                with pytest.raises(NotAllowed, match=f"has no {name}"):
                    connection.execute(f"from {name}")
        assert store.reader("nobody").prepared("c1") is None
        assert store.reader("A").prepared("nothing") is None


def test_a_snapshot_stays_as_it_is_while_events_come_in(tmp_path: Path) -> None:
    events = standing_copies(messy_stream(4, accounts=1))
    count = "select (select count(*) from agent_segments), (select count(*) from skill_segments)"
    with a_store(tmp_path) as store, store.reader("local").snapshot() as connection:
        before = connection.execute(count).fetchall()
        store.ingest("local", events_of(events))
        assert connection.execute(count).fetchall() == before == [(0, 0)]
        with store.reader("local").snapshot() as later:
            assert later.execute(count).fetchall() != before


# --- damage


def test_a_missing_write_ahead_log_is_told(tmp_path: Path) -> None:
    run_killed(tmp_path, 3)
    (tmp_path / "store.duckdb.wal").unlink()
    with pytest.raises(StoreError, match=r"reached commit 0, but commits up to 3 .*store\.duckdb\.wal is missing"):
        a_store(tmp_path)


def test_a_cut_write_ahead_log_is_told(tmp_path: Path) -> None:
    run_killed(tmp_path, 3)
    log = tmp_path / "store.duckdb.wal"
    os.truncate(log, log.stat().st_size - 10)
    with pytest.raises(StoreError, match="commits up to 3 were acknowledged"):
        a_store(tmp_path)


def test_a_missing_file_is_told_and_none_is_made_in_its_place(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.ingest("A", ONE)
    (tmp_path / "store.duckdb").unlink()
    with pytest.raises(StoreError, match="is missing"):
        a_store(tmp_path)
    assert not (tmp_path / "store.duckdb").exists()


def test_an_older_copy_of_the_file_is_told(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.ingest("A", ONE)
    older = (tmp_path / "store.duckdb").read_bytes()
    with a_store(tmp_path) as store:
        store.ingest("A", OTHER)
    (tmp_path / "store.duckdb").write_bytes(older)
    with pytest.raises(StoreError, match="reached commit 1, but commits up to 2"):
        a_store(tmp_path)


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").write_bytes(b"x" * 100_000)
    with pytest.raises(StoreError, match="cannot be"):
        a_store(tmp_path)


def test_a_missing_journal_is_told(tmp_path: Path) -> None:
    run_killed(tmp_path, 3, settle=False)
    for path in tmp_path.glob("journal.sqlite*"):
        path.unlink()
    with pytest.raises(StoreError, match="lacks entry 1, but entries up to 3 were acknowledged"):
        a_store(tmp_path)


def test_a_cut_journal_is_told(tmp_path: Path) -> None:
    run_killed(tmp_path, 3, settle=False)
    log = tmp_path / "journal.sqlite-wal"
    os.truncate(log, log.stat().st_size - 10)
    with pytest.raises(StoreError, match="lacks entry 3, but entries up to 3 were acknowledged"):
        a_store(tmp_path)


def test_an_older_journal_is_no_matter_where_all_of_it_is_folded(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.ingest("A", ONE)
        store.settle()
        store.ingest("A", OTHER)
    (tmp_path / "journal.sqlite").unlink()
    with a_store(tmp_path) as store:
        assert store.ingest("A", OTHER) == (0, 1)
        more = events_of([{"eventId": "e3", "conversationId": "c", "time": BASE, "type": "opened"}])
        assert store.ingest("A", more) == (1, 0)
        store.settle()
        assert store._database.folded.last() == 3


def run_killed(folder: Path, commits: int, *, settle: bool = True) -> None:
    """Another process ingests so many requests, and ends without closing anything; perhaps all is folded before."""
    program = f"""
import os
from pathlib import Path
from handletime.store import backlog
from tests.messy_streams import BASE
from tests.segments.tables import events_of
from tests.store.worlds import a_store
backlog.FOLD_S = 1000
store = a_store(Path({str(folder)!r}))
for number in range({commits}):
    event = {{"eventId": str(number), "conversationId": "c", "time": BASE, "type": "opened"}}
    store.ingest("A", events_of([event]))
    if {settle}:
        store.settle()
os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


KILLED = """
import sys
from pathlib import Path
from tests.segments.tables import events_of
from tests.store.worlds import a_store, a_stream, in_batches, requests_of
folder, seed, start = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = a_store(folder)
print("open", flush=True)
for number, batch in enumerate(in_batches(a_stream(seed), seed)):
    if number >= start:
        for request in requests_of(batch):
            store.ingest(request.account, request.events)
        print(number, flush=True)
print("done", flush=True)
"""


def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    killed = 0
    for seed in range(40):
        killed += killed_at(seed, tmp_path / str(seed))
        if killed == 3:
            return
    raise AssertionError("every process ended before it was killed")


def killed_at(seed: int, folder: Path) -> bool:
    """Kills a process somewhere in a stream; a second one goes on where the first had no answer any more."""
    events = a_stream(seed)
    batches = list(in_batches(events, seed))
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(folder), str(seed), "0"]
    root = Path(__file__).parents[2]
    acknowledged = -1
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip().isdigit():
                acknowledged = int(line)
            if acknowledged >= len(batches) // 2 or line.strip() == "done":
                child.send_signal(signal.SIGKILL)
                break
    if acknowledged < 0:
        return False
    with a_store(folder) as store:
        for number, batch in enumerate(batches):
            for request in requests_of(batch):
                answer = store.ingest(request.account, request.events)
                if number <= acknowledged:
                    assert answer.accepted == 0, (seed, number)
        expected = derived_rows(standing_copies(events))
        for account in {account_of(event) for event in events}:
            assert stored_rows(store, account) == of_account(expected, account)
    return True


def test_opening_and_closing_leaves_nothing_open(tmp_path: Path) -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count()

    a_store(tmp_path).close()
    before = held()
    for _ in range(10):
        with a_store(tmp_path) as store:
            store.ingest("A", ONE)
    assert held() <= before + 2
