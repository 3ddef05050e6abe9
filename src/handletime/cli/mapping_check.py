"""What `handletime import sql --check` says of the events that a mapping would write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from handletime.answers.words import count
from handletime.cli.console import tell_compiling

if TYPE_CHECKING:
    import pyarrow as pa

SPREADSHEET_DIGITS: Final = 15
"""So many digits of a number a spreadsheet keeps; those behind them become 0."""
_SHORTENED: Final = r"^-?[0-9]+([.][0-9]+)?[eE][+]?[0-9]+$|^-?[0-9]+[.]0+$"
_IDS: Final = ("conversationId", "eventId", "employeeId")
_NUMBERS: Final = ("agentId", "groupId", "skillId")
_YEAR_MS: Final = 366 * 86_400_000


class Check:
    """Collects events, then says what is doubtful about them."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []

    def add(self, events: pa.Table) -> None:
        """Takes a table of `model.EVENTS`."""
        self._tables.append(events)

    def tell(self, memory: int) -> None:
        """Prints it, and one conversation as `handletime explain` does, in about `memory` bytes."""
        import pyarrow as pa

        from handletime.events.model import EVENTS

        events = pa.concat_tables([EVENTS.empty_table(), *self._tables]).unify_dictionaries().combine_chunks()
        if not events.num_rows:
            click.echo("The mapping makes no events of this input.")
            return
        for line in [*_types(events), *_conversations(events), *_focus(events), *_times(events), *_digits(events)]:
            click.echo(line)
        click.echo()
        tell_compiling(derives=True)
        _explained(events, memory)


def _types(events: pa.Table) -> list[str]:
    from handletime.events.model import TYPES

    found = {item["values"]: item["counts"] for item in events["type"].cast("string").value_counts().to_pylist()}
    width = max(len(f"{number:,}") for number in found.values())
    return ["Events by type:", *(f"  {found[type_]:>{width},} {type_}" for type_ in TYPES if type_ in found)]


def _conversations(events: pa.Table) -> list[str]:
    """Those that lack what almost every one has."""
    import pyarrow.compute as pc

    every = set(events["conversationId"].unique().to_pylist())
    lines = []
    for type_, lacks in (("assigned", "without assignment"), ("closed", "without close")):
        having = events.filter(pc.equal(events["type"].cast("string"), type_))["conversationId"].unique().to_pylist()
        missing = sorted(every - set(having))
        lines.append(f"Conversations {lacks}: {len(missing):,} of {len(every):,}{_such_as(missing)}")
    return lines


def _focus(events: pa.Table) -> list[str]:
    import pyarrow.compute as pc

    types = events["type"].cast("string")
    agents = events.filter(pc.and_(pc.equal(types, "assigned"), pc.equal(events["userType"].cast("string"), "human")))
    every = set(agents["agentId"].unique().to_pylist())
    looked = set(events.filter(pc.equal(types, "focused"))["agentId"].unique().to_pylist())
    missing = sorted(every - looked)
    unknown = "; their handle time is unknown" if missing else ""
    return [f"Agents without focus: {len(missing):,} of {len(every):,}{_such_as(missing)}{unknown}"]


def _times(events: pa.Table) -> list[str]:
    from datetime import UTC, datetime

    import pyarrow as pa
    import pyarrow.compute as pc

    from handletime.clock import SystemClock

    now = SystemClock().now()
    times = events["time"].cast(pa.int64())
    outside = pc.or_(pc.less(times, now - _YEAR_MS), pc.greater(times, now))
    span = [datetime.fromtimestamp(time.as_py() / 1000, UTC) for time in pc.min_max(times).values()]
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in span)
    return [f"Times: {first} to {last} (UTC); outside the last year: {pc.sum(outside).as_py():,}"]


def _digits(events: pa.Table) -> list[str]:
    """Ids that a spreadsheet, or a number of JavaScript, seems to have shortened."""
    import pyarrow.compute as pc

    lines = []
    for name in _IDS:
        column = events[name]
        found = column.filter(pc.fill_null(pc.match_substring_regex(column, _SHORTENED), False)).unique().to_pylist()
        if found:
            lines.append(f"{name}: {_seem(len(found))}{_such_as(found)}")
    for name in _NUMBERS:
        found = [number for number in events[name].drop_null().unique().to_pylist() if _is_rounded(number)]
        if found:
            lines.append(f"{name}: {_seem(len(found))}{_such_as(found)}")
    return lines or ["Ids that look as if they lost digits: none"]


def _seem(number: int) -> str:
    return f"{count(number, 'id')} that look as if they lost digits; export ids as text"


def _is_rounded(number: int) -> bool:
    """Whether all digits behind those that a spreadsheet keeps are 0."""
    return len(str(abs(number))) > SPREADSHEET_DIGITS and str(number)[-1] == "0" and _kept(number) <= SPREADSHEET_DIGITS


def _kept(number: int) -> int:
    return len(str(abs(number)).rstrip("0"))


def _such_as(ids: list[object] | list[str]) -> str:
    return f" (such as {ids[0]})" if ids else ""


def _explained(events: pa.Table, memory: int) -> None:
    from handletime.cli.explain import show
    from handletime.segments.explain import read
    from handletime.segments.parts import prepared_parts

    account, conversation = _telling(events)
    for part in prepared_parts([events], memory=memory):
        if (account, conversation) in _named(part.events):
            show(read(part, account, conversation))
            return


def _named(events: pa.Table) -> set[tuple[str, str]]:
    pairs = events.select(["accountId", "conversationId"]).to_pydict()
    return set(zip(pairs["accountId"], pairs["conversationId"], strict=True))


def _telling(events: pa.Table) -> tuple[str, str]:
    """Account and id of a conversation that has much of what can happen, and not too much of it."""
    kinds: dict[tuple[str, str], set[str]] = {}
    rows = events.select(["accountId", "conversationId", "type", "sentBy"]).slice(0, 100_000).to_pydict()
    for account, conversation, type_, sent_by in zip(*rows.values(), strict=True):
        kinds.setdefault((account, conversation), set()).add(f"{type_} {sent_by}")
    return max(kinds, key=lambda key: len(kinds[key]))
