"""What the methods need: of a store (or a lake), of the files of units, and of the keys."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.answers.relations import Snapshot
    from handletime.api.auth import AuthRequest
    from handletime.deadline import Deadline
    from handletime.keys.keys import Key
    from handletime.scope import Scope
    from handletime.segments.agent_focus import Focus, FocusTime
    from handletime.segments.parts import Prepared
    from handletime.store.requests import Ingested, Outcome


class Reader(Protocol):
    """One account's rows within a scope, and no others, for one request. Any thread may use it.

    What makes rows of events itself has to limit them: `prepared`, `open_conversations` and `open_left_out` know no
    scope.
    """

    @property
    def scope(self) -> Scope:
        """What of the account whoever asks may see."""

    @property
    def deadline(self) -> Deadline:
        """When the time for the request ends: for its queries and for all other work."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """One state of the rows, for one thread, until it is left.

        Queries find the relations of `answers.relations` of the account alone, with the columns of `segments.tables`;
        units also with `userType`, `skillId`, `groupId`, `source` and `segmentEnd` of their segment. Agent segments and
        units have `segmentNumber`, which stands for a `segmentId` within the store. Texts of queries should be
        constant, values be bound; times that are bound as `start` and `end` say that only rows which end in between are
        asked for (units: whose segment does). Raises NotNow where it cannot be given now.
        """

    def state(self) -> str:
        """Names the state of the rows. A snapshot that is begun after has rows of this state, or of a later one.

        It says nothing of other accounts. Raises NotNow where it cannot be said now.
        """

    def prepared(self, conversation: str) -> Prepared | None:
        """The events of one conversation in order, with its losses of focus and who of its agents is in `focused`.

        Others may be among them. None where there is no such conversation. Raises NotHere where events are not kept.
        """

    def open_conversations(self) -> Generator[Prepared, None, None]:
        """The events of the conversations that are open, some at a time, as `prepared` gives those of one: of very many
        those opened last.

        Raises NotHere where events are not kept.
        """

    def open_left_out(self) -> int:
        """How many open conversations `open_conversations` leaves out. Raises NotHere where events are not kept."""

    def focus(self, agent: int, start: int, end: int) -> list[Focus]:
        """Where an agent's focus was in [start, end), over all conversations of the account, stretch by stretch.

        It may end early: what follows is not known. With a scope nothing is known of an agent who has no segment in it
        then, and other conversations are not named (`agent_focus.OUTSIDE`).
        """

    def focus_times(self, agents: Sequence[int], start: int, end: int) -> dict[int, FocusTime]:
        """For how long the focus of each of these agents was on a conversation in [start, end), as far as it is known.

        With a scope only conversations within it count. Raises NotHere over a lake.
        """

    def holds_all(self, conversations: Sequence[str]) -> bool:
        """Whether none of these conversations has been removed (retention, a person's wish)."""


class Store(Protocol):
    """All accounts. Any thread may use it."""

    def reader(self, account: str, scope: Scope) -> Reader:
        """A reader for an account, which need not have any rows; of these it sees what lies within the scope."""

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:
        """Stores a table of `model.EVENTS` of one account, all of it or nothing, and derives what follows from it.

        There is a result when the events are durable and visible, NotNow where they could not be stored. Raises
        NotNow where too many wait already. The future raises InvalidEvents where a conversation would become too large.
        """

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        """Stores several requests that stand one after the other in the table; `sizes` are their numbers of events."""

    def problem(self) -> str | None:
        """Why the store cannot answer now; None where it can."""

    @property
    def read_only(self) -> str | None:
        """Why this server never accepts events; None where it does."""


class DatedReader(Reader, Protocol):
    """Rows as of one run of a lake, which writes them by day. A reader stays with its run."""

    def written(self, day: date) -> int | None:
        """When the handle-time units of segments that ended on a day (UTC) were last written: the end of a run, in
        epoch milliseconds. None where there are none.
        """


class DatedStore(Protocol):
    """A store whose rows are written by runs, one after the other. Any thread may use it."""

    def reader(self, account: str, scope: Scope) -> DatedReader:
        """A reader of the newest run, within the scope."""

    def reader_of(self, finished: int, account: str, day: date) -> DatedReader | None:
        """A reader of the run that ended at a time (epoch ms), to ask about the units of a day.

        None where there is no such run, or its files of the day are gone.
        """


class Files(Protocol):
    """The files of handle-time units. Any thread may use it."""

    def listed(self, account: str, start: int, end: int) -> list[str]:
        """The paths of the files that together hold every unit of a human's segment that ended in [start, end)."""

    def content(self, account: str, path: str) -> bytes | None:
        """A file by its path, exactly as it was listed; gzipped lines of JSON. None where there is no such file."""


class Authenticator(Protocol):
    """Finds out who is asking."""

    def authenticate(self, request: AuthRequest) -> Key:
        """The key that the request was made with. Raises Unauthorized."""
