"""The look-up of domains (http-api.md 4).

Covers: api/service.
"""

from __future__ import annotations

import pytest

from handletime.api.service import ApiSettings
from tests.api.world import World


@pytest.mark.parametrize("name", ["agentActivityDomain", "AGENTACTIVITYDOMAIN", "agentactivitydomain"])
def test_a_service_is_found_in_any_letter_case_without_a_key(world: World, name: str) -> None:
    answer = world.client.get(f"/api/account/acme/service/{name}/baseURI.json?version=1.0")
    assert answer.status_code == 200
    host = world.url.removeprefix("http://")
    assert answer.json() == {"service": "agentActivityDomain", "account": "acme", "baseURI": host}


def test_all_services_are_objects_of_the_same_three_keys(world: World) -> None:
    answer = world.client.get("/api/account/nobody/service/baseURI.json").json()
    assert list(answer) == ["baseURIs"]
    assert [entry["service"] for entry in answer["baseURIs"]] == ["agentActivityDomain", "leDataReporting"]
    for entry in answer["baseURIs"]:
        name = entry["service"]
        assert world.client.get(f"/api/account/nobody/service/{name}/baseURI.json").json() == entry


@pytest.mark.parametrize("name", ["agentVep", "msgEwtAPI", "asyncMessagingEnt", "x", "9", "A" * 64])
def test_every_service_is_here(world: World, name: str) -> None:
    """Older wrappers look up others before anything else, and end where that fails."""
    answer = world.client.get(f"/api/account/acme/service/{name}/baseURI.json?version=1.0")
    assert answer.status_code == 200
    assert answer.json() == {"service": name, "account": "acme", "baseURI": world.url.removeprefix("http://")}


@pytest.mark.parametrize(
    "path",
    [
        "acme/service/not-one/baseURI.json",
        f"acme/service/{'A' * 65}/baseURI.json",
        "acme/service/a%2Fb/baseURI.json",
        "acme/service/%C3%A4/baseURI.json",
        "a%2Fb/service/baseURI.json",
        "!/service/baseURI.json",
    ],
)
def test_a_name_that_is_none_and_an_impossible_account_are_a_404(world: World, path: str) -> None:
    assert world.client.get(f"/api/account/{path}").status_code == 404


@pytest.mark.parametrize(
    ("given", "shown"),
    [("reports.example.com", "reports.example.com"), ("a.example:8443", "a.example:8443"), ("[::1]:80", "[::1]:80")],
)
def test_the_host_is_the_one_the_client_asked(world: World, given: str, shown: str) -> None:
    answer = world.client.get("/api/account/acme/service/leDataReporting/baseURI.json", headers={"Host": given})
    assert answer.json()["baseURI"] == shown


@pytest.mark.parametrize("given", ["evil/x", "a b", "user@host", "x:99999999", "<script>"])
def test_a_host_that_is_none_is_not_repeated(world: World, given: str) -> None:
    answer = world.client.get("/api/account/acme/service/leDataReporting/baseURI.json", headers={"Host": given})
    if answer.status_code == 200:
        assert answer.json()["baseURI"] == world.url.removeprefix("http://")
    else:
        assert answer.status_code == 400


def test_what_anybody_says_to_have_forwarded_does_not_count(world: World) -> None:
    answer = world.client.get(
        "/api/account/acme/service/leDataReporting/baseURI.json", headers={"X-Forwarded-Host": "evil.example"}
    )
    assert "evil" not in answer.text


def test_a_trusted_proxy_is_believed_and_a_public_url_before_all() -> None:
    path = "/api/account/acme/service/leDataReporting/baseURI.json"
    forwarded = {"X-Forwarded-Host": "evil.example, seen.example", "X-Forwarded-Proto": "https"}
    with World(ApiSettings(trusted_proxies=("127.0.0.0/8",))) as world:
        assert world.client.get(path, headers=forwarded).json()["baseURI"] == "seen.example"
        world.get("/api/account/acme/agent-segments?source=x", **forwarded)
        assert world.authenticator.asked[-1].url == "https://seen.example/api/account/acme/agent-segments?source=x"
    with World(ApiSettings(public_url="https://reports.example.com:444/", trusted_proxies=("127.0.0.1",))) as world:
        assert world.client.get(path, headers=forwarded).json()["baseURI"] == "reports.example.com:444"
        links = world.get("/api/account/acme/agent-segments?source=x").json()["pagination"]["references"]
        assert links[0]["href"].startswith("https://reports.example.com:444/api/account/acme/agent-segments?")


def test_the_path_of_a_public_url_is_part_of_where_it_is() -> None:
    with World(ApiSettings(public_url="https://example.com:444/hand/time/")) as world:
        one = world.client.get("/api/account/acme/service/agentVep/baseURI.json").json()
        assert one == {"service": "agentVep", "account": "acme", "baseURI": "example.com:444/hand/time"}
        listed = world.client.get("/api/account/acme/service/baseURI.json").json()["baseURIs"]
        assert [each["baseURI"] for each in listed] == ["example.com:444/hand/time"] * 2
