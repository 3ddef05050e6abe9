"""What requests share."""

import pytest

from handletime.errors import TooMany
from handletime.store.budget import Budget, may_hold


@pytest.mark.parametrize(
    ("held", "free", "may"),
    [(1, 0, True), (2, 0, False), (1, -1, False), (3, 1, True), (4, 1, False), (96, 32, True), (97, 31, False)],
)
def test_the_share_of_one_account(held: int, free: int, may: bool) -> None:
    assert may_hold(held, free) is may


def test_a_budget_refuses_what_does_not_fit_beside_others_and_takes_one_alone() -> None:
    budget = Budget(100, "ingest-memory")
    with budget.share() as first:
        first.take(90)
        with budget.share() as second, pytest.raises(TooMany):
            second.take(20)
        first.take(1000)
    with budget.share() as third:
        third.take(100)
