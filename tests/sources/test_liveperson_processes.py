"""Many records are converted by several processes, which end with the one that began them.

Covers: processors, sources/liveperson/processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import cast

import pytest

from handletime.errors import HandletimeError
from handletime.processors import processors
from handletime.sources.liveperson import processes
from handletime.sources.liveperson.processes import Found, converted

SAMPLE = Path(__file__).parents[1] / "golden" / "liveperson-history-sample.json"
RECORDS = [json.dumps(record).encode() for record in json.loads(SAMPLE.read_bytes())["conversationHistoryRecords"]]
LIMIT_S = 60.0
several = pytest.mark.skipif(processors() == 1, reason="there is one processor, so that all is done in this process")


def found(number: int) -> Iterator[Found]:
    bodies = [*RECORDS, b"{", b'{"info":{"conversationId":"x"}}']
    return (("a file", f"record {place}", bodies[place % len(bodies)]) for place in range(number))


@several
def test_several_processes_give_what_one_gives_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    number = 3 * processes._TOGETHER + 7
    here = list(converted(found(number)))
    monkeypatch.setattr(processes, "FEW", 10)
    assert list(converted(found(number))) == here
    assert {each.place for each in here if each.faults and not each.conversation_id} >= {f"record {len(RECORDS)}"}


@several
def test_what_the_records_raise_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Found]:
        yield from found(500)
        raise HandletimeError("the file breaks off")

    monkeypatch.setattr(processes, "FEW", 10)
    with pytest.raises(HandletimeError, match="the file breaks off"):
        list(converted(broken()))


@several
def test_a_process_that_is_ended_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW", 10)
    given = converted(found(5_000))
    next(given)
    for child in converting(os.getpid()):
        os.kill(child, signal.SIGKILL)
    with pytest.raises(HandletimeError, match="was ended; was the memory used up"):
        list(given)


@several
@pytest.mark.parametrize("round_", range(8))
def test_whenever_it_is_ended_nobody_waits_for_it(round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of a message too: what is sent here and there is larger than a pipe holds."""
    monkeypatch.setattr(processes, "FEW", 10)
    monkeypatch.setattr(processes, "_TOGETHER", 2_000)
    given = converted(found(20_000))
    next(given)
    killing = Timer(0.02 * round_, kill_one, (os.getpid(),))
    killing.start()
    with pytest.raises(HandletimeError, match="was ended; was the memory used up"):
        list(given)
    killing.join()
    eventually(lambda: not converting(os.getpid()))


def test_what_converting_raises_is_raised_here() -> None:
    with processes._begun(multiprocessing.get_context("spawn")) as process:
        process.give(cast(list[Found], [("a file", "record 0")]))
        with pytest.raises(ValueError, match="unpack"):
            process.result()
        process.give(list(found(2)))
        assert [each.place for each in process.result()] == ["record 0", "record 1"]


def kill_one(process: int) -> None:
    os.kill(converting(process)[0], signal.SIGKILL)


def converting(process: int) -> list[int]:
    """The processes that convert records for a process."""
    each = {child: Path(f"/proc/{child}/cmdline") for child in children(process) if is_running(child)}
    return [child for child, command in each.items() if b"multiprocessing.spawn" in command.read_bytes()]


@several
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_they_end_with_the_command(how: signal.Signals, tmp_path: Path) -> None:
    out, log = tmp_path / "events.ndjson", tmp_path / "log"
    with log.open("wb") as told:
        command = [sys.executable, "-m", "handletime", "import", "liveperson", "-", "--out", str(out)]
        importing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=told)
        assert importing.stdin is not None
        importing.stdin.write(b"".join(body + b"\n" for _, _, body in found(processes.FEW + 1_000) if body != b"{"))
        importing.stdin.flush()
        eventually(lambda: len(children(importing.pid)) > min(processors(), processes.PROCESSES_MAX))
        begun = children(importing.pid)
        # Python may miss a signal that comes just before it waits for more of a pipe; a user presses Ctrl-C again.
        eventually(lambda: has_ended(importing, how), every_s=1.0)
        importing.stdin.close()
    eventually(lambda: not any(is_running(child) for child in begun))
    assert not out.exists()
    assert b"Traceback" not in log.read_bytes()


def has_ended(process: subprocess.Popen[bytes], how: signal.Signals) -> bool:
    """Whether a process has ended; if not, it is told once more to."""
    process.send_signal(how)
    return process.poll() is not None


def children(process: int) -> list[int]:
    """The processes that a process has begun."""
    tasks = Path(f"/proc/{process}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], bool], every_s: float = 0.05) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(every_s)
