"""The proxies of docs/operations.md, as they stand there, in front of a real server.

Covers: api/paths.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx
import pytest
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client

from tests.cli.test_serve import bearer, certificate, example, lines, new_key, serving

OPERATIONS: Final = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
PUBLIC: Final = "https://reports.example.com"
SERVER: Final = "127.0.0.1:8080"
IDS: Final = ["plain", "shop/4711", "a b", "a+b", "100%", "%2F", "a%2Fb", "ä&?#=;", "[x]", "~-._!'()*,:@$"]
"""Ids of conversations; all of them are sent as they have to be in a path."""


def recipe(language: str, path: str) -> str:
    """The block of the docs for a public address with this path, or none."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", OPERATIONS, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if ("/handletime" in block) is bool(path))
    return str(found)


class Site(NamedTuple):
    """A server behind a proxy, as its clients see it: at `url`, which leads to the proxy's real address."""

    client: httpx.Client
    url: str
    key: dict[str, Any]

    def get(self, url: str, **headers: str) -> httpx.Response:
        """Asks for an address that the outside sees."""
        place = str(self.client.base_url).rstrip("/") + url.removeprefix(PUBLIC)
        return self.client.get(place, headers={"Host": "reports.example.com", **headers})

    def signed(self, url: str) -> httpx.Response:
        """The same, signed."""
        key = self.key
        client = Client(
            key["appKey"],
            key["appSecret"],
            key["accessToken"],
            key["accessTokenSecret"],
            signature_method=SIGNATURE_HMAC_SHA256,
        )
        return self.get(url, Authorization=client.sign(url)[1]["Authorization"])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((command, path), marks=(pytest.mark.requires_command(command), *more), id=command + path)
        for command, path, more in (
            ("nginx", "", ()),
            ("nginx", "/handletime", (pytest.mark.long,)),
            ("caddy", "", (pytest.mark.long,)),
            ("caddy", "/handletime", ()),
        )
    ],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    language, path = request.param
    tmp_path = tmp_path_factory.mktemp("site")
    folder = tmp_path / "store"
    key = new_key(folder, "admin")
    cert, cert_key = certificate(tmp_path)
    public = ["--public-url", PUBLIC + path, "--trusted-proxies", "127.0.0.1"]
    with serving(folder, *public) as server:
        events = [{**event, "conversationId": each} for each in IDS for event in example("01-one-answer")[0]]
        sent = httpx.post(f"{server.url}/api/account/acme/events", content=lines(events), headers=bearer(key))
        assert sent.status_code == 200
        port = free_port()
        text = recipe(language, path).replace(SERVER, server.url.removeprefix("http://"))
        command = (nginx if language == "nginx" else caddy)(tmp_path, text, port, cert, cert_key)
        with (tmp_path / "proxy.log").open("wb") as log:
            environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
            proxy = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            address = f"https://127.0.0.1:{port}"
            context = ssl.create_default_context(cafile=str(cert))
            with httpx.Client(base_url=address, verify=context, timeout=60) as client:
                await_proxy(client, path, proxy, tmp_path / "proxy.log")
                yield Site(client, PUBLIC + path, key)
        finally:
            proxy.terminate()
            proxy.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_proxy(client: httpx.Client, path: str, proxy: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        assert proxy.poll() is None, log.read_text()
        try:
            if client.get(f"{path}/healthz", headers={"Host": "reports.example.com"}).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def nginx(folder: Path, text: str, port: int, cert: Path, key: Path) -> list[str]:
    """The command that runs a recipe for nginx at a port, with nothing outside the folder."""
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;", text)
    text = re.sub(r"ssl_certificate \S+;", f"ssl_certificate {cert};", text)
    text = re.sub(r"ssl_certificate_key \S+;", f"ssl_certificate_key {key};", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {places}\n{text}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, text: str, port: int, cert: Path, key: Path) -> list[str]:
    """The command that runs a recipe for Caddy at a port."""
    names = f"https://reports.example.com:{port}, https://127.0.0.1:{port}"
    text = text.replace("reports.example.com {\n", f"{names} {{\n    bind 127.0.0.1\n    tls {cert} {key}\n")
    (folder / "Caddyfile").write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{text}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def test_ids_signatures_and_links_come_through(site: Site) -> None:
    token = {"Authorization": f"Bearer {site.key['token']}"}
    for each in IDS:
        path = f"{site.url}/api/account/acme/conversations/{quote(each, safe='')}/explain"
        for answer in (site.get(path, **token), site.signed(path)):
            assert answer.status_code == 200, (each, answer.text)
            assert answer.json()["conversationId"] == each
    query = f"source=test&limit=2&sort=Conversation:asc&from={quote(json_time(site, token), safe='')}"
    found: list[str] = []
    href = f"{site.url}/api/account/acme/agent-segments?{query}"
    while href:
        answer = site.signed(href)
        assert answer.status_code == 200, answer.text
        found += [segment["conversationId"] for segment in answer.json()["segments"]]
        links = {link["rel"]: link["href"] for link in answer.json()["pagination"]["references"]}
        assert all(link.startswith(f"{site.url}/api/account/acme/agent-segments?") for link in links.values())
        href = links.get("next", "")
    assert sorted(found) == sorted(IDS)


def json_time(site: Site, token: dict[str, str]) -> str:
    """The start of the default window, at an offset whose `+` has to be encoded."""
    shown = site.get(f"{site.url}/api/account/acme/agent-segments?source=test", **token).json()
    moment = str(shown["timeframe"]["startTime"])
    return moment.replace("Z", "+00:00")


def test_the_look_up_leads_to_the_methods_and_the_page_is_there(site: Site) -> None:
    shown = site.get(f"{site.url}/api/account/acme/service/agentVep/baseURI.json").json()
    assert f"https://{shown['baseURI']}" == site.url
    page = site.get(f"{site.url}/sign-in", Accept="text/html")
    assert page.status_code == 200
    for asset in re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg))"', page.text):
        assert site.get(PUBLIC + asset).status_code == 200
    onward = site.get(f"{site.url}/agents", Accept="text/html").headers["location"]
    assert onward.startswith(site.url.removeprefix(PUBLIC) + "/sign-in?")
    refused = site.get(f"{site.url}/api/account/acme/agent-segments?source=test")
    assert refused.status_code == 401
    assert set(refused.json()) == {"reason", "message"}


SPELLED: Final = [
    *("metrics", "/metrics", "//metrics", "metrics/", "metrics//", "metrics/.", "./metrics", "x/../metrics"),
    *("%6Detrics", "%6detrics", "%6D%65%74%72%69%63%73", "metrics%2F", "%2Fmetrics", "%2e/metrics", "x/%2E%2e/metrics"),
    *("Metrics", "metrics;a", "metrics%20", "metrics%00", "metrics%23", "metrics%3F", "metrics#a", "\\metrics"),
    *(
        "metrics%0d%0a",
        "metrics%0A",
        "%0Ametrics",
        "%20metrics",
        "metrics?a",
        "me%74rics/../metrics",
        "healthz/../metrics",
    ),
]
"""How somebody may ask for what a proxy should not show."""


def raw(site: Site, target: str) -> bytes:
    """The answer to a path that is sent as it stands."""
    address = site.client.base_url
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address.host, address.port or 443), 60) as plain,
        context.wrap_socket(plain, server_hostname="reports.example.com") as connection,
    ):
        head = f"GET {target} HTTP/1.1\r\nHost: reports.example.com\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_what_should_not_be_seen_is_not_however_it_is_spelled(site: Site) -> None:
    base = site.url.removeprefix(PUBLIC)
    for spelled in SPELLED:
        answer = raw(site, f"{base}/{spelled}")
        assert answer.split()[1] in (b"400", b"403", b"404"), (spelled, answer)
        assert b"handletime_" not in answer, spelled
    assert raw(site, f"{base}/healthz").split()[1] == b"200"
