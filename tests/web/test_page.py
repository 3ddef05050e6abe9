"""What a page says of an error: in its own words what a program is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Request, Response

from handletime.answers.labels import Labels
from handletime.api.errors import Refused
from handletime.api.trace import begin
from handletime.errors import Forbidden, NotHere, NotNow, TooMany
from handletime.store.budget import Budget
from handletime.web.page import Page
from handletime.web.sessions import Sessions
from tests.api.world import World


@pytest.fixture
def page() -> Iterator[Page]:
    with Sessions() as sessions:
        yield Page(World().service, sessions, Labels())


def answered(page: Page, error: Exception) -> tuple[Response[bytes], str, str]:
    """The answer, its heading and its causes."""
    headers = [(b"accept", b"text/html"), (b"host", b"x")]
    scope: Any = {"type": "http", "method": "GET", "scheme": "http", "path": "/open", "query_string": b""}
    scope |= {"headers": headers, "path_template": "/open", "state": {}}
    begin(scope, "GET", Budget(1 << 20, "memory").share())
    answer = page.answer_to(Request(scope), error)
    text = answer.content.decode()
    heading = re.search("<h1>(.*?)</h1>", text)
    return answer, heading[1] if heading else "", "".join(re.findall("<li>(.*?)</li>", text))


@pytest.mark.parametrize(
    ("error", "status", "heading", "cause"),
    [
        (Refused(404, "There is no such conversation."), 404, "There is no such conversation.", ""),
        (Forbidden("No."), 403, "This key may not see this page", "No."),
        (TooMany(wait_s=7), 429, "Too many requests", "Try it again in 7 s."),
        (NotHere("No events."), 404, "Not at this server", "No events."),
        (NotNow("It compiles."), 503, "Not able to answer now", "It compiles."),
        (MemoryError(), 503, "Not able to answer now", "Not able to answer now; come again later."),
    ],
)
def test_an_error_has_a_heading_and_a_cause(
    page: Page, error: Exception, status: int, heading: str, cause: str
) -> None:
    answer, said, causes = answered(page, error)
    assert (answer.status_code, said, causes) == (status, heading, cause)
    wait = {429: "7", 503: "1"}.get(status)
    assert answer.headers.get("Retry-After") == wait
    assert ('http-equiv="refresh"' in answer.content.decode()) == (status == 503)


def test_what_is_broken_has_a_number_that_is_in_the_log(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    answer, heading, cause = answered(page, ValueError("a secret of the inside"))
    assert (answer.status_code, heading) == (500, "Something is broken here")
    code = cause.removeprefix("The log says what, under ").removesuffix(".")
    assert len(code) == 36
    assert code in caplog.text
    assert b"secret" not in answer.content
