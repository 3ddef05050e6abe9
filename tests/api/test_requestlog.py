"""The lines about requests: none is lost, none waits for long, each has its own time."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from handletime.api.requestlog import EVERY_S, MOST, Line, RequestLog
from handletime.cli.logs import JsonLines, TextLines


def line(number: int) -> Line:
    return Line("GET", "/healthz", 200, 1.5, None, None, f"{number:032x}")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[float, Line]]:
    return [each for record in caplog.records for each in record.__dict__["requests"]]


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "handletime.requests")


def test_requests_are_logged_together_soon_after_in_order_each_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    async def three() -> None:
        log = RequestLog()
        for number in range(3):
            log.add(line(number))
            await asyncio.sleep(0.005)
        assert not caplog.records
        await asyncio.sleep(2 * EVERY_S)

    begun = time.time()
    asyncio.run(three())
    assert len(caplog.records) == 1
    assert [each for _, each in logged(caplog)] == [line(number) for number in range(3)]
    times = [at for at, _ in logged(caplog)]
    assert begun <= times[0] < times[1] < times[2] < begun + EVERY_S


def test_many_do_not_wait_for_the_time(caplog: pytest.LogCaptureFixture) -> None:
    async def many() -> None:
        log = RequestLog()
        for number in range(MOST):
            log.add(line(number))

    asyncio.run(many())
    assert len(logged(caplog)) == MOST


def test_none_is_lost_when_the_loop_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def ending() -> None:
        log = RequestLog()
        log.add(line(0))
        log.close()
        log.add(line(1))

    asyncio.run(ending())
    assert [each for _, each in logged(caplog)] == [line(0), line(1)]


def test_requests_are_not_wanted_where_less_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert RequestLog().wanted
    caplog.set_level(logging.WARNING, "handletime.requests")
    assert not RequestLog().wanted


def test_each_request_is_a_line_of_its_own_in_either_form() -> None:
    record = logging.LogRecord("handletime.requests", logging.INFO, "", 0, "2 requests", None, None)
    record.requests = [(0.0, line(0)), (1.5, line(1))]
    first, second = JsonLines().format(record).split("\n")
    assert first.startswith(
        '{"time":"1970-01-01T00:00:00.000Z","level":"info","logger":"handletime.requests","request":{'
    )
    assert second.startswith('{"time":"1970-01-01T00:00:01.500Z"')
    assert TextLines().format(record).split("\n") == [
        f"1970-01-01T00:00:00.000Z INFO    handletime.requests: {line(0)}",
        f"1970-01-01T00:00:01.500Z INFO    handletime.requests: {line(1)}",
    ]
