"""The file of targets: what it may say, and that each fault is told with its line and what is right.

Covers: targets/toml_lines.
"""

from __future__ import annotations

import os
import time
import tomllib
from datetime import date
from pathlib import Path

import pytest

from handletime.clock import HOUR, MINUTE, SECOND
from handletime.errors import InputError
from handletime.targets.file import TargetsFile, length_of, read_targets
from handletime.targets.toml_lines import Lines

GOOD = """\
# What we promised.
[calendars.office]
zone = "Europe/Berlin"
monday = ["09:00-12:30", "13:00-17:00"]
friday = ["22:00-30:00"]
closed = [2026-12-25, "2026-12-26"]

[calendars.office.dates]
2026-12-24 = ["09:00-12:00"]

[[targets]]
name = "sales"
accounts = ["acme"]
skills = [10, 11]
sources = ["WEB"]
user-type = "human"
since = 2026-11-01T00:00:00+01:00
calendar = "office"
first-response = "90s"
first-response-from = "queued"
response = "1h 30min"
response-first = false

[[targets]]
name = "the rest"
queue-wait = "20s"
abandoned = "missed"
short-abandon = "5s"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "targets.toml"


def faults(file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_targets(file)
    return [line.removeprefix(f"{file}: ") for line in str(error.value).split("\n")]


def test_a_file_says_targets_and_calendars(file: Path) -> None:
    file.write_text(GOOD)
    found = read_targets(file)
    sales, rest = found.targets
    office = found.calendars["office"]
    assert [target.name for target in found.targets] == ["sales", "the rest"]
    assert dict(sales.limits) == {"firstResponse": 90 * SECOND, "response": HOUR + 30 * MINUTE}
    assert (sales.accounts, sales.skills, sales.sources) == (
        frozenset({"acme"}),
        frozenset({10, 11}),
        frozenset({"web"}),
    )
    assert (sales.user_type, sales.since) == ("human", 1_793_487_600_000)
    assert (sales.first_response_from, sales.response_first, sales.calendar) == ("queued", False, office)
    assert dict(rest.limits) == {"queueWait": 20 * SECOND}
    assert (rest.abandoned, rest.short_abandon, rest.calendar.is_always) == ("missed", 5 * SECOND, True)
    assert office.week[0] == ((540, 750), (780, 1020))
    assert office.week[4] == ((1320, 1800),)
    assert office.closed == {date(2026, 12, 25), date(2026, 12, 26)}
    assert office.dates == {date(2026, 12, 24): ((540, 720),)}
    assert [target.name for target in found.of("acme").targets] == ["sales", "the rest"]
    assert [target.name for target in found.of("other").targets] == ["the rest"]


@pytest.mark.parametrize(
    ("line", "instead", "number", "told"),
    [
        ('zone = "Europe/Berlin"', 'zone = "Europe/Berlni"', 3, "no IANA time zone; did you mean Europe/Berlin?"),
        ('zone = "Europe/Berlin"', "", 2, 'the zone is missing: zone = "Europe/Berlin"'),
        ('friday = ["22:00-30:00"]', 'friday = ["22:00-06:00"]', 5, "past midnight it is written 22:00-30:00"),
        ('friday = ["22:00-30:00"]', 'friday = ["08:00-08:00"]', 5, "past midnight it is written 08:00-32:00"),
        ('friday = ["22:00-30:00"]', 'friday = ["25:00-30:00"]', 5, "must begin before 24:00"),
        ('friday = ["22:00-30:00"]', 'friday = ["22:00-48:01"]', 5, "must end by 48:00"),
        ('friday = ["22:00-30:00"]', 'friday = ["9-17"]', 5, "must be hours of a day: 09:00-17:00"),
        ('friday = ["22:00-30:00"]', 'friday = ["09:60-17:00"]', 5, "must be hours of a day"),
        ('friday = ["22:00-30:00"]', 'friday = "09:00-17:00"', 5, "must be a list of hours"),
        ('friday = ["22:00-30:00"]', 'freitag = ["09:00-17:00"]', 5, "freitag means nothing here"),
        ('"2026-12-26"', '\n# a comment\n"2026-13-26"', 8, "2026-13-26 must be a date"),
        ("2026-12-24 = ", "xmas = ", 9, "xmas must be a date: 2026-12-24"),
        ('name = "sales"', 'name = "the rest"', 25, "there is a target 'the rest' already"),
        ('name = "sales"', "", 11, "a target needs a name"),
        ("skills = [10, 11]", 'skills = [\n10,\n"x"]', 16, "skills are whole numbers: [10, 11]"),
        ("skills = [10, 11]", "skills = [9223372036854775808]", 14, "skills are whole numbers"),
        ("skills = [10, 11]", "skills = []", 14, "without it, all"),
        ("skills = [10, 11]", "skills = 10", 14, "skills must be a list of whole numbers"),
        ('user-type = "human"', 'user-type = "person"', 16, "user-type must be one of human, bot"),
        ('accounts = ["acme"]', 'accounts = ["a b"]', 13, "accounts are letters and digits"),
        ('sources = ["WEB"]', 'sources = ["W\\u0007"]', 15, "sources are texts without control characters"),
        ("since = 2026-11-01T00:00:00+01:00", "since = 2026-11-01", 17, "since must be a moment with its offset"),
        ('calendar = "office"', 'calendar = "home"', 18, "there is no calendar 'home', only always, office"),
        ('first-response = "90s"', "first-response = 90", 19, "must be a length of time"),
        ('first-response = "90s"', 'first-response = "0s"', 19, "must be a length of time"),
        ('first-response = "90s"', 'first-response = "400d"', 19, "must be a length of time"),
        ('first-response = "90s"', 'first-reponse = "90s"', 19, "did you mean first-response?"),
        ("response-first = false", 'response-first = "no"', 22, "response-first must be true or false"),
        ('queue-wait = "20s"', "", 24, "a target sets a clock"),
        ('abandoned = "missed"', 'abandoned = "never"', 27, "must be one of late, missed, met, ignored"),
        ('[[targets]]\nname = "sales"', '[targets]\nname = "sales"', 1, "is no TOML"),
        ("# What we promised.", "[holidays]", 1, "holidays means nothing here"),
        ("[calendars.office]", "[calendars.always]\n[calendars.office]", 2, "give this one another name"),
        ('abandoned = "missed"', 'abandoned = ["missed"]', 27, "must be one of late, missed, met, ignored"),
    ],
)
def test_every_fault_is_told_with_its_line_and_what_is_right(
    file: Path, line: str, instead: str, number: int, told: str
) -> None:
    assert GOOD.count(line) >= 1
    found = faults(file, GOOD.replace(line, instead, 1))
    if told == "is no TOML":
        assert told in found[0]
        return
    assert any(each.startswith(f"line {number}: ") and told in each for each in found), found


def test_all_faults_are_told_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = GOOD.replace("Berlin", "Brlin").replace('"90s"', "90").replace("[10, 11]", "10")
    assert [each.split(":")[0] for each in faults(file, text)] == ["line 3", "line 14", "line 19"]


def test_a_calendar_that_never_opens_is_a_fault(file: Path) -> None:
    found = faults(file, '[calendars.none]\nzone = "UTC"\nmonday = []\n')
    assert found == ['line 1: none is never open; give a day its hours: monday = ["09:00-17:00"]']


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe", "must be UTF-8"),
        (b"a = ", "is no TOML"),
        (b"a = " + b"[" * 5000, "it is nested too deeply"),
        (b"a = " + b"9" * 5000, "is no TOML"),
        (b"a" + b".a" * 6000 + b" = 1", "line 1: must have at most 10,000 characters"),
        (b'[calendars."a\\u001b"]\nzone = "UTC"', "line 1: a calendar's name has 1 to 64"),
        (b"targets = 3", "line 1: targets must be tables"),
        (b"calendars = 3", "line 1: calendars must be a table"),
        (b"[calendars]\nx = 3", "line 2: a calendar is a table"),
    ],
)
def test_what_is_no_such_file_is_told(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_targets(file)


def test_an_empty_file_has_no_targets(file: Path) -> None:
    file.write_text("")
    assert read_targets(file).targets == ()
    assert not read_targets(file).of("acme")


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("60s", 60_000),
        ("5min", 300_000),
        ("1h 30min", 5_400_000),
        ("250ms", 250),
        ("2d", 172_800_000),
        ("5 min", 300_000),
    ],
)
def test_lengths_have_units(text: str, millis: int) -> None:
    assert length_of(text) == millis


@pytest.mark.parametrize("text", ["", "60", "s", "5m", "-5s", "1.5h", "5s later", "5\u0662s"])
def test_what_is_no_length_is_none(text: str) -> None:
    assert length_of(text) is None


def test_the_file_is_read_again_when_it_changes_and_stays_where_it_is_wrong(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handletime.files.LOOK_EVERY_S", 0.0)
    file.write_text(GOOD)
    targets = TargetsFile(file)
    first = targets.of("acme")
    assert len(first.targets) == 2
    file.write_text(GOOD.replace("20s", "twenty"))
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 1))
    assert targets.of("acme").state == first.state
    file.write_text(GOOD.replace("20s", "30s"))
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 2))
    assert targets.of("acme").state != first.state
    assert targets.of("acme").targets[1].limits == {"queueWait": 30 * SECOND}


def test_a_file_that_could_not_be_read_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Copied in with another owner, then `chmod`: time, size and inode stay as they were."""
    monkeypatch.setattr("handletime.files.LOOK_EVERY_S", 0.0)
    file.write_text(GOOD)
    targets = TargetsFile(file)
    file.write_text(GOOD.replace("the rest", "all others"))

    def refused(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("handletime.targets.file.read_regular", refused)
        for _ in range(3):
            assert targets.of(None).targets[1].name == "the rest"
    assert len([record for record in caplog.records if "Permission denied" in record.message]) == 1
    assert targets.of(None).targets[1].name == "all others"


def test_without_a_file_nobody_has_targets() -> None:
    assert not TargetsFile().of("acme")


def test_lines_of_whatever_toml_allows() -> None:
    text = '''\
a.b = { c = 1, "d e" = 2 }

["x y".z]
k = """
many
lines"""
l = [ # comment [
  1,
  [2, 3],
]
[[n]]
[[n.m]]
o = 1
[[n.m]]
o = 2
[[n]]
q = 3
'''
    tomllib.loads(text)
    lines = Lines(text)
    assert [lines.of(path) for path in (("a", "b", "c"), ("a", "b", "d e"), ("x y", "z", "k"), ("x y", "z", "l"))] == [
        1,
        1,
        4,
        7,
    ]
    assert lines.of_item(("x y", "z", "l"), "[2, 3]") == 9
    assert [lines.of(("n", 0, "m", place, "o")) for place in (0, 1)] == [13, 15]
    assert lines.of(("n", 1, "q")) == 17
    assert lines.of(("n", 1, "nothing")) == 16
