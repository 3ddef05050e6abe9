"""A process under strace: what it had not yet synced whenever it said something, and calls that fail."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.nursery import LIMIT_S, ROOT

HANDLETIME: Final = Path(sys.executable).parent / "handletime"
CALLS: Final = (
    "openat,write,pwrite64,writev,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
)
_LINE: Final = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_FD: Final = re.compile(r"\d+<([^>]*)>")
_PATH: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CHANGES: Final = {"write", "pwrite64", "writev"}
"""Not `ftruncate`: what DuckDB cuts off at the end of a checkpoint is free; if that is lost, it stays free."""
_SYNCS: Final = {"fsync", "fdatasync"}
_MOVES: Final = {"rename", "renameat", "renameat2"}
_LINKS: Final = {"link", "linkat"}
_REMOVES: Final = {"unlink", "unlinkat"}


FOLDS_WHEN_ASKED: Final = """
from handletime.cli import main
from handletime.store import backlog
backlog.FOLD_S = 1e6
main()
"""


@dataclass
class Said:
    """What a process said, and which files and names under a folder a power loss would have taken then."""

    text: str
    unsynced: frozenset[str]
    made: frozenset[str]


@dataclass
class Disk:
    """A disk that keeps only what was synced: of a file its content, of a folder its names.

    Files are named by their path within `folder`.
    """

    folder: Path
    names: set[str]
    changed: set[str] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)

    def call(self, name: str, text: str) -> None:
        """What a call does, as strace writes it, that did not fail."""
        on = self._within(found[1]) if (found := _FD.match(text)) else None
        paths = [self._within(each) for each in _PATH.findall(text)]
        if name in _CHANGES and on:
            self.changed.add(on)
        elif name in _SYNCS and on is not None:
            self.changed.discard(on)
            self.unnamed -= {each for each in self.unnamed if str(Path(each).parent) == on}
        elif name == "openat" and "O_CREAT" in text and paths and paths[0]:
            self._name(paths[0])
        elif name in _REMOVES and paths and paths[0]:
            self._forget(paths[0])
        elif name in _MOVES | _LINKS and len(paths) == 2 and all(paths):
            self._move(str(paths[0]), str(paths[1]), keeps=name in _LINKS)

    def _name(self, path: str) -> None:
        if path not in self.names:
            self.names.add(path)
            self.unnamed.add(path)
            self.made.add(path)

    def _move(self, path: str, to: str, *, keeps: bool) -> None:
        inside = [each for each in self.changed | self.unnamed if each.startswith(f"{path}/")]
        for each in inside:
            moved = to + each.removeprefix(path)
            for some in (self.changed, self.unnamed):
                if each in some:
                    some.add(moved)
        self._name(to)
        self.unnamed.add(to)
        if path in self.changed:
            self.changed.add(to)
        if not keeps:
            for each in (path, *inside):
                self._forget(each)

    def _forget(self, path: str) -> None:
        for some in (self.names, self.changed, self.unnamed):
            some.discard(path)

    def _within(self, path: str) -> str | None:
        here = str(self.folder)
        if path == here:
            return "."
        return path.removeprefix(f"{here}/") if path.startswith(f"{here}/") else None


def told(trace: str, folder: Path, names: set[str], marks: tuple[str, ...]) -> Iterator[Said]:
    """Whenever a process wrote one of the marks: the state of its disk."""
    disk = Disk(folder, set(names))
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        pid, resumed, name, text = match[1], match[2], match[3], match[4]
        if resumed:
            # It takes effect when it ends; a write might have before.
            name, text = resumed, begun.pop(pid, "") + text
        elif "<unfinished ...>" in text:
            begun[pid] = text.partition("<unfinished ...>")[0]
            if name not in _SYNCS:
                disk.call(name, begun[pid])
        if name in ("writev", "sendto", "write", "sendmsg") and not resumed and any(mark in text for mark in marks):
            yield Said(text, frozenset(disk.changed | disk.unnamed), frozenset(disk.made))
        if "<unfinished" not in text and not re.search(r"\) += -1 ", text):
            disk.call(name, text)


class Traced:
    """A running `handletime` whose calls are written to a file."""

    def __init__(self, place: Path, *arguments: object, strace: tuple[str, ...], folds: bool = True) -> None:
        self.log = place.with_name(f"{place.name}.traced.log")
        self._trace = place.with_name(f"{place.name}.trace")
        command: list[str | Path] = ["strace", "-D", "-f", "--seccomp-bpf", "-y", "-s", "400", "-o", self._trace]
        program = [HANDLETIME] if folds else [sys.executable, "-c", FOLDS_WHEN_ASKED]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *strace, *program, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=log
            )

    def address(self) -> str:
        """Where a server listens."""
        address = self.address_or_end()
        assert address is not None, self.log.read_text()
        return address

    def address_or_end(self) -> str | None:
        """The same; None where it ended before."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode().split()
        return said[-1] if said else None

    def end(self, how: signal.Signals | None = None) -> str:
        """Waits for its end, which must be a good one; gives the trace, once it is complete."""
        if how is not None:
            self.process.send_signal(how)
        self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == 0, self.log.read_text()
        return self._whole_trace()

    def kill(self) -> str:
        """Kills it; gives the trace."""
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)
        return self._whole_trace()

    def _whole_trace(self) -> str:
        deadline = time.monotonic() + LIMIT_S
        while f"{self.process.pid} +++" not in " ".join((text := self._trace.read_text()).split()):
            assert time.monotonic() < deadline, "the trace does not end"
            time.sleep(0.05)
        return text


@contextmanager
def traced(place: Path, *arguments: object, strace: tuple[str, ...], folds: bool = True) -> Iterator[Traced]:
    """Killed where the test has not seen it end. Without `folds` the journal is folded only where somebody asks."""
    process = Traced(place, *arguments, strace=strace, folds=folds)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.communicate(timeout=LIMIT_S)
