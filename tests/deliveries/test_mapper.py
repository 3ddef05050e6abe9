"""Deliveries that wait become events of a real store; what cannot is kept without texts.

Covers: deliveries/sources.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.clock import DAY, SystemClock
from handletime.deliveries.file import Came, Deliveries, Standing
from handletime.deliveries.mapper import Mapper
from handletime.deliveries.proof import InAddress
from handletime.deliveries.source import Source
from handletime.deliveries.sources import Sources
from handletime.errors import NotNow
from handletime.keys.sealing import open_secret
from handletime.keys.sidefile import SideFile
from handletime.keys.sources import KeptSource, keep_source
from handletime.sources.chatwoot.webhook import Options
from handletime.store.opening import StoreSettings
from handletime.store.requests import Outcome
from handletime.store.store import Store

SAMPLES = Path(__file__).parents[1] / "sources" / "chatwoot"
LIMIT_S = 60.0
CHATWOOT = Source(account="acme", name="chatwoot", proof=InAddress("made-up-secret"), chatwoot=Options())


class Place:
    """A store, its side file, deliveries and their mapper."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        settings: StoreSettings | None = None,
        clock: Clock | SystemClock | None = None,
    ) -> None:
        self.side = stack.enter_context(SideFile(folder))
        self.store = stack.enter_context(Store(folder, self.side, settings or StoreSettings()))
        self.deliveries = stack.enter_context(Deliveries(folder))
        self.sources = Sources([CHATWOOT], self.side, open_secret(self.side))
        self.taker: Taker = Taker(self.store)
        stack.enter_context(Mapper(self.deliveries, self.sources, self.taker, clock or SystemClock()))

    def send(self, *bodies: bytes, source: str = "chatwoot") -> None:
        now = SystemClock().now()
        self.deliveries.keep([Came("acme", source, now, body) for body in bodies])

    def standing(self) -> Standing:
        """How the one source stands once nothing waits."""
        eventually(lambda: self.deliveries.backlog()[0] == 0)
        return self.deliveries.standings()[0]

    def events(self, conversation: str) -> int:
        prepared = self.store.reader("acme").prepared(conversation)
        return 0 if prepared is None else len(prepared.events)


class Clock:
    """A clock that shows what one sets."""

    def __init__(self, millis: int) -> None:
        self.millis = millis

    def now(self) -> int:
        return self.millis


class Taker:
    """The store, which may be busy for some calls."""

    def __init__(self, store: Store) -> None:
        self._store, self.busy = store, 0

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        if self.busy:
            self.busy -= 1
            raise NotNow("busy")
        return self._store.submit_together(account, events, sizes)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def samples() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.glob("[0-8]*.json"))]


def message(conversation: int, at: str, id_: int = 1) -> bytes:
    """A delivery of a consumer's message."""
    written = json.loads((SAMPLES / "02-message_created-incoming.json").read_bytes())
    written["conversation"]["id"] = conversation
    return json.dumps(written | {"id": id_, "created_at": at}).encode()


def test_a_story_becomes_events_each_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        place.send(*samples())
        standing = place.standing()
        assert (standing.mapped + standing.empty, standing.refused) == (27, 0)
        conversation = str(json.loads(samples()[0])["id"])
        number = place.events(conversation)
        assert number > 10
        place.send(*reversed(samples()))
        assert place.standing().mapped == 2 * standing.mapped
        assert place.events(conversation) == number


def test_what_cannot_be_mapped_is_kept_without_texts_and_tried_again(tmp_path: Path) -> None:
    ahead = message(5, "2999-01-01T00:00:00.000Z")
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        place.send(b"{", b'{"event":"message_created","id":"x","content":"words"}', ahead, samples()[0])
        standing = place.standing()
        assert (standing.mapped, standing.refused) == (1, 3)
        assert set(standing.problems) == {
            "Input data was truncated",
            "Expected `int`, got `str` - at `$.id`",
            "time: must not be more than 24 hours in the future",
        }
        assert place.events("5") == 0
        assert len(place.deliveries.retry()) == 2
        assert place.standing().refused == 3


def test_while_the_store_is_busy_deliveries_wait(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        place.taker.busy = 2
        place.send(samples()[0])
        assert place.standing().mapped == 1
        assert place.taker.busy == 0


def test_a_conversation_at_its_bound_refuses_its_own_deliveries_only(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack, StoreSettings(conversation_events=2))
        at = "2026-11-20T09:00:00.000Z"
        place.send(*[message(7, at, id_) for id_ in range(1, 6)], message(8, at))
        standing = place.standing()
        assert (standing.mapped, standing.refused) == (3, 3)
        assert all(problem.startswith("conversationId: ") for problem in standing.problems)
        assert place.events("8") > 0


def test_a_source_that_is_set_up_meanwhile_counts_soon_and_one_that_is_gone_is_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        assert place.sources.find("acme", "second") is None
        keep_source(place.side, KeptSource("acme", "second", b'{"kind":"chatwoot"}', "made-up-secret"))
        eventually(lambda: place.sources.find("acme", "second") is not None)
        found = place.sources.find("acme", "second")
        assert found is not None
        assert found.kind == "chatwoot"
        assert place.sources.find("other", "second") is None


def test_deliveries_wait_a_day_for_a_source_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = SystemClock().now()
    with ExitStack() as stack:
        place = Place(tmp_path, stack, clock=(clock := Clock(now)))
        place.deliveries.keep([Came("acme", "gone", at, samples()[0]) for at in (now - DAY - 1000, now + 5000)])
        eventually(lambda: "wait for source gone of account acme" in caplog.text)
        time.sleep(1.5)
        assert place.deliveries.backlog()[0] == 2
        clock.millis = now + DAY + 1000
        eventually(lambda: [each.refused for each in place.deliveries.standings()] == [1])
        (standing,) = place.deliveries.standings()
        assert (standing.waiting, standing.problems) == (1, {"there is no such source any more": 1})
        keep_source(place.side, KeptSource("acme", "gone", b'{"kind":"chatwoot"}', "made-up-secret"))
        assert place.standing().mapped == 1


def test_while_the_clock_is_wrong_deliveries_wait(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack, clock=(clock := Clock(86_400_000)))
        place.deliveries.keep([Came("acme", "chatwoot", clock.now(), body) for body in (b"{", samples()[0])])
        time.sleep(1.5)
        assert place.deliveries.backlog()[0] == 2
        clock.millis = SystemClock().now()
        standing = place.standing()
        assert (standing.mapped, standing.problems) == (1, {"Input data was truncated": 1})
        place.deliveries.expire(clock.now())
        assert place.standing().problems


def test_what_waits_when_it_ends_is_mapped_at_the_next_start(tmp_path: Path) -> None:
    with Deliveries(tmp_path) as deliveries:
        deliveries.keep([Came("acme", "chatwoot", SystemClock().now(), samples()[0])])
    with ExitStack() as stack:
        assert Place(tmp_path, stack).standing().mapped == 1


def test_a_described_source_of_a_newer_version_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SideFile(tmp_path) as side:
        keep_source(side, KeptSource("acme", "new", b'{"kind":"telepathy"}', "made-up-secret"))
        sources = Sources([CHATWOOT], side, open_secret(side))
        assert sources.find("acme", "new") is None
        assert sources.find("acme", "chatwoot") == CHATWOOT
    assert "source.new.kind: must be chatwoot or sql" in caplog.text
