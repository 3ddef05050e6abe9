"""The commands of the upkeep: what each is told, what it does, what it says. One implementation, whoever calls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from handletime.admin.house import House
from handletime.errors import HandletimeError, StoreError
from handletime.store.backups import Manifest, NewBackup
from handletime.store.exporting import Exported, Range, export
from handletime.store.opening import FILE
from handletime.store.sealing import open_secret
from handletime.store.sealing import problems as key_problems
from handletime.store.upkeep import Rebuilt
from handletime.store.watch import Watch

WAIT_S: Final = 0.2


class Rebuild(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Derive everything anew in so many bytes, compare, and put right what differs, but not in a dry run."""

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
    """Write events and derived tables to a new folder (its absolute path); of one account or of a range, if given."""

    out: str
    account: str | None = None
    start: int | None = None
    end: int | None = None


Command = Rebuild | Check | Prune | Forget | Backup | Export


class Checked(msgspec.Struct, frozen=True):
    """What is wrong, in plain words; nothing is where it is empty."""

    problems: list[str]


class Removed(msgspec.Struct, frozen=True):
    """How many conversations were removed, or would be."""

    conversations: int


Result = Rebuilt | Checked | Removed | Manifest | Exported


def perform(house: House, command: Command, watch: Watch) -> Result:
    """Does it. Raises Stopped where `watch` was told to stop, InputError, NotNow, StoreError, OSError."""
    if isinstance(command, Forget):
        return _forget(house, command)
    while not house.long_one.acquire(timeout=WAIT_S):
        watch.told("waiting for another command", 0, 0)
    try:
        match command:
            case Rebuild():
                return house.store.rebuild(mend=not command.dry_run, memory=command.memory, watch=watch)
            case Check():
                return _check(house, watch)
            case Prune():
                return _prune(house, command, watch)
            case Backup():
                return _back_up(house, command, watch)
            case Export():
                asked = Range(command.account, command.start, command.end)
                with house.store.snapshot(watch) as cursor:
                    return export(cursor, Path(command.out), house.folder, asked, watch.told)
    finally:
        house.long_one.release()


def _forget(house: House, command: Forget) -> Removed:
    return Removed(int(house.store.forget(command.account, command.conversation, removing=house.removing)))


def _prune(house: House, command: Prune, watch: Watch) -> Removed:
    watch.told("looking for old conversations", 0, 0)
    if command.dry_run:
        return Removed(house.store.count_older(command.before, watch))
    return Removed(house.store.prune(command.before, removing=house.removing, watch=watch))


def _back_up(house: House, command: Backup, watch: Watch) -> Manifest:
    with NewBackup(Path(command.target), house.folder) as new:
        watch.told("copying the keys", 0, 2)
        secret_key = new.add_side_file(house.side, secret_key=command.secret_key)
        watch.told("copying the store", 1, 2)
        commit = house.store.copy(new.folder / FILE, watch)
        watch.told("finishing", 2, 2)
        return new.publish(commit, datetime.now(UTC), secret_key)


def _check(house: House, watch: Watch) -> Checked:
    problems = _check_beside(house, watch)
    try:
        problems += house.store.check(watch)
    except StoreError as error:
        problems.append(str(error))
    return Checked(problems)


def _check_beside(house: House, watch: Watch) -> list[str]:
    """What is wrong with the files beside the store."""
    watch.told("checking the files beside it", 0, 0)
    problems = house.side.problems()
    if house.side.has_sealed():
        try:
            problems += key_problems(house.side, open_secret(house.side))
        except HandletimeError as error:
            problems.append(str(error))
    acknowledged = house.side.last_commit()
    with house.store.snapshot(watch) as cursor:
        ((reached,),) = cursor.execute("select commit_number from kept.meta").fetchall()
    if reached < acknowledged:
        problems.append(f"the store has commit {reached}, but {acknowledged} was acknowledged")
    problems += house.shelf.problems()
    for account in house.shelf.accounts():
        with house.shelf.making(account):
            for path, conversations in house.shelf.named(account):
                watch.told("checking made files", 0, 0)
                if not house.store.reader(account).holds_all(conversations):
                    problems.append(f"the made file {path} names a conversation that was removed")
    return problems
