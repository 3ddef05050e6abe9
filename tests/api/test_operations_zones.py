"""Time zones in the parameters of the operations methods: only names of zones, and days that a zone left out."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from handletime.events.model import EPOCH
from tests.api.world import World


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/UTC"])
def test_the_api_refuses_what_is_no_name(world: World, name: str) -> None:
    answer = world.get(f"/operations/api/account/acme/msgskillsegments?v=1&timeframe=60&tz={name}", "acme")
    assert answer.status_code == 400
    assert answer.json()["causes"] == ["tz: must be the IANA name of a time zone (Europe/Berlin)"]


def test_a_date_that_a_zone_left_out_is_no_interval_of_an_answer(world: World) -> None:
    path = "/operations/api/account/acme/msgagentsegments?v=1&timeframe=7200&to=2012-01-02T10:00Z"
    answer = world.get(f"{path}&interval=day&tz=Pacific/Apia", "acme").json()
    stamps = [interval["timestamp"] for interval in answer["metricsByIntervals"]]
    zone = ZoneInfo("Pacific/Apia")
    shown = [(EPOCH + timedelta(milliseconds=stamp)).astimezone(zone) for stamp in stamps]
    assert [f"{each:%d %H:%M}" for each in shown] == ["28 00:00", "29 00:00", "31 00:00", "01 00:00", "02 00:00"]
