"""The file of targets and calendars: TOML, read again when it changes (rules.md 5; docs/targets.md).

A file with a fault is refused whole, and all its faults are told, each with its line and what is right.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from handletime.clock import DAY, HOUR, MINUTE, SECOND, zone_like, zone_named
from handletime.errors import InputError
from handletime.events.book import is_account
from handletime.events.model import EPOCH, INTEGER_MAX, INTEGER_MIN, USER_TYPES
from handletime.files import Watched, read_regular
from handletime.targets import toml_lines
from handletime.targets.hours import ALWAYS, END_MAX, Calendar, Minutes
from handletime.targets.targets import ABANDONED, FROMS, AccountTargets, Clock, Target, Targets, without_case
from handletime.targets.toml_lines import Lines

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FILE_MAX: Final = 1 << 20
LINE_MAX: Final = 10_000
TARGETS_MAX: Final = 200
LIMIT_MAX: Final = 366 * DAY
FAULTS_MAX: Final = 20
NAME_MAX: Final = 64
_UNITS: Final = {"ms": 1, "s": SECOND, "min": MINUTE, "h": HOUR, "d": DAY}
_LENGTH: Final = re.compile(r"(?:[0-9]+ ?(?:ms|s|min|h|d) ?)+")
_PART: Final = re.compile(r"([0-9]+) ?(ms|s|min|h|d)")
_SPAN: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_CLOCK_KEYS: Final[dict[str, Clock]] = {
    "first-response": "firstResponse",
    "response": "response",
    "queue-wait": "queueWait",
}
"""The keys of a target that set a clock."""
_CONDITIONS: Final = ("name", "accounts", "skills", "sources", "user-type", "since")
_MEANS: Final = ("calendar", "first-response-from", "response-first", "short-abandon", "abandoned")
_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class TargetsFile:
    """The targets of one file, or none. Any thread may use it. Raises InputError where the file is wrong; OSError."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else Watched(path, read_targets, "the targets", _log)

    def of(self, account: str | None) -> AccountTargets:
        """The targets of an account, or of all accounts, in their order."""
        return (_NONE if self._file is None else self._file.now()).of(account)


_NONE: Final = Targets()


def read_targets(path: Path) -> Targets:
    """The targets of a file. Raises InputError with all its faults, each with its line and what is right; OSError."""
    content = read_regular(path, FILE_MAX)
    try:
        text = content.decode("utf-8-sig")
        _check_lines(path, text)
        given = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8") from error
    except RecursionError as error:
        raise InputError(f"{path}: is no TOML that is wanted here: it is nested too deeply") from error
    except ValueError as error:  # A number of too many digits, too.
        raise InputError(f"{path}: is no TOML: {error}") from error
    reading = _Reading(given)
    targets = reading.targets()
    if reading.faults:
        lines = Lines(text)
        told = sorted((fault.line(lines), fault.message) for fault in reading.faults)
        more = [f"{path}: and {len(told) - FAULTS_MAX} more"] if len(told) > FAULTS_MAX else []
        raise InputError("\n".join([*(f"{path}: line {at}: {what}" for at, what in told[:FAULTS_MAX]), *more]))
    return Targets(targets, reading.calendars, hashlib.sha256(content).hexdigest()[:16])


def _check_lines(path: Path, text: str) -> None:
    """Raises InputError for a line that is longer than any that is wanted: some take the parser minutes."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_MAX:
            raise InputError(
                f"{path}: line {number}: must have at most {LINE_MAX:,} characters; a list may have several lines"
            )


class _Fault:
    """What is wrong with a value, or with an item of it that is written so."""

    def __init__(self, path: toml_lines.Path, message: str, item: object = None) -> None:
        self.path, self.message, self.item = path, message, item

    def line(self, lines: Lines) -> int:
        """On which line it stands."""
        return lines.of(self.path) if self.item is None else lines.of_item(self.path, str(self.item))


class _Reading:
    """What a file says, and its faults."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given, self.faults = given, list[_Fault]()
        self.calendars: dict[str, Calendar] = {ALWAYS.name: ALWAYS}

    def targets(self) -> tuple[Target, ...]:
        """All targets in their order; the calendars too."""
        self._known_keys(self._given, (), ("calendars", "targets"))
        for name, table in self._table(self._given, (), "calendars").items():
            self._calendar(name, table)
        listed = self._given.get("targets", [])
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            self._fault(("targets",), "targets must be tables, each begun with [[targets]]")
            return ()
        if len(listed) > TARGETS_MAX:
            self._fault(("targets", TARGETS_MAX), f"there may be at most {TARGETS_MAX} targets")
        found, names = [], set[str]()
        for place, table in enumerate(listed[:TARGETS_MAX]):
            target = self._target(table, ("targets", place))
            if target.name in names:
                self._fault(
                    ("targets", place, "name"), f"there is a target {target.name!r} already; give it another name"
                )
            names.add(target.name)
            found.append(target)
        return tuple(found)

    def _calendar(self, name: str, table: object) -> None:
        path: toml_lines.Path = ("calendars", name)
        if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
            self._fault(path, f"a calendar's name has 1 to {NAME_MAX} letters, digits, spaces, dots, - and _")
            return
        if not isinstance(table, dict):
            self._fault(path, f"a calendar is a table, begun with [calendars.{name}]")
            return
        if name == ALWAYS.name:
            self._fault(path, "always is the calendar that never closes; give this one another name")
        self._known_keys(table, path, ("zone", *DAYS, "closed", "dates"))
        zone = self._zone(table, path)
        week = tuple(self._spans(table.get(day, []), (*path, day)) for day in DAYS)
        closed = frozenset(self._dates(table.get("closed", []), (*path, "closed")))
        own = {}
        for key, spans in self._table(table, path, "dates").items():
            day = _date(key)
            if day is None:
                self._fault((*path, "dates", key), f"{key} must be a date: 2026-12-24")
            else:
                own[day] = self._spans(spans, (*path, "dates", key))
        if not any(week) and not any(own.values()):
            self._fault(path, f'{name} is never open; give a day its hours: monday = ["09:00-17:00"]')
        self.calendars[name] = Calendar(name, zone, week, closed, own)

    def _zone(self, table: Mapping[str, Any], path: toml_lines.Path) -> ZoneInfo:
        given = table.get("zone")
        if given is None:
            self._fault(path, 'the zone is missing: zone = "Europe/Berlin"')
        elif (zone := zone_named(str(given))) is not None:
            return zone
        else:
            like = zone_like(str(given))
            right = f"; did you mean {like}?" if like else ": Europe/Berlin, America/Santiago"
            self._fault((*path, "zone"), f"{given!r} is no IANA time zone{right}")
        return ZoneInfo("UTC")

    def _spans(self, given: object, path: toml_lines.Path) -> tuple[Minutes, ...]:
        if not isinstance(given, list):
            self._fault(path, f'{path[-1]} must be a list of hours: ["09:00-12:30", "13:00-17:00"], or [] for closed')
            return ()
        return tuple(filter(None, (self._span(each, path) for each in given)))

    def _span(self, given: object, path: toml_lines.Path) -> Minutes | None:
        match = _SPAN.fullmatch(given.strip()) if isinstance(given, str) else None
        if match is None or int(match[2]) > 59 or int(match[4]) > 59:
            self._fault(path, f"{given!r} must be hours of a day: 09:00-17:00", given)
            return None
        begin, end = (int(match[place]) * 60 + int(match[place + 1]) for place in (1, 3))
        if begin >= 24 * 60:
            self._fault(path, f"{given} must begin before 24:00; what begins later belongs to the next day", given)
        elif end > END_MAX:
            self._fault(path, f"{given} must end by 48:00", given)
        elif begin >= end:
            after = f"{_clock(begin)}-{_clock(end + 24 * 60)}"
            self._fault(path, f"{given} ends before it begins; past midnight it is written {after}", given)
        else:
            return begin, end
        return None

    def _dates(self, given: object, path: toml_lines.Path) -> Iterable[date]:
        if not isinstance(given, list):
            self._fault(path, f"{path[-1]} must be a list of dates: [2026-12-25, 2027-01-01]")
            return []
        found = []
        for each in given:
            day = _date(each)
            if day is None:
                self._fault(path, f"{each} must be a date: 2026-12-25", each)
            else:
                found.append(day)
        return found

    def _target(self, table: Mapping[str, Any], path: toml_lines.Path) -> Target:
        self._known_keys(
            table,
            path,
            (*_CONDITIONS, *_CLOCK_KEYS, *_MEANS),
        )
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_MAX:
            right = f"1 to {NAME_MAX} letters, digits, spaces, dots, - and _"
            self._fault((*path, "name"), f'a target needs a name of {right}: name = "chat"')
        limits = {
            clock: limit for key, clock in _CLOCK_KEYS.items() if (limit := self._length(table, path, key)) is not None
        }
        if not any(key in table for key in _CLOCK_KEYS):
            self._fault(path, f'a target sets a clock: {", ".join(_CLOCK_KEYS)}; first-response = "60s"')
        accounts = self._listed(table, path, "accounts", _account)
        return Target(
            name=str(name),
            limits=limits,
            calendar=self._calendar_named(table, path),
            accounts=accounts,
            skills=self._listed(table, path, "skills", _identity),
            sources=self._listed(table, path, "sources", _source),
            user_type=self._choice(table, path, "user-type", USER_TYPES, None),
            since=self._since(table, path),
            first_response_from=self._choice(table, path, "first-response-from", FROMS, None) or "assigned",
            response_first=self._yes_no(table, path, "response-first"),
            short_abandon=self._length(table, path, "short-abandon"),
            abandoned=self._choice(table, path, "abandoned", ABANDONED, None) or "late",
        )

    def _calendar_named(self, table: Mapping[str, Any], path: toml_lines.Path) -> Calendar:
        name = table.get("calendar", ALWAYS.name)
        if not isinstance(name, str) or name not in self.calendars:
            known = ", ".join(self.calendars)
            self._fault((*path, "calendar"), f"there is no calendar {name!r}, only {known}")
            return ALWAYS
        return self.calendars[name]

    def _length(self, table: Mapping[str, Any], path: toml_lines.Path, key: str) -> int | None:
        """A length of time in milliseconds."""
        given = table.get(key)
        if given is None:
            return None
        found = length_of(given) if isinstance(given, str) else None
        if found is None or not 0 < found <= LIMIT_MAX:
            self._fault(
                (*path, key), f'{key} must be a length of time from 1 ms to 366 d, with its unit: "60s", "5min", "1h"'
            )
            return None
        return found

    def _listed(
        self, table: Mapping[str, Any], path: toml_lines.Path, key: str, read: Callable[[object], _T | None]
    ) -> frozenset[_T] | None:
        given = table.get(key)
        if given is None:
            return None
        right = {
            "skills": "whole numbers: [10, 11]",
            "accounts": 'letters and digits: ["acme"]',
            "sources": 'texts without control characters: ["WEB", "APP"]',
        }[key]
        if not isinstance(given, list) or not given:
            self._fault((*path, key), f"{key} must be a list of {right}; without it, all")
            return None
        found = []
        for each in given:
            value = read(each)
            if value is None:
                self._fault((*path, key), f"{each!r} does not belong here: {key} are {right}", each)
            else:
                found.append(value)
        return frozenset(found)

    def _choice(
        self, table: Mapping[str, Any], path: toml_lines.Path, key: str, allowed: tuple[_T, ...], default: _T | None
    ) -> _T | None:
        given = table.get(key)
        if given is None:
            return default
        found = next((each for each in allowed if each == given), None)
        if found is None:
            self._fault((*path, key), f"{key} must be one of {', '.join(map(str, allowed))}")
        return found

    def _yes_no(self, table: Mapping[str, Any], path: toml_lines.Path, key: str) -> bool:
        given = table.get(key, True)
        if not isinstance(given, bool):
            self._fault((*path, key), f"{key} must be true or false")
        return given is not False

    def _since(self, table: Mapping[str, Any], path: toml_lines.Path) -> int | None:
        given = table.get("since")
        if given is None:
            return None
        if not isinstance(given, datetime) or given.tzinfo is None:
            self._fault((*path, "since"), "since must be a moment with its offset: 2026-11-01T00:00:00+01:00")
            return None
        return int((given - EPOCH).total_seconds() * 1000)

    def _table(self, within: Mapping[str, Any], path: toml_lines.Path, key: str) -> Mapping[str, Any]:
        given = within.get(key, {})
        if isinstance(given, dict):
            return given
        self._fault((*path, key), f"{key} must be a table")
        return {}

    def _known_keys(self, table: Mapping[str, Any], path: toml_lines.Path, known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                near = _nearest(key, known)
                self._fault((*path, key), f"{key} means nothing here{near or ': there is ' + ', '.join(known)}")

    def _fault(self, path: toml_lines.Path, message: str, item: object = None) -> None:
        self.faults.append(_Fault(path, message, item))


def length_of(text: str) -> int | None:
    """A length of time such as `60s`, `5min` or `1h 30min`, in milliseconds; None where it is none."""
    if not _LENGTH.fullmatch(text.strip()):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _date(given: object) -> date | None:
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    try:
        return date.fromisoformat(given) if isinstance(given, str) and len(given) == len("2026-12-25") else None
    except ValueError:
        return None


def _account(given: object) -> str | None:
    return given if isinstance(given, str) and is_account(given) else None


def _source(given: object) -> str | None:
    return without_case(given) if isinstance(given, str) and given.isprintable() else None


def _identity(given: object) -> int | None:
    is_one = isinstance(given, int) and not isinstance(given, bool) and INTEGER_MIN <= given <= INTEGER_MAX
    return given if is_one and isinstance(given, int) else None


def _nearest(given: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(given, list(known), 1, 0.75)
    return f"; did you mean {found[0]}?" if found else ""
