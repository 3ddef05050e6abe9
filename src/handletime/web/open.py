"""`/open`: the open conversations behind a number of the page Now, one by one; it keeps itself up to date too."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Response, get
from markupsafe import Markup
from msgspec.structs import replace

from handletime.answers.labels import AccountLabels
from handletime.answers.live import OpenConversation, is_past_due, is_stale, now_of, urgent_of
from handletime.answers.words import STATES, Kind
from handletime.api.errors import JSON
from handletime.api.parameters import a_choice
from handletime.api.service import HttpRequest, query_of
from handletime.targets.targets import AccountTargets, Judged
from handletime.web.figures import sorted_by
from handletime.web.fresh import Fresh, Ticking, live_state, shown_states
from handletime.web.now import KNOWN, open_lately
from handletime.web.page import HEADERS, Asker, Page, ThePage
from handletime.web.view import View, read_view

SHOWN: Final = 500
CHOICES: Final = {
    "": "all",
    "people": "without bots",
    **{state: STATES[state] for state in ("queued", "waits")},
    "past-due": "past due",
    "stale": "for over a day",
}
STATE: Final = a_choice(
    "state",
    "Only those without bots, in queue, waiting, past due, or for over a day.",
    "",
    tuple(CHOICES)[1:],
)
COLUMNS: Final = {
    "state": "State",
    "waits": "waits",
    "since": "since",
    "due": "due",
    "skill": "Skill",
    "agent": "Agent",
    "conversation": "Conversation",
    "source": "Source",
    "focus": "focus of",
}
"""What the list can be sorted by, and the columns' headings."""
SORT: Final = a_choice("sort", "The column that the rows are sorted by.", "waits", tuple(COLUMNS))
DIRECTION: Final = a_choice("direction", "Which way; the longest wait first.", "", ("asc", "desc"))
_Key = Callable[[OpenConversation], object]


class Column(NamedTuple):
    """A heading: its text, the link that sorts by it, and which way the rows are sorted by it now, if they are."""

    name: str
    text: str
    href: str
    sorted: str


@get("/open", sync_to_thread=True, name="page-open")
def open_conversations(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The open conversations behind a number of the page Now, the longest wait first."""
    asker = page.asker(request, "operations")
    shown = shown_of(request, page, asker)
    live = page.text(request, "open_live.html", asker, **shown)
    parts = {"live": Markup(live), "live_state": live_state(live)}  # noqa: S704 — a template of ours
    return page.html(request, "open.html", asker, **shown, **parts)


@get("/open/data", sync_to_thread=True, name="page-open-data")
def open_data(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The list anew if it has changed, for browsers that ask for it."""
    asker = page.asker(request, "operations", is_use=False)
    known = shown_states(query_of(request).get(KNOWN) or "")
    shown = shown_of(request, page, asker)
    live = page.text(request, "open_live.html", asker, **shown)
    fresh = Fresh(shown["at"], shown["view"].clocks.moment(shown["at"]))
    if (state := live_state(live)) != known.live:
        fresh = replace(fresh, live=live, live_state=state)
    return Response(msgspec.json.encode(fresh), media_type=JSON, headers=HEADERS)


def shown_of(request: HttpRequest, page: Page, asker: Asker) -> dict[str, Any]:
    """What the list shows: `rows` are those that are shown, `listed` all of them. Raises BadRequest, NotNow."""
    at = page.service.clock.now()
    query = query_of(request)
    view = read_view(query, at, asker.clocks)
    state, sort, direction = query.get(STATE), query.get(SORT), query.get(DIRECTION)
    query.check()
    falling = (direction or ("desc" if sort == "waits" else "asc")) == "desc"
    targets = page.service.targets.of(asker.account)
    now = now_of(open_lately(page, asker), view.open_conversations, at)
    found = now.conversations
    urgent = _urgent(found, targets, at)
    stale = {each.id for each in found if is_stale(each, urgent.get(each.id), at)}
    rows = [each for each in found if _is_in(each, state, view, stale, urgent)]
    listed = in_order(rows, asker.labels, sort, urgent, stale, falling=falling)
    return {
        "view": view,
        "at": at,
        "ticking": Ticking(at),
        "state": state,
        "states": {key: text for key, text in CHOICES.items() if targets or key != "past-due"},
        "columns": [each for each in _columns(view, state, sort, falling=falling) if targets or each.name != "due"],
        "urgent": urgent,
        "stale": stale,
        "has_targets": bool(targets),
        "kept": {"state": state or None, "sort": sort if sort != "waits" else None, "direction": direction or None},
        "total": len(rows),
        "left_out": now.left_out,
        "rows": listed[:SHOWN],
        "listed": listed,
    }


def _urgent(found: list[OpenConversation], targets: AccountTargets, at: int) -> dict[str, Judged]:
    """The most urgent wait of each conversation that has a target, by id."""
    if not targets:
        return {}
    return {each.id: wait for each in found if (wait := urgent_of(each, targets, at)) is not None}


def _is_in(each: OpenConversation, state: str, view: View, stale: Container[str], urgent: Mapping[str, Judged]) -> bool:
    """Whether the list of a state has it, as the board counts: what is stale is in that of all, and in its own.

    What bots have is in that of what is past due, or stale, only where bots are asked for.
    """
    is_fresh = each.id not in stale
    if state in ("", each.state):
        return is_fresh or not state
    holds = {"people": True, "past-due": is_fresh and is_past_due(urgent.get(each.id)), "stale": not is_fresh}
    return holds.get(state, False) and (view.given_user_type == "bot" or not each.is_bot)


def _columns(view: View, state: str, sort: str, *, falling: bool) -> list[Column]:
    found = []
    for name, text in COLUMNS.items():
        turned = (not falling) if name == sort else name == "waits"
        href = view.href("/open", state=state or None, sort=name, direction="desc" if turned else "asc")
        found.append(Column(name, text, href, ("descending" if falling else "ascending") if name == sort else ""))
    return found


def in_order(
    rows: list[OpenConversation],
    labels: AccountLabels,
    sort: str,
    urgent: Mapping[str, Judged] | None = None,
    stale: Container[str] = (),
    *,
    falling: bool,
) -> list[OpenConversation]:
    """Rows that stand with the longest wait first, by a column; those that have nothing there are last either way.

    By their wait, what is stale comes behind all others.
    """

    def named(kind: Kind, number: int | None) -> str | None:
        return None if number is None else labels.text(kind, number).casefold()

    dues = {id_: wait.due for id_, wait in (urgent or {}).items()}
    keys: dict[str, _Key] = {
        "state": lambda each: list(STATES).index(each.state),
        # The longest wait began first.
        "waits": lambda each: None if each.waiting_since is None else -each.waiting_since,
        "since": lambda each: each.waiting_since,
        "due": lambda each: dues.get(each.id),
        "skill": lambda each: named("skill", each.skill),
        "agent": lambda each: named("agent", each.agent),
        "conversation": lambda each: each.id,
        "source": lambda each: each.source.casefold() if each.source else None,
        "focus": lambda each: named("agent", next(iter(each.focus), None)),
    }
    listed = sorted_by(rows, keys[sort], descending=falling)
    return sorted(listed, key=lambda each: sort == "waits" and each.id in stale)
