"""`/metrics` of a real server: what it counts, in which form, and that no account is in it.

Covers: api/trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from handletime.api import prometheus
from tests.cli.test_serve import INTAKE, SEGMENTS, Server, bearer, lines, messages, new_key, serving

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("metrics") / "store"
    key = new_key(folder, "admin")
    # Else a test may get what was made before its requests, where others have asked often in that second.
    with serving(folder, constants={"handletime.api.prometheus.MADE_A_SECOND": 1_000_000}) as running:
        yield running, key


def page(server: Server) -> Series:
    """All series."""
    text = httpx.get(f"{server.url}/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in plain_text(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series.get((f"handletime_{name}", frozenset(labels.items())), 0.0)


def test_events_and_transactions_are_counted(server: tuple[Server, dict[str, Any]]) -> None:
    running, key = server
    before = page(running)
    body = lines([*messages("one", 20), *messages("two", 10)])
    for _ in range(2):
        assert httpx.post(running.url + INTAKE, content=body, headers=bearer(key)).status_code == 200
    refused = httpx.post(running.url + INTAKE, content=b"{}", headers=bearer(key))
    assert refused.status_code == 400
    # Whoever asks has what is in the journal folded.
    assert httpx.get(running.url + SEGMENTS, headers=bearer(key)).status_code == 200
    after = page(running)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("ingest_events_total", result="accepted") == 30
    assert more("ingest_events_total", result="duplicate") == 30
    assert more("ingest_requests_total") == 2
    assert more("journal_seconds_count") == 2
    assert more("commit_seconds_count") == 1
    assert more("commit_events_sum") == 30
    assert more("commit_conversations_sum") == 2
    assert value(after, "commit_seconds_sum") > 0
    route = "/api/account/{account}/events"
    assert more("request_seconds_count", route=route, status="200") == 2
    assert more("request_seconds_count", route=route, status="400") == 1
    assert value(after, "store_bytes", file="data") + value(after, "store_bytes", file="log") > 4096
    assert value(after, "store_problem") == 0
    assert value(after, "requests_under_way") == 1  # This one.
    assert (value(after, "ingest_waiting_requests"), value(after, "ingest_oldest_seconds")) == (0, 0)
    assert (value(after, "journal_events"), value(after, "journal_oldest_seconds")) == (0, 0)


def test_routes_are_templates_and_what_has_none_is_one(server: tuple[Server, dict[str, Any]]) -> None:
    running, key = server
    for path in ("/secret", "/api/account/acme/secret", "/%00", "/metrics/x"):
        assert httpx.get(running.url + path).status_code == 404
    httpx.get(running.url + SEGMENTS, headers=bearer(key))
    httpx.get(running.url + "/api/account/acme/agent-segments/acme:1:secret:0123456789012345678901/explain")
    series = page(running)
    assert value(series, "request_seconds_count", route="other", status="404") >= 4
    text = httpx.get(f"{running.url}/metrics").text
    assert "acme" not in text
    assert "secret" not in text
    labels = {name for _, named in series for name, _ in named}
    assert labels == {"route", "status", "result", "limit", "reason", "file", "version", "le"}


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "text/plain; version=0.0.4"),
        ("text/html", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ("text/plain; version=1.0.0", "text/plain; version=1.0.0"),
    ],
)
def test_the_form_is_what_accept_asks_for(server: tuple[Server, dict[str, Any]], accept: str, wanted: str) -> None:
    answer = httpx.get(f"{server[0].url}/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(wanted)
    parse = open_metrics if "openmetrics" in wanted else plain_text
    names = {family.name for family in parse(answer.text)}
    assert {"handletime_commit_seconds", "handletime_store_bytes", "process_resident_memory_bytes"} <= names


def test_two_servers_in_one_process_count_apart() -> None:
    from handletime.api.prometheus import Meters

    one, other = Meters(), Meters()
    one.checkpointed(1.0)
    assert one.registry.get_sample_value("handletime_checkpoint_seconds_count") == 1
    assert other.registry.get_sample_value("handletime_checkpoint_seconds_count") == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", SEGMENTS])
def test_a_head_is_answered_like_a_get_without_its_body(server: tuple[Server, dict[str, Any]], path: str) -> None:
    running, key = server
    head = httpx.head(running.url + path, headers=bearer(key))
    get = httpx.get(running.url + path, headers=bearer(key))
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    if path not in ("/metrics", SEGMENTS):  # Theirs change with time.
        assert head.headers["content-length"] == str(get.num_bytes_downloaded)
    same = [name for name in get.headers if name not in ("date", "x-request-id", "content-length")]
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]


def test_a_head_needs_a_key_too_and_is_no_post(server: tuple[Server, dict[str, Any]]) -> None:
    running, key = server
    assert httpx.head(running.url + SEGMENTS).status_code == 401
    refused = httpx.head(running.url + INTAKE, headers=bearer(key))
    assert refused.status_code == 405
    assert "POST" in refused.headers["allow"]
    wrong = httpx.post(running.url + SEGMENTS, headers=bearer(key))
    assert {"GET", "HEAD"} <= set(wrong.headers["allow"].split(", "))


def test_a_head_is_signed_as_a_head(server: tuple[Server, dict[str, Any]]) -> None:
    from oauthlib.oauth1 import Client

    running, key = server
    client = Client(key["appKey"], key["appSecret"], key["accessToken"], key["accessTokenSecret"])
    url, headers, _ = client.sign(running.url + SEGMENTS, "HEAD")
    assert httpx.head(url, headers=headers).status_code == 200


def test_it_is_made_only_so_often_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no key, and takes some milliseconds."""
    made: list[object] = []
    moment = [100.0]
    meters = prometheus.Meters()

    def encoder(accept: str) -> tuple[Callable[[object], bytes], str]:
        def encode(_: object) -> bytes:
            made.append(accept)
            return b"all"

        return encode, accept

    monkeypatch.setattr(prometheus, "choose_encoder", encoder)
    monkeypatch.setattr(prometheus, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    for _ in range(1000):
        assert meters.shown("text/plain") == (b"all", "")
    for number in range(1000):
        assert meters.shown(f"application/openmetrics-text; version={number}") == (b"all", OPEN_METRICS)
    assert len(made) == prometheus.MADE_A_SECOND + 1
    moment[0] += 1
    meters.shown("text/plain")
    assert len(made) == prometheus.MADE_A_SECOND + 2


@pytest.mark.parametrize("version", ["abc", "1.x", "", "=", '9"', "1.0.0+", "99999999999"])
def test_no_version_that_is_asked_for_breaks_it(version: str, server: tuple[Server, dict[str, Any]]) -> None:
    named = {"Accept": f"application/openmetrics-text; version={version}"}
    answer = httpx.get(f"{server[0].url}/metrics", headers=named)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(OPEN_METRICS)
    assert answer.text.endswith("# EOF\n")
