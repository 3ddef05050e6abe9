"""Chatwoot's REST API is asked in a bounded way, and what is wrong with its answers is said.

Covers: sources/asking, sources/chatwoot/client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from handletime.errors import InputError, NotNow
from handletime.sources.chatwoot import client as asking
from handletime.sources.chatwoot.client import Client, Webhook
from tests.sources.chatwoot_stories import START
from tests.sources.chatwoot_stub import TOKEN, Chatwoot, Server, serving

HOOK = "https://handletime.example.com/api/account/acme/sources/chatwoot"


@pytest.fixture
def chatwoot() -> Chatwoot:
    made = Chatwoot()
    made.create(42, START)
    for index in range(230):
        made.incoming(42, START + 1000 * index)
    return made


@pytest.fixture
def server(chatwoot: Chatwoot) -> Iterator[Server]:
    with serving(chatwoot) as server:
        yield server


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """One that does not pause."""
    for name in ("PACE_S", "PAUSE_S"):
        monkeypatch.setattr(asking, name, 0.0)
    with Client(server.url, TOKEN, 1) as client:
        yield client


def test_all_messages_of_a_conversation_come_page_by_page(client: Client, server: Server, chatwoot: Chatwoot) -> None:
    found = [msgspec.json.decode(raw)["id"] for raw in client.messages(42)]
    assert found == [message.id for message in chatwoot.conversations[42].messages]
    assert [each.partition("after=")[2] for each in server.asked] == ["0", "1100", "1200"]


def test_more_messages_than_a_conversation_may_have_are_not_asked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MESSAGES_MAX", 200)
    assert len(list(client.messages(42))) == 200


def test_a_page_beyond_the_last_is_empty(client: Client) -> None:
    assert [each.id for each in client.conversations(1).conversations] == [42]
    assert client.conversations(2) == ([], 1)


@pytest.mark.parametrize(
    ("account", "minutes"),
    [
        ({}, None),
        ({"auto_resolve_duration": 30}, 30 * 24 * 60),
        ({"auto_resolve_duration": None, "settings": {"auto_resolve_after": 90}}, 90),
        ({"settings": {}}, None),
    ],
    ids=str,
)
def test_when_an_account_resolves_by_itself(
    client: Client, chatwoot: Chatwoot, account: dict[str, Any], minutes: int | None
) -> None:
    chatwoot.auto_resolve = account
    assert client.auto_resolve_minutes() == minutes


def test_a_webhook_is_found_by_its_address_whatever_its_secret(client: Client) -> None:
    assert client.webhook(HOOK) is None
    made = client.make_webhook(HOOK)
    assert client.webhook(HOOK) == made == client.mend_webhook(made)
    assert client.webhook(HOOK + "2") is None
    assert Webhook(1, HOOK + "?secret=made-up%2B").address_secret() == "made-up+"


def failing(server: Server, *answers: tuple[int, dict[str, str]]) -> None:
    """Lets the next requests be answered so, one after another; all others as always."""
    left = list(answers)
    server.before = lambda _target: (*left.pop(0), b"made up") if left else None


def test_what_is_not_answered_is_asked_for_again(client: Client, server: Server) -> None:
    failing(server, (429, {"Retry-After": "0"}), (500, {}), (503, {"Retry-After": "x"}))
    assert client.conversations(1).total == 1
    assert len(server.asked) == 4
    failing(server, *[(502, {})] * 20)
    with pytest.raises(NotNow, match=r"does not answer /conversations \(502\), 6 times in a row"):
        client.conversations(1)


def test_what_changes_something_is_asked_for_once(client: Client, server: Server, chatwoot: Chatwoot) -> None:
    failing(server, (500, {}))
    with pytest.raises(InputError, match=r"refuses /webhooks \(500\)"):
        client.make_webhook(HOOK)
    assert (len(server.asked), chatwoot.webhooks) == (1, [])


def test_a_webhook_that_is_not_taken_is_said(client: Client) -> None:
    client.make_webhook(HOOK)
    with pytest.raises(InputError, match=r"refuses /webhooks \(422\): it does not take what is asked for"):
        client.make_webhook(HOOK)


@pytest.mark.parametrize(
    ("status", "headers", "content", "said"),
    [
        (401, {}, b"made up", r"refuses /webhooks \(401\): it lets only administrators do this"),
        (
            302,
            {"Location": "https://elsewhere.example.com/made up"},
            b"",
            r"elsewhere to elsewhere.example.com \(302\)",
        ),
        (302, {}, b"", r"leads elsewhere \(302\)"),
        (200, {}, b"<html>made up", "does not answer /webhooks as Chatwoot does: JSON is malformed"),
        (200, {}, b'{"payload": "made up"}', r"Expected `object`, got `str` - at `\$.payload`"),
        (200, {}, b"[" * 100_000, "does not answer /webhooks as Chatwoot does"),
        (200, {}, b" " * 1_000_001, "answers /webhooks with more than"),
    ],
    ids=["token", "elsewhere", "nowhere", "html", "shape", "deep", "large"],
)
def test_an_answer_that_is_none_is_refused_without_repeating_it(
    client: Client,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    content: bytes,
    said: str,
) -> None:
    monkeypatch.setattr(asking, "ANSWER_MAX", 1_000_000)
    server.before = lambda _target: (status, headers, content)
    with pytest.raises(InputError, match=said) as refused:
        client.webhook(HOOK)
    assert "made up" not in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert len(server.asked) == 1


def test_nobody_there_is_said_at_once(server: Server) -> None:
    server.shutdown()
    server.server_close()
    with Client(server.url, TOKEN, 1) as client, pytest.raises(InputError, match="cannot be reached"):
        client.auto_resolve_minutes()


@pytest.mark.parametrize(
    "url", ["example.com", "ftp://x.com", "https://a:b@x.com", "https://x/?y", "http://[", "http://x:99999"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no address of a Chatwoot"):
        Client(url, TOKEN, 1)


@pytest.mark.parametrize("token", ["", "made\nup", "mäde"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InputError, match="the token is empty, or holds characters that none has"):
        Client("https://example.com", token, 1)
