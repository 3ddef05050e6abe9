"""The upkeep's commands: parameters, work and result of each. The server and the command line run the same code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final

import msgspec

from handletime.deliveries.file import FILE as DELIVERIES
from handletime.deliveries.file import Deliveries
from handletime.errors import HandletimeError, StoreError
from handletime.keys.sealing import open_secret
from handletime.keys.sealing import problems as key_problems
from handletime.store.watch import Watch
from handletime.upkeep.backups import Manifest, back_up
from handletime.upkeep.check import check
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.deriving import bring_up_to_date
from handletime.upkeep.exports import Exported, Range, export, export_again
from handletime.upkeep.rebuild import Rebuilt, rebuild
from handletime.upkeep.removing import count_older, forget, prune

WAIT_S: Final = 0.2
TICK_S: Final = 0.1
"""Seconds between two looks at whether a command is done, or has to stop."""


class Rebuild(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Derive everything anew, within `memory` bytes; compare, and put right what differs unless in a dry run."""

    memory: int | None = None
    dry_run: bool = False


class Check(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Verify all that can be verified."""


class Prune(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Remove conversations whose last event is older (epoch milliseconds); only count them in a dry run."""

    before: int
    dry_run: bool = False


class Forget(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Remove one conversation."""

    account: str
    conversation: str


class Backup(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Copy everything to a new folder (its absolute path)."""

    target: str
    secret_key: bool = True


class Export(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Write events and derived tables to a new folder (its absolute path); of one account or of a range, if given.

    With `since_last` the folder may have the last such export: only what has changed is written.
    """

    out: str
    account: str | None = None
    start: int | None = None
    end: int | None = None
    since_last: bool = False


Command = Rebuild | Check | Prune | Forget | Backup | Export


class Checked(msgspec.Struct, frozen=True):
    """What is wrong, in plain words; empty where nothing is."""

    problems: list[str]


class Removed(msgspec.Struct, frozen=True):
    """The number of conversations that were removed, or would be."""

    conversations: int


Result = Rebuilt | Checked | Removed | Manifest | Exported


def perform_beside(
    data: DataFolder, command: Command, watch: Watch, is_unwanted: Callable[[], bool] = lambda: False
) -> Result:
    """Runs a command in a thread of its own, and stops it as soon as it is unwanted, or this thread is interrupted.

    Raises what `perform` raises.
    """
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(perform(data, command, watch))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="admin-work", daemon=True).start()
    try:
        while not wait([done], TICK_S).done:
            if is_unwanted():
                watch.stop()
    finally:
        while not wait([done], TICK_S).done:
            watch.stop()
    return done.result()


def perform(data: DataFolder, command: Command, watch: Watch) -> Result:
    """Runs a command. Raises Stopped where `watch` was stopped, InputError, NotNow, StoreError, OSError."""
    if isinstance(command, Forget):
        return _forget(data, command)
    while not data.long_one.acquire(timeout=WAIT_S):
        watch.progress("waiting for another command", 0, 0)
    try:
        match command:
            case Rebuild():
                return rebuild(data.store, mend=not command.dry_run, memory=command.memory, watch=watch)
            case Check():
                return _check(data, watch)
            case Prune():
                return _prune(data, command, watch)
            case Backup():
                target = Path(command.target)
                return back_up(data.store, data.side, target, secret_key=command.secret_key, watch=watch)
            case Export():
                asked = Range(command.account, command.start, command.end)
                write = export_again if command.since_last else export
                bring_up_to_date(data.store, watch)
                with data.store.snapshot(watch) as cursor:
                    return write(cursor, Path(command.out), data.side, asked, watch.progress)
    finally:
        data.long_one.release()


def _forget(data: DataFolder, command: Forget) -> Removed:
    return Removed(int(forget(data.store, command.account, command.conversation, removing=data.removing)))


def _prune(data: DataFolder, command: Prune, watch: Watch) -> Removed:
    watch.progress("looking for old conversations", 0, 0)
    if command.dry_run:
        return Removed(count_older(data.store, command.before, watch))
    return Removed(prune(data.store, command.before, removing=data.removing, watch=watch))


def _check(data: DataFolder, watch: Watch) -> Checked:
    problems = _check_beside(data, watch)
    try:
        problems += check(data.store, watch)
    except StoreError as error:
        problems.append(str(error))
    return Checked(problems)


def _check_beside(data: DataFolder, watch: Watch) -> list[str]:
    """What is wrong with the files beside the store."""
    watch.progress("checking the files beside it", 0, 0)
    problems = data.side.problems()
    if data.side.has_sealed():
        try:
            problems += key_problems(data.side, open_secret(data.side))
        except HandletimeError as error:
            problems.append(str(error))
    acknowledged = data.side.last_commit()
    with data.store.snapshot(watch) as cursor:
        ((reached,),) = cursor.execute("select commit_number from kept.meta").fetchall()
    if reached < acknowledged:
        problems.append(f"the store has commit {reached}, but {acknowledged} was acknowledged")
    problems += data.store.journal.problems()
    if (data.folder / DELIVERIES).exists():
        with Deliveries(data.folder) as deliveries:
            problems += deliveries.problems()
    problems += data.shelf.problems()
    for account in data.shelf.accounts():
        with data.shelf.making(account):
            for path, conversations in data.shelf.named(account):
                watch.progress("checking made files", 0, 0)
                if not data.store.reader(account).holds_all(conversations):
                    problems.append(f"the made file {path} names a conversation that was removed")
    return problems
