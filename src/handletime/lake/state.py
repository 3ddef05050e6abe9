"""The files of one run: those that the Delta logs name at the run's versions, by table and account."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from handletime.errors import StoreError
from handletime.events.book import is_account
from handletime.lake.tables import File, Run, files, lacking, partition_path

UNITS: Final = "handle_time_units"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\.parquet")
Files = Mapping[str, Sequence[File]]
"""The files of an account by table."""


class State(NamedTuple):
    """A run and its files: by table, then by account. A run of an earlier version may lack a table, or columns of one
    (`lacking`).
    """

    run: Run
    files: Mapping[str, Mapping[str, Sequence[File]]]
    lacking: Mapping[str, frozenset[str]]

    def of(self, account: str) -> Files:
        """The files of an account, and nobody else's."""
        return {table: by_account.get(account, ()) for table, by_account in self.files.items()}

    def written(self, account: str, day: date) -> int | None:
        """When the units of an account's day were last written: the end of a run, in epoch milliseconds.

        None where there are none. It is the same for every run that left the day as it was.
        """
        found = self.files[UNITS].get(account, ())
        return max((file.modified for file in found if file.day == day), default=None)


def state_of(lake: Path, run: Run, before: State | None = None) -> State:
    """The files of a run. Versions that `before` has too are not read again.

    Raises InputError where a version is not there any more, StoreError where a file lies where it should not.
    """
    found, lacks = {}, {}
    for table, version in run.versions.items():
        if before is not None and before.run.versions.get(table) == version:
            found[table], lacks[table] = before.files[table], before.lacking[table]
        else:
            found[table] = _by_account(lake / table, files(lake, table, version))
            lacks[table] = lacking(lake, table, version)
    return State(run, found, lacks)


def _by_account(folder: Path, all_files: Iterable[File]) -> Mapping[str, Sequence[File]]:
    """Files by account. A reader of an account is given no others, so each has to lie in its account's folder."""
    found: dict[str, list[File]] = {}
    for file in all_files:
        place, _, name = file.path.rpartition("/")
        if not is_account(file.account) or place != partition_path(file.account, file.day) or not _NAME.fullmatch(name):
            raise StoreError(f"{folder}: the log names {file.path!r} for account {file.account!r}, day {file.day}")
        found.setdefault(file.account, []).append(file)
    return found
