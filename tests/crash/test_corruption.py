"""Damaged files: the server refuses to start and says why, or answers as before, or says that it cannot.

Never a wrong number. Each file of a store is flipped in places, cut, and removed; of a store that was killed, so that
part of it is in the write-ahead logs.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from handletime.admin.client import ask
from handletime.admin.commands import Check, Checked, Forget, Removed
from handletime.errors import HandletimeError
from tests.crash.client import ACCOUNT, Client, Record, prepared, resend
from tests.crash.nursery import Nursery
from tests.crash.test_kill import QUIET, a_key, listening
from tests.messy_streams import BASE

FILES = ("store.duckdb", "store.duckdb.wal", "side.sqlite", "side.sqlite-wal", "secret.key")
DAMAGES = ("flip", "cut", "remove")
TO = BASE + 86_400_000
OVERVIEW = (
    f"/operations/api/account/{ACCOUNT}/msgagentsegments?v=1&timeframe=44640&to={TO}&skillIds=all",
    f"/operations/api/account/{ACCOUNT}/msgskillsegments?v=1&timeframe=44640&to={TO}&interval=week",
)
Answers = dict[str, tuple[int, str]]


@dataclass
class Whole:
    """A store of a server that was killed, what is in it, and what it answers."""

    folder: Path
    record: Record
    token: str
    answers: Answers


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole") / "store"
    record, token = prepared(7, 600), a_key(folder)
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    client = Client(url, token)
    for place, batch in enumerate(record.batches):
        resend(client, [batch])
        batch.acknowledged = True
        if place == len(record.batches) // 2:
            with pytest.raises(HandletimeError, match="no conversation"):
                forget_nothing(folder)
    client.close()
    answers = answers_of(url, token, record)
    assert {status for status, _ in answers.values()} == {200}
    server.kill()
    server.wait()
    assert all((folder / name).stat().st_size for name in FILES)
    return Whole(folder, record, token, answers)


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


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_or_does_no_harm(
    name: str, damage: str, whole: Whole, nursery: Nursery, tmp_path: Path, seed: int
) -> None:
    judge(name, damage, whole, nursery, tmp_path / "store", random.Random(seed))


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_200_damages_are_told_or_do_no_harm(
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
    if answers == whole.answers:
        stays_right(url, what, whole)
    elif not name.startswith("side"):
        # SQLite has no checksums: a key that is no longer known is all that can be seen of such damage.
        with pytest.raises((AssertionError, HandletimeError)):
            assert ask(folder, Check(), Checked, QUIET).problems == []
    server.kill()
    server.wait()


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
