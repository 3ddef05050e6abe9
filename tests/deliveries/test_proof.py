"""How a delivery proves itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest

from handletime.deliveries.proof import LATE_MAX_MS, Given, InAddress, Proof, Signature, Token, Wrong

NOW = 1_795_165_200_000
SECRET = "made-up-secret"  # noqa: S105
BODY = b'{"event":"message_created"}'
CHATWOOT = Signature(
    SECRET, "X-Chatwoot-Signature", signed="{timestamp}.{body}", timestamp_header="X-Chatwoot-Timestamp"
)
ZENDESK = Signature(
    SECRET,
    "X-Zendesk-Webhook-Signature",
    form="{base64}",
    signed="{timestamp}{body}",
    timestamp_header="X-Zendesk-Webhook-Signature-Timestamp",
)
INTERCOM = Signature(SECRET, "X-Hub-Signature", form="sha1={hex}", algorithm="sha1")


def holds(proof: Proof, headers: Mapping[str, str], body: bytes = BODY, secret: str = "") -> bool:
    named = {name.lower(): value for name, value in headers.items()}
    given = Given(lambda name: named.get(name.lower(), ""), secret)
    try:
        proof.check(given, NOW)
        proof.check_body(given, body)
    except Wrong as error:
        return SECRET in str(error)
    return True


def chatwoots(timestamp: str, secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    made = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Chatwoot-Signature": f"sha256={made}", "X-Chatwoot-Timestamp": timestamp}


def test_chatwoots_signature() -> None:
    at = str(NOW // 1000)
    assert holds(CHATWOOT, chatwoots(at))
    assert not holds(CHATWOOT, chatwoots(at), BODY + b" ")
    assert not holds(CHATWOOT, chatwoots(at, "another-secret"))
    assert not holds(CHATWOOT, chatwoots(at) | {"X-Chatwoot-Timestamp": str(NOW // 1000 + 1)})
    assert not holds(CHATWOOT, {})
    assert not holds(CHATWOOT, {"X-Chatwoot-Timestamp": at})


@pytest.mark.parametrize("way", [-1, 1])
def test_a_signed_time_is_within_five_minutes(way: int) -> None:
    edge = NOW // 1000 + way * LATE_MAX_MS // 1000
    assert holds(CHATWOOT, chatwoots(str(edge)))
    assert not holds(CHATWOOT, chatwoots(str(edge + way)))


@pytest.mark.parametrize("time", ["", "soon", "1e9", "-5", "٣", "9" * 30, "1795165200.5"])
def test_a_time_that_is_none(time: str) -> None:
    assert not holds(CHATWOOT, chatwoots(time))


def test_zendesks_signature_has_its_time_as_text() -> None:
    time = "2026-11-20T09:00:00Z"
    made = base64.b64encode(hmac.new(SECRET.encode(), time.encode() + BODY, hashlib.sha256).digest()).decode()
    headers = {"X-Zendesk-Webhook-Signature": made, "X-Zendesk-Webhook-Signature-Timestamp": time}
    assert holds(ZENDESK, headers)
    assert not holds(ZENDESK, headers | {"X-Zendesk-Webhook-Signature-Timestamp": "2026-11-20T09:00:01Z"})


def test_a_signature_without_a_time() -> None:
    made = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    assert holds(INTERCOM, {"X-Hub-Signature": f"sha1={made}"})
    assert not holds(INTERCOM, {"X-Hub-Signature": made})


def test_a_token_in_a_header() -> None:
    token = Token(SECRET, "X-RocketChat-Livechat-Token")
    assert holds(token, {"X-RocketChat-Livechat-Token": SECRET})
    assert not holds(token, {"X-RocketChat-Livechat-Token": SECRET[:-1]})
    assert not holds(token, {})


def test_a_secret_in_the_address() -> None:
    assert holds(InAddress(SECRET), {}, secret=SECRET)
    assert not holds(InAddress(SECRET), {}, secret="")
    assert not holds(InAddress(SECRET), {}, secret="é")  # noqa: S106
