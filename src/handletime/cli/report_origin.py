"""Where `handletime report` asks: files, a store that no server holds, or a running server. One answer of one shape."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import msgspec
import numpy as np

from handletime.answers import words
from handletime.answers.figures import span
from handletime.answers.files import Conversation, asked
from handletime.answers.flat import Format, Namer, Shape, in_small, written
from handletime.answers.labels import Labels
from handletime.answers.periods import Compare
from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.report import (
    DIMENSIONS,
    Column,
    Cut,
    Filters,
    Question,
    Report,
    Rows,
    TooManyRows,
    question_of,
)
from handletime.answers.sums import By
from handletime.cli.console import prepared
from handletime.cli.sending import Client
from handletime.clock import SystemClock
from handletime.errors import InputError, StoreError
from handletime.segments.derive import Derived, Quality, derive_prepared
from handletime.targets.file import TargetsFile

DAY_MS: Final = 86_400_000
ACCOUNTS_SHOWN: Final = 5
Value = int | float | str | None
Row = dict[str, Value]
"""A row by the names of its columns."""


class Asked(NamedTuple):
    """What a report is asked for, wherever."""

    cut: Cut
    filters: Filters
    by: tuple[By, ...]
    metrics: tuple[Metric, ...]
    compare: Compare | None = None
    fill: bool = False
    all_metrics: bool = False
    """Whether `metrics` are all that there are, as far as is known here."""

    def question(self) -> Question:
        """The same as a question. Raises InputError."""
        made = question_of(self.cut, self.filters, self.by, self.metrics, compare=self.compare)
        return made._replace(fill=self.fill)


class Origin(Protocol):
    """Answers reports."""

    quality: Quality | None
    """What the data are worth, where that is known."""
    accounts: tuple[str, ...]
    """The accounts, where rows say whose they are."""

    def span(self, user_type: str | None) -> tuple[int, int] | None:
        """The window where none is asked for, in epoch milliseconds, the last one included. None where nothing is."""

    def pieces(self, asked: Asked, form: Format, *, together: bool = False) -> Iterator[bytes]:
        """A report in a format; of all accounts together. Raises InputError, NotNow."""


def rows_of(origin: Origin, asked: Asked, *, together: bool = False) -> Iterator[Row]:
    """The rows of a report."""
    rest = b""
    for piece in origin.pieces(asked, "ndjson", together=together):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line, type=Row)


class Links(NamedTuple):
    """Links to explanations: of a page, if it is known where that is; else the paths of the API."""

    url: str | None
    zone: str

    def of(self, conversation: Conversation) -> str:
        """The link to a conversation's explanation."""
        if self.url is None:
            return f"/api/account/{conversation.account}/conversations/{quote(conversation.id, safe='')}/explain"
        asked = {"conversation": conversation.id, "tz": self.zone}
        return f"{self.url.rstrip('/')}/why?{urlencode(asked, quote_via=quote)}"


class Known(NamedTuple):
    """What rows are shown with: names, links to explanations, and the targets of service levels."""

    labels: Labels
    links: Links
    targets: TargetsFile


ByConversation = Callable[[], Iterable[tuple[Snapshot, dict[int, Conversation]]]]
"""Gives snapshots of some conversations each, and which these are by their numbers."""


# --- files -----------------------------------------------------------------------------------------------------------


class OfSnapshot:
    """Asks segments of files, or of a store."""

    def __init__(
        self,
        snapshot: Snapshot,
        accounts: Sequence[str],
        by_conversation: ByConversation,
        known: Known,
        quality: Quality | None = None,
    ) -> None:
        self.snapshot, self._conversations = snapshot, by_conversation
        self._labels, self._links, self._targets = known
        self.quality = quality
        self._all = tuple(accounts)
        self.accounts = self._all if len(self._all) > 1 else ()

    def span(self, user_type: str | None) -> tuple[int, int] | None:
        """From the first segment's end to the last one's."""
        return span(self.snapshot, user_type)

    def pieces(self, asked: Asked, form: Format, *, together: bool = False) -> Iterator[bytes]:
        """A report in a format. Raises InputError where it has too many rows."""
        account = self._all[0] if len(self._all) == 1 else None
        question = asked.question()._replace(targets=self._targets.of(account))
        leading: tuple[str, ...] = ()
        if "conversation" in asked.by:
            leading = (*(("accountId",) if self.accounts else ()), "conversationId", "explain")
            rows = self._by_conversation(question)
        elif self.accounts and not together:
            leading = ("accountId",)
            rows = chain.from_iterable(self._of_account(question, account) for account in self.accounts)
        else:
            rows = Report(self.snapshot, question).rows()
        namer: Namer | None = self.name if self._labels.are_given else None
        try:
            yield from written(in_small(rows), Shape(question, namer, leading), form)
        except TooManyRows as error:
            raise InputError(f"the report {error}") from error

    def name(self, kind: words.Kind, number: int) -> str | None:
        """The name of an agent, skill or group; None where it has none."""
        return self._labels.of(self._all[0] if len(self._all) == 1 else "").name(kind, number)

    def _of_account(self, question: Question, account: str) -> Iterator[Rows]:
        of, before = question.of, question.before
        own = question._replace(
            of=of._replace(account=account),
            before=None if before is None else before._replace(account=account),
            targets=self._targets.of(account),
        )
        for rows in Report(self.snapshot, own).rows():
            yield rows._replace(leading={"accountId": Column(np.full(rows.number, account, object))})

    def _by_conversation(self, question: Question) -> Iterator[Rows]:
        """Rows by account and conversation, with links; some conversations at a time."""
        for snapshot, known in self._conversations():
            for rows in Report(snapshot, question).rows():
                whose = [known[number] for number in rows.keys["conversation"].values.tolist()]
                texts = {
                    "accountId": [each.account for each in whose],
                    "conversationId": [each.id for each in whose],
                    "explain": [self._links.of(each) for each in whose],
                }
                leading = {name: Column(np.array(values, object)) for name, values in texts.items()}
                yield rows._replace(leading=leading)


@contextmanager
def files_origin(
    files: Sequence[str], account: str, memory: int, known: Known, *, conversations: bool
) -> Iterator[OfSnapshot]:
    """Events of files, derived. Raises InvalidEvents, InputError, OSError."""
    parts: Iterable[Derived] = map(derive_prepared, prepared(files, account, memory))
    with (
        tempfile.TemporaryDirectory(prefix="handletime-") as folder,
        asked(parts, Path(folder), memory=memory, conversations=conversations) as collected,
    ):
        accounts = sorted(collected.quality.accounts)
        yield OfSnapshot(collected.snapshot, accounts, collected.by_conversation, known, collected.quality)


@contextmanager
def store_origin(folder: Path, account: str, known: Known) -> Iterator[OfSnapshot]:
    """The store of a folder that no server holds. Raises StoreError, also where all events are of other accounts;
    NotNow, OSError.
    """
    from handletime.cli.folder import keep_private, side_file
    from handletime.store.opening import FILE
    from handletime.store.store import Store
    from handletime.upkeep.deriving import bring_up_to_date

    keep_private()
    if not (folder / FILE).exists():
        raise StoreError(f"{folder} has no store: there is no {FILE} in it")
    with side_file(folder) as side, Store(folder, side) as store:
        bring_up_to_date(store)
        with store.snapshot() as cursor:
            there = [name for (name,) in cursor.execute("select accountId from kept.accounts order by 1").fetchall()]
        if there and account not in there:
            shown = ", ".join(there[:ACCOUNTS_SHOWN]) + (", …" if len(there) > ACCOUNTS_SHOWN else "")
            raise StoreError(f"{folder} has no events of account {account}; --account names another: {shown}")
        reader = store.reader(account)
        with reader.snapshot() as snapshot:
            yield OfSnapshot(snapshot, [account], reader.by_conversation, known)


# --- a running server ------------------------------------------------------------------------------------------------


class OfServer:
    """Asks a running server."""

    quality: Quality | None = None
    accounts: tuple[str, ...] = ()

    def __init__(self, client: Client, account: str) -> None:
        self._client, self._account, self._clock = client, account, SystemClock()

    def span(self, user_type: str | None) -> tuple[int, int] | None:  # noqa: ARG002
        """The last 24 hours, as the server has it."""
        now = self._clock.now()
        return now - DAY_MS, now - 1

    def pieces(self, asked: Asked, form: Format, *, together: bool = False) -> Iterator[bytes]:  # noqa: ARG002
        """A report in a format, as it arrives. Raises InputError, NotNow."""
        (start, end), interval, zone = asked.cut
        filters = asked.filters
        given: dict[str, object | None] = {
            "from": words.rfc_3339(start, zone),
            "to": words.rfc_3339(end, zone),
            "tz": zone.key,
            "by": ",".join(name for name, column in DIMENSIONS.items() if column in asked.by),
            "interval": interval,
            "skillIds": _ids(filters.skills),
            "agentIds": _ids(filters.agents),
            "groupIds": _ids(filters.groups),
            "source": filters.source,
            "userType": filters.user_type,
            "metrics": None if asked.all_metrics else ",".join(metric.key for metric in asked.metrics),
            "compare": asked.compare,
            "fill": "zero" if asked.fill else None,
            "format": form,
        }
        query = urlencode({name: value for name, value in given.items() if value not in (None, "")}, quote_via=quote)
        return self._client.read(self._account, f"report?{query}")


def _ids(ids: Sequence[int] | None) -> str | None:
    return None if ids is None else ",".join(map(str, ids))
