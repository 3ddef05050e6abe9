"""The list of what is open: how rows are sorted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from handletime.answers.labels import AccountLabels
from handletime.answers.live import FocusHere, OpenConversation
from handletime.web.open import COLUMNS, in_order
from tests.answers.test_live import conversation

ROWS = [
    conversation("b", 900, skill=2, source="web"),
    conversation("c", 800, skill=1, agent=9, source="APP", focus={9: FocusHere(1)}),
    conversation("a", 100, skill=2, agent=8),
    conversation("d", None, skill=3, agent=9, focus={8: FocusHere(1)}),
]
LABELS = AccountLabels("", {("", "agent"): {8: "zoe", 9: "Amy"}, ("", "skill"): {2: "orders", 1: "Sales"}})


@pytest.mark.parametrize(
    ("sort", "rising", "falling"),
    [
        ("waits", "acbd", "bcad"),
        ("since", "bcad", "acbd"),
        ("state", "bcad", "dcab"),
        ("skill", "bacd", "dcba"),
        ("agent", "cdab", "acdb"),
        ("conversation", "abcd", "dcba"),
        ("source", "cbad", "bcad"),
        ("focus", "cdba", "dcba"),
    ],
)
def test_rows_are_sorted_by_any_column(sort: str, rising: str, falling: str) -> None:
    def sorted_(*, falling: bool) -> str:
        return "".join(each.id for each in in_order(ROWS, LABELS, sort, falling=falling))

    assert (sorted_(falling=False), sorted_(falling=True)) == (rising, falling)


def test_what_is_stale_comes_last_in_the_order_of_waits_alone() -> None:
    rows = [conversation("e", 90_000_000, skill=1), *ROWS]
    found = {
        (sort, falling): "".join(each.id for each in in_order(rows, LABELS, sort, None, {"e"}, falling=falling))
        for sort in ("waits", "since")
        for falling in (True, False)
    }
    assert found == {
        ("waits", True): "bcade",
        ("waits", False): "acbde",
        ("since", True): "acbed",
        ("since", False): "ebcad",
    }


def test_every_column_can_be_sorted_by() -> None:
    for sort in COLUMNS:
        assert _ids(in_order(ROWS, LABELS, sort, falling=True)) == {"a", "b", "c", "d"}


def _ids(rows: Sequence[OpenConversation]) -> set[str]:
    return {each.id for each in rows}
