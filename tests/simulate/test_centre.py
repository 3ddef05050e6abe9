from datetime import UTC, datetime
from typing import Any

import pytest

from handletime.errors import InputError
from handletime.simulate.centre import Centre
from tests.simulate.made import MONDAY


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"start": datetime(2026, 11, 16)}, "start: must be a time with an offset"),
        ({"days": 0}, "days"),
        ({"start": datetime(9999, 12, 31, tzinfo=UTC), "days": 2}, "days"),
        ({"events": 10, "conversations": 10}, "events"),
        ({"conversations": 0}, "conversations"),
        ({"accounts": ()}, "accounts"),
        ({"accounts": ("a-b",)}, "accounts: must be of letters and digits"),
        ({"accounts": ("a", "a")}, "accounts: must be different"),
        ({"skills": 0}, "skills"),
        ({"agents": 0}, "agents"),
        ({"bots": -1}, "bots"),
        ({"seed": -1}, "seed"),
        ({"messiness": 1.1}, "messiness"),
        ({"without_focus": -0.1}, "without_focus"),
    ],
)
def test_a_centre_that_cannot_be_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=f"^{fault}"):
        Centre(**{"start": MONDAY} | settings)
