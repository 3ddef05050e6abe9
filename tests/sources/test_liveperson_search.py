"""LivePerson's search method is asked as its documents say, and whatever it answers is understood.

Covers: sources/liveperson/credentials, sources/liveperson/search.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from handletime.clock import DAY
from handletime.errors import InputError, NotNow
from handletime.sources.liveperson import search as module
from handletime.sources.liveperson.credentials import Bearer, Signed, credentials_of
from handletime.sources.liveperson.search import Query, Search, Window
from tests.sources.liveperson_stub import ACCOUNT, BEARER, KEY, Stub, answering, conversations, reply, serving

NOW = 1_794_900_000_000
QUERY = Query(Window(NOW - 20 * DAY, NOW))
PARTIAL = {"_metadata": {"count": 0, "shardsStatusResult": {"partialResult": True}}, "conversationHistoryRecords": []}
SECRETS = [*BEARER.values(), *KEY.values()]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub(conversations(random.Random(3), 250, NOW - 15 * DAY, NOW - DAY))
    made.now = NOW
    with serving(made):
        yield made
    assert made.refused == []


def asking(stub: Stub, given: Mapping[str, str] = BEARER, *, url: str | None = None) -> Search:
    key = Bearer(**given) if "bearer" in given else Signed(*given.values())
    return Search(ACCOUNT, key, url or stub.url)


@pytest.mark.parametrize("given", [BEARER, KEY], ids=["bearer", "oauth"])
def test_pages_come_in_order_with_either_credential(stub: Stub, given: dict[str, str]) -> None:
    stub.credentials = given
    with asking(stub, given) as search:
        pages = [search.page(QUERY, offset) for offset in (0, 100, 200, 300)]
    assert [len(page.records) for page in pages] == [100, 100, 50, 0]
    assert {page.total for page in pages} == {250}
    starts = [json.loads(bytes(record))["info"]["startTimeL"] for page in pages for record in page.records]
    assert starts == sorted(starts)
    (query, body), *_ = stub.asked
    assert query == {"offset": "0", "limit": "100", "sort": "start:asc", "source": "handletime"}
    assert body["start"] == {"from": QUERY.began.start, "to": NOW}
    assert body["status"] == ["OPEN", "CLOSE"]


@pytest.mark.parametrize("given", [BEARER, KEY], ids=["bearer", "oauth"])
@pytest.mark.parametrize(("status", "told"), [(401, "wrong, has run out"), (403, "may not read")])
def test_a_refused_credential_is_named_and_not_shown(stub: Stub, given: dict[str, str], status: int, told: str) -> None:
    stub.troubles = [answering(status)]
    with asking(stub, given) as search, pytest.raises(InputError, match=told) as error:
        search.page(QUERY, 0)
    assert ("bearer token" if given is BEARER else "API key") in str(error.value)
    assert not any(secret in str(error.value) + repr(search._credentials) for secret in SECRETS)


@pytest.mark.parametrize("name", KEY)
def test_one_wrong_value_of_the_four_is_refused(stub: Stub, name: str) -> None:
    stub.credentials = KEY
    with asking(stub, {**KEY, name: "x" * 32}) as search, pytest.raises(InputError, match="the API key"):
        search.page(QUERY, 0)


def closing(handler: BaseHTTPRequestHandler) -> bool:
    """Trouble: the connection ends without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def breaking_off(handler: BaseHTTPRequestHandler) -> bool:
    """Trouble: the answer ends in its middle."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"_metadata": {"count": 1}')
    return closing(handler)


TROUBLES = {
    "busy": (answering(429, Retry_After="0"), "busy or broken"),
    "busy without a number": (answering(429, Retry_After="Sun, 29 Nov 2026 12:00:00 GMT"), "busy or broken"),
    "broken": (answering(503, b"made up"), "busy or broken"),
    "no JSON": (answering(200, b"<html>made up</html>"), "does not answer with a page"),
    "another JSON": (answering(200, {"conversationHistoryRecords": {}}), "does not answer with a page"),
    "half of it": (answering(200, b'{"_metadata": {"count": 1}, "conversat'), "does not answer with a page"),
    "a part": (answering(200, PARTIAL), "partialResult"),
    "packed badly": (answering(200, b"made up", Content_Encoding="gzip"), "cannot be reached"),
    "no answer": (closing, "cannot be reached"),
    "broken off": (breaking_off, "cannot be reached"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_may_be_better_later_is_asked_again_and_told_in_the_end(stub: Stub, name: str) -> None:
    trouble, told = TROUBLES[name]
    stub.troubles = [trouble] * (module.TRIES - 1)
    with asking(stub) as search:
        assert len(search.page(QUERY, 0).records) == 100
        stub.troubles = [trouble] * module.TRIES
        with pytest.raises(NotNow, match=told) as error:
            search.page(QUERY, 0)
        assert "made up" not in str(error.value)
        assert search.page(QUERY, 0).total == 250


def test_an_answer_that_does_not_come_is_not_waited_for(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "TRIES", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with asking(stub, url=url) as search, pytest.raises(NotNow, match=r"cannot be reached \(ReadTimeout\)"):
            search.page(QUERY, 0)


def test_an_answer_has_a_limit(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_MAX", 10_000)
    with asking(stub) as search, pytest.raises(InputError, match="more than"):
        search.page(QUERY, 0)


@pytest.mark.parametrize(
    ("status", "told"), [(302, "sends elsewhere"), (400, "understand"), (404, "no such account"), (418, "refuses")]
)
def test_a_refusal_is_told_at_once(stub: Stub, status: int, told: str) -> None:
    stub.troubles = [answering(status, Location="http://127.0.0.1:9/")]
    with asking(stub) as search, pytest.raises(InputError, match=told):
        search.page(QUERY, 0)
    assert stub.troubles == []


def test_half_a_character_in_a_text_loses_no_page(stub: Stub) -> None:
    page = stub.answer({"limit": "1", "offset": "0", "sort": "start:asc"}, _body())
    page["conversationHistoryRecords"][0]["info"]["made up"] = "CUT"
    stub.troubles = [answering(200, json.dumps(page).replace("CUT", "\\ud83d").encode())]
    with asking(stub) as search:
        assert len(search.page(QUERY, 0).records) == 1


def _body() -> dict[str, object]:
    return {"start": {"from": NOW - 20 * DAY, "to": NOW}, "status": ["CLOSE"], "contentToRetrieve": []}


def test_the_host_is_looked_up_without_credentials(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOMAINS", stub.url)
    with Search(ACCOUNT, Bearer(**BEARER)) as search:
        assert search.page(QUERY, 0).total == 250
    with pytest.raises(InputError, match="no such account"):
        Search("another", Bearer(**BEARER))


@pytest.mark.parametrize("answer", [b"made up", {"baseURI": "a.example/path?x="}, {}])
def test_a_wrong_answer_to_the_look_up_is_told(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def do_get(handler: BaseHTTPRequestHandler) -> None:
        reply(handler, 200, answer)

    with serving(Stub([]), do_get=do_get) as stub:
        monkeypatch.setattr(module, "DOMAINS", stub.url)
        with pytest.raises((InputError, NotNow), match="host"):
            Search(ACCOUNT, Bearer(**BEARER))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.com", "in the clear"),
        ("ftp://example.com", "no address"),
        ("https://user:secret@example.com", "no address"),
        ("https://example.com?x=1", "no address"),
        ("https://example.com:x", "Port"),
        ("example.com", "no address"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Search(ACCOUNT, Bearer(**BEARER), url)


def test_an_account_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="letters and digits"):
        Search("a/../b", Bearer(**BEARER))


# --- credentials -------------------------------------------------------------------------------------------


def test_credentials_come_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    names = ["APP_KEY", "APP_SECRET", "ACCESS_TOKEN", "ACCESS_TOKEN_SECRET"]
    four = {f"HANDLETIME_LIVEPERSON_{name}": value for name, value in zip(names, KEY.values(), strict=True)}
    assert credentials_of(None, four) == Signed(*KEY.values())
    assert credentials_of(None, {"HANDLETIME_LIVEPERSON_BEARER": "abc", "PATH": "x"}) == Bearer("abc")
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(json.dumps(KEY))
    assert credentials_of(file, {}) == Signed(*KEY.values())
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        credentials_of(file, {})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"appKey": "a"},
        {**BEARER, **KEY},
        {**KEY, "more": "x"},
        {**KEY, "appKey": 7},
        {**KEY, "appKey": ""},
        {"bearer": "a\nb"},
        {"bearer": "ä"},
        [],
    ],
)
def test_credentials_that_are_none_are_refused_and_not_shown(given: object, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(json.dumps(given))
    with pytest.raises(InputError, match="LivePerson's credentials") as error:
        credentials_of(file, {})
    assert not any(secret in str(error.value) for secret in SECRETS)
