"""Two worlds: one where an account is alone, one where others have the same ids. It cannot tell which it is in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from handletime.keys.sidefile import SideFile
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from tests.api.world import NOW, World
from tests.crash.client import lines, past
from tests.messy_streams import RawEvent, messy_stream

DAY = 86_400_000
SMALL = StoreSettings(memory_bytes=256 << 20, threads=1)
LATER = NOW + 2 * DAY
WINDOW = f"from={LATER - 5 * DAY}&to={LATER}"
ASKED = (
    f"/api/account/{{}}/agent-segments?source=test&limit=500&{WINDOW}",
    f"/api/account/{{}}/agent-segments?source=test&limit=3&offset=2&sort=agent&{WINDOW}",
    f"/api/account/{{}}/agent-segments?source=test&AgentId=1&{WINDOW}",
    f"/api/account/{{}}/agent-segments?source=test&ConversationId=only-theirs&{WINDOW}",
    f"/operations/api/account/{{}}/msgagentsegments?v=1&timeframe=7200&to={LATER}&interval=day&skillIds=all",
    f"/operations/api/account/{{}}/msgskillsegments?v=1&timeframe=7200&to={LATER}&interval=1440",
    f"/operations/api/account/{{}}/msgskillsegments?v=1&timeframe=7200&to={LATER}&format=csv",
    f"/operations/api/account/{{}}/msgconversation?v=1&timeframe=7200&to={LATER}&skillIds=all&interval=1440",
    f"/operations/api/account/{{}}/msgqueuehealth?v=1&timeframe=7200&to={LATER}&interval=1440",
    f"/api/account/{{}}/report?{WINDOW}&by=skill,agent,group,source,userType&interval=60",
    f"/api/account/{{}}/report?{WINDOW}&by=source&interval=day&fill=zero&compare=previous&format=csv",
    "/operations/api/account/{}/msgqueuehealth/current?v=1",
    "/api/account/{}/metrics",
    "/api/account/{}/due?limit=1000",
    "/api/account/{}/service/baseURI.json",
)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """The one where each account is alone, and the one where the others of all tests are, too."""
    with ExitStack() as stack:
        yield _a_world(stack, tmp_path_factory.mktemp("alone")), _a_world(stack, tmp_path_factory.mktemp("among"))


def _a_world(stack: ExitStack, folder: Path) -> World:
    side = stack.enter_context(SideFile(folder))
    world = stack.enter_context(World(real=stack.enter_context(Store(folder, side, SMALL))))
    world.clock.moment = LATER
    return world


def test_no_answer_depends_on_other_accounts_in_20_worlds(worlds: tuple[World, World], seed: int) -> None:
    for number in range(20):
        are_alike(seed + number, worlds)


@pytest.mark.long
def test_no_answer_depends_on_other_accounts_in_1000_worlds(worlds: tuple[World, World], seed: int) -> None:
    for number in range(1000):
        are_alike(seed + number, worlds)


def are_alike(seed: int, worlds: tuple[World, World]) -> None:
    """One account, with others beside it in the second world: before, between and after its requests."""
    dice = random.Random(seed)
    account, other = f"A{seed}", f"B{seed}"
    mine = _stream(seed, dice.choice((1, 5, 40, 90)))
    # The same conversations, events and agents, in another order; and some of its own.
    theirs = [*_stream(seed, 90, turned=True), *_stream(seed + 1, 30)]
    theirs.append({"eventId": "x", "conversationId": "only-theirs", "time": NOW, "type": "opened"})
    alone, among = worlds
    _put(among, other, theirs[: dice.randint(0, len(theirs))])
    for part in _cut(mine, dice):
        taken = [_put(world, account, part) for world in worlds]
        assert taken[0] == taken[1], seed
        if dice.random() < 0.5:
            _put(among, other, theirs)
    assert _answers(alone, account, mine) == _answers(among, account, mine), seed


def _stream(seed: int, events: int, *, turned: bool = False) -> list[RawEvent]:
    stream = past(messy_stream(seed, accounts=1, conversations=4, events=events))
    return [{**event, "accountId": None} for event in (stream[::-1] if turned else stream)]


def _cut(events: list[RawEvent], dice: random.Random) -> Iterator[list[RawEvent]]:
    middle = dice.randint(0, len(events))
    yield from (events[:middle], events[middle:], events[: middle // 2])


def _put(world: World, account: str, events: list[RawEvent]) -> str:
    answer = world.post(f"/api/account/{account}/events", lines(events), account)
    assert answer.status_code == 200, answer.text
    return answer.text


def _answers(world: World, account: str, events: list[RawEvent]) -> dict[str, tuple[int, bytes]]:
    """What all methods answer, files and refusals too."""
    conversations = sorted({str(event["conversationId"]) for event in events} - {"/"})
    paths = [
        *(path.format(account) for path in ASKED),
        *(f"/api/account/{account}/conversations/{_escaped(name)}/explain" for name in conversations),
        f"/api/account/{account}/conversations/only-theirs/explain",
    ]
    listing = world.get(f"/api/account/{account}/agent-segments/breakdown?source=test&{WINDOW}", account)
    files = listing.json()["files"]
    paths += [f"/api/account/{account}/agent-segments/files?source=test&path={file}" for file in files]
    answers = {path: world.get(path, account) for path in paths}
    here = f"127.0.0.1:{world.port}".encode()
    answers["files"] = listing
    return {path: (answer.status_code, answer.content.replace(here, b"")) for path, answer in answers.items()}


def _escaped(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())
