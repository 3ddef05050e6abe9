"""Damaged files: the server refuses to start and says why, or answers as before, or says that it cannot.

Never a wrong number. Each file of a store is flipped in places, cut, and removed; of a store that was killed, so that
part of it is in the write-ahead logs. The made files and the sessions can be made again: whatever became of them, the
server starts.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from handletime.clock import SystemClock
from handletime.errors import HandletimeError
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Forget, Removed
from handletime.web.page import COOKIE
from handletime.web.sessions import SESSIONS, Sessions
from tests.crash.client import ACCOUNT, Batch, Client, Record, prepared, resend
from tests.crash.nursery import Nursery
from tests.crash.test_kill import QUIET, a_key, listening
from tests.messy_streams import BASE

JOURNAL = ("journal.sqlite", "journal.sqlite-wal")
FILES = ("store.duckdb", "store.duckdb.wal", *JOURNAL, "side.sqlite", "side.sqlite-wal", "secret.key")
BESIDE = ("shelf.sqlite", "shelf.sqlite-wal", "sessions.sqlite", "sessions.sqlite-wal")
DAMAGES = ("flip", "cut", "remove")
IN_SHORT = {
    **{"store.duckdb": ("flip", "cut"), "store.duckdb.wal": ("cut",), "side.sqlite": ("flip",)},
    **{"journal.sqlite": ("flip",), "journal.sqlite-wal": ("flip", "cut", "remove")},
    **{"side.sqlite-wal": ("remove",), "secret.key": ("flip",), "shelf.sqlite": ("cut",), "sessions.sqlite": ("flip",)},
}
CASES = [
    pytest.param(name, damage, marks=() if damage in IN_SHORT.get(name, ()) else pytest.mark.long)
    for name in (*FILES, *BESIDE)
    for damage in DAMAGES
]
"""Every damage of every file; one or two of each important one without `make test-long`."""
WHEN_ASKED = {"handletime.store.backlog.FOLD_S": 1e6}
"""What is in the journal is folded only where somebody asks."""
TO = BASE + 86_400_000
OVERVIEW = (
    f"/operations/api/account/{ACCOUNT}/msgagentsegments?v=1&timeframe=44640&to={TO}&skillIds=all",
    f"/operations/api/account/{ACCOUNT}/msgskillsegments?v=1&timeframe=44640&to={TO}&interval=week",
)
LISTING = f"/api/account/{ACCOUNT}/agent-segments/breakdown?source=test"
FETCH = f"/api/account/{ACCOUNT}/agent-segments/files?source=test&path="
ZONES = ("Asia/Kolkata", "America/Halifax")
Answers = dict[str, tuple[int, str]]


@dataclass
class Whole:
    """A store of a server that was killed, what is in it, and what it answers."""

    folder: Path
    record: Record
    token: str
    answers: Answers
    files: Answers
    cookies: list[str]
    pages: Answers


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole") / "store"
    record, token = prepared(7, 450), a_key(folder)
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    half = len(record.batches) // 2
    fill(record.batches[:half], url, token)
    listed(url, token)
    cookies = [signed_in(folder, token, ZONES[0])]
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0", constants=WHEN_ASKED)
    url = listening(server)
    fill(record.batches[half:-8], url, token)
    with pytest.raises(HandletimeError, match="no conversation"):
        forget_nothing(folder)
    fill(record.batches[-8:-4], url, token)
    listed(url, token)
    cookies.append(signed_in(folder, token, ZONES[1]))
    pages_of(url, cookies, record)
    # These stand in the journal alone.
    fill(record.batches[-4:], url, token)
    server.kill()
    server.wait()
    killed = folder.with_name("killed")
    shutil.copytree(folder, killed, ignore=shutil.ignore_patterns("*.sock"))
    assert all((killed / name).stat().st_size for name in (*FILES, *BESIDE))
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    files = fetched(url, token, listed(url, token))
    answers, pages = answers_of(url, token, record), pages_of(url, cookies, record)
    assert {status for status, _ in (*answers.values(), *files.values(), *pages.values())} == {200}
    assert len({text for _, text in pages.values()}) == len(pages)
    server.kill()
    server.wait()
    return Whole(killed, record, token, answers, files, cookies, pages)


def fill(batches: Sequence[Batch], url: str, token: str, new: int | None = None) -> None:
    """Sends batches, of whose events so many are new (default: all)."""
    client = Client(url, token)
    for batch in batches:
        assert resend(client, [batch])[0] == (len(batch.events) if new is None else new)
        batch.acknowledged = True
    client.close()


def signed_in(folder: Path, token: str, zone: str) -> str:
    """The cookie of a browser that is signed in."""
    with Sessions(folder / SESSIONS) as sessions:
        return sessions.begin(token, zone, SystemClock().now())


def forget_nothing(folder: Path) -> None:
    """Has the write-ahead log worked into the file."""
    if not ask(folder, Forget(ACCOUNT, "nothing of this name"), Removed, QUIET).conversations:
        raise HandletimeError("no conversation")


def answers_of(url: str, token: str, record: Record) -> Answers:
    """What every conversation and the overviews say."""
    names = sorted({str(event["conversationId"]) for batch in record.batches for event in batch.events})
    paths = [*OVERVIEW, *(f"/api/account/{ACCOUNT}/conversations/{quote(name, safe='')}/explain" for name in names)]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        found = {path: client.get(path) for path in paths}
    return {path: (answer.status_code, answer.text) for path, answer in found.items()}


def listed(url: str, token: str) -> list[str]:
    """The paths of all made files, which are made now if need be."""
    answer = httpx.get(f"{url}{LISTING}&from={BASE}&to={TO}", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [str(path) for path in answer.json()["files"]]


def fetched(url: str, token: str, paths: Iterable[str]) -> Answers:
    """Made files, as JSON."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        found = {path: client.get(f"{FETCH}{quote(path, safe='')}") for path in paths}
    return {path: (answer.status_code, answer.text) for path, answer in found.items()}


def units_of(files: Answers) -> list[str]:
    """The units of all files, whenever these were made."""
    units = [unit for _, text in files.values() for unit in json.loads(text)]
    return sorted(json.dumps(unit | {"insertTimestamp": 0}) for unit in units)


FORM_TOKEN: Final = re.compile('name="form_token" value="[^"]*"')


def pages_of(url: str, cookies: list[str], record: Record) -> Answers:
    """A page of each browser, with times of its zone."""
    # A list of what has ended: the picture of what still runs goes up to now.
    times = [str(event["time"]) for batch in record.batches for event in batch.events]
    path = f"/segments?from={quote(min(times))}&to={quote(max(times))}&userType=all"
    with httpx.Client(base_url=url, timeout=60) as client:
        found = {each: client.get(path, headers={"Cookie": f"{COOKIE}={each}"}) for each in cookies}
    # What forms carry is another one each time, and each server has an address of its own.
    return {
        cookie: (answer.status_code, FORM_TOKEN.sub("", answer.text).replace(url.rstrip("/"), ""))
        for cookie, answer in found.items()
    }


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_file_is_told_or_does_no_harm(
    name: str, damage: str, whole: Whole, nursery: Nursery, tmp_path: Path, seed: int
) -> None:
    judge(name, damage, whole, nursery, tmp_path / "store", random.Random(seed))


@pytest.mark.long
@pytest.mark.parametrize("name", [*FILES, *BESIDE])
def test_360_damages_are_told_or_do_no_harm(
    name: str, whole: Whole, nursery: Nursery, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    for number in range(40):
        judge(name, dice.choice(("flip", "flip", "cut")), whole, nursery, tmp_path / f"store{number}", dice)


def judge(name: str, damage: str, whole: Whole, nursery: Nursery, folder: Path, dice: random.Random) -> None:
    """Damages a file of a copy, starts a server on it, and looks at what it says."""
    shutil.copytree(whole.folder, folder, ignore=shutil.ignore_patterns("*.sock"))
    what = spoil(folder / name, damage, dice)
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = server.address()
    said = server.log.read_text()
    if url is None:
        assert name not in BESIDE, (what, said)
        assert server.wait() == 1, (what, said)
        assert "Traceback" not in said, (what, said)
        reason = said.strip().splitlines()[-1]
        assert str(folder) in reason, (what, reason)
        return
    answers = answers_of(url, whole.token, whole.record)
    # Whoever keeps the keys may know them no more. Refusals are no numbers.
    wrong = {
        path: answer
        for path, answer in answers.items()
        if answer != whole.answers[path]
        and not (answer[0] in (401, 403) and name.startswith("side"))
        and answer[0] < 500
    }
    assert not wrong, (what, wrong)
    if name in BESIDE:
        assert answers == whole.answers, what
        is_made_again(url, what, whole)
        assert "Traceback" not in server.log.read_text(), (what, server.log.read_text())
    if answers == whole.answers:
        stays_right(url, what, whole)
    elif name != "side.sqlite-wal":
        # Of a key that is only in the log, nothing is left where the log is damaged.
        with pytest.raises((AssertionError, HandletimeError)):
            assert ask(folder, Check(), Checked, QUIET).problems == []
    server.kill()
    server.wait()


def is_made_again(url: str, what: str, whole: Whole) -> None:
    """A made file is as it was or gone, and what is listed now has the same units; a browser is signed in, or not."""
    for path, answer in fetched(url, whole.token, whole.files).items():
        assert answer == whole.files[path] or answer[0] == 404, (what, path, answer)
    now = fetched(url, whole.token, listed(url, whole.token))
    assert {status for status, _ in now.values()} == {200}, (what, now)
    assert units_of(now) == units_of(whole.files), what
    for cookie, answer in pages_of(url, whole.cookies, whole.record).items():
        assert answer == whole.pages[cookie] or answer[0] == 401, (what, answer)


def stays_right(url: str, what: str, whole: Whole) -> None:
    """What is sent again was there before; or it is refused."""
    client = Client(url, whole.token)
    count = sum(len(batch.events) for batch in whole.record.batches)
    status, answer = client.post(b"".join(batch.body for batch in whole.record.batches))
    client.close()
    assert status in (500, 503) or (status, answer) == (200, {"accepted": 0, "duplicates": count}), (what, answer)


def spoil(path: Path, damage: str, dice: random.Random) -> str:
    """Damages a file; says how."""
    content = bytearray(path.read_bytes())
    place = dice.randrange(len(content))
    match damage:
        case "flip":
            for each in {place, *(dice.randrange(len(content)) for _ in range(dice.choice((0, 0, 3))))}:
                content[each] ^= 1 << dice.randrange(8)
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:place])
        case _:
            path.unlink()
    return f"{damage} {path.name} at {place} of {len(content)}"
