"""Who is asking: Bearer and OAuth 1.0a, signed by clients that know nothing of the server."""

import base64
import hmac
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256, Client
from rich.pretty import pretty_repr

from handletime.api.auth import AUTHORIZATION_MAX, NONCE_MAX, URL_MAX, Authenticator, AuthRequest, authorize
from handletime.errors import Forbidden, Unauthorized
from handletime.keys.keys import Keys, NewKey, Permission, create, list_keys, revoke
from handletime.keys.sidefile import SideFile

SECOND = 1_795_165_200
NOW = SECOND * 1000
HOUR = 3_600_000
URL = "https://contact.example/api/account/local/agent-segments?source=test&v=1"
ADVICE = "the%20oauth_token%20is%20unacceptable%20to%20the%20Service%20Provider"
WRONG = f"oauth_problem=token_rejected&oauth_problem_advice={ADVICE}"


class Server:
    """An authenticator with its side file, one key, and a clock that stands where it is put."""

    def __init__(self, folder: Path, new: NewKey) -> None:
        self.now_ms = NOW
        self.new = new
        self.side = SideFile(folder)
        self.authenticator = Authenticator(self.side, Keys(self.side), self)

    def now(self) -> int:
        return self.now_ms

    def key(self, account: str = "local", *permissions: Permission, expires_ms: int | None = None) -> NewKey:
        return create(self.side, account, permissions or ("handle-time",), expires_ms, clock=self)

    def ask(self, authorization: str | list[str] | None, url: str = URL, method: str = "GET") -> str:
        """The id of the key that was found."""
        return self.authenticator.authenticate(AuthRequest(method, url, authorization)).id

    def refusal(self, authorization: str | list[str] | None, url: str = URL, method: str = "GET") -> Unauthorized:
        with pytest.raises(Unauthorized) as refused:
            self.ask(authorization, url, method)
        return refused.value

    def problem(self, authorization: str | list[str] | None, url: str = URL, method: str = "GET") -> str:
        return parse_qs(self.refusal(authorization, url, method).reason)["oauth_problem"][0]

    def nonces(self) -> int:
        with self.side.reading() as db:
            return int(db.execute("SELECT count(*) FROM nonces").fetchall()[0][0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NewKey]:
    """A folder with one key: made once, because it is synced, and copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    with SideFile(folder) as side:
        return folder, create(side, "local", ["handle-time"])


@pytest.fixture
def server(tmp_path: Path, made: tuple[Path, NewKey]) -> Iterator[Server]:
    folder, new = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    server = Server(tmp_path, new)
    with server.side:
        yield server


# A client, read from RFC 5849 and sharing nothing with the server, beside oauthlib's own


def encode(text: str) -> str:
    """RFC 5849 3.6."""
    return quote(text, safe="-._~")


def signature(
    new: Mapping[str, str], method: str, url: str, parameters: Mapping[str, str], digest: str = "sha1"
) -> str:
    """RFC 5849 3.4."""
    parts = urlsplit(url)
    pairs = [(key, value) for key, value in parameters.items() if key != "realm"]
    for pair in filter(None, parts.query.split("&")):
        key, _, value = pair.partition("=")
        pairs.append((unquote(key.replace("+", " ")), unquote(value.replace("+", " "))))
    normal = "&".join(f"{key}={value}" for key, value in sorted((encode(k), encode(v)) for k, v in pairs))
    default = {"http": ":80", "https": ":443"}[parts.scheme.lower()]
    place = f"{parts.scheme.lower()}://{parts.netloc.lower().removesuffix(default)}{parts.path or '/'}"
    base = "&".join(map(encode, (method.upper(), place, normal)))
    secret = f"{encode(new['app_secret'])}&{encode(new['access_token_secret'])}"
    return base64.b64encode(hmac.digest(secret.encode(), base.encode(), digest)).decode()


def header(parameters: Mapping[str, str], separator: str = ", ") -> str:
    return "OAuth " + separator.join(f'{encode(key)}="{encode(value)}"' for key, value in parameters.items())


def signed(
    new: NewKey,
    url: str = URL,
    method: str = "GET",
    *,
    algorithm: str = "HMAC-SHA1",
    leave_out: str = "",
    **others: str,
) -> str:
    """An Authorization header; `others` are further parameters, or other values (`oauth_` left out)."""
    parameters = {
        "realm": "",
        "oauth_consumer_key": new.app_key,
        "oauth_token": new.access_token,
        "oauth_signature_method": algorithm,
        "oauth_timestamp": str(SECOND),
        "oauth_nonce": f"{time.perf_counter_ns()}",
        "oauth_version": "1.0",
        **{f"oauth_{key}": value for key, value in others.items()},
    }
    parameters.pop(leave_out, None)
    digest = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}.get(algorithm, "sha1")
    secrets = {"app_secret": new.app_secret, "access_token_secret": new.access_token_secret}
    return header({**parameters, "oauth_signature": signature(secrets, method, url, parameters, digest)})


def signed_by_oauthlib(new: NewKey, url: str, algorithm: str = SIGNATURE_HMAC_SHA1) -> str:
    client = Client(
        new.app_key,
        new.app_secret,
        new.access_token,
        new.access_token_secret,
        signature_method=algorithm,
        timestamp=str(SECOND),
    )
    return str(client.sign(url)[1]["Authorization"])


def test_the_tests_client_signs_as_the_rfc_does() -> None:
    parameters = {
        "realm": "Photos",
        "oauth_consumer_key": "dpf43f3p2l4k3l03",
        "oauth_token": "nnch734d00sl2jdk",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "137131202",
        "oauth_nonce": "chapoH",
    }
    secrets = {"app_secret": "kd94hf93k423kf44", "access_token_secret": "pfkkdhi9sl3r4s00"}
    url = "http://photos.example.net/photos?file=vacation.jpg&size=original"
    assert signature(secrets, "GET", url, parameters) == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


# Bearer


def test_a_bearer_token_is_enough(server: Server) -> None:
    for scheme in ("Bearer ", "bearer ", "BEARER   "):
        assert server.ask(scheme + server.new.token) == server.new.id
    assert server.ask([f"Bearer {server.new.token} "]) == server.new.id


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer x", "Bearer ht_0", "Bearer é", "Bearer \udcff"])
def test_a_wrong_token_is_refused(server: Server, header: str) -> None:
    assert server.refusal(header).reason == WRONG


@pytest.mark.parametrize("authorization", [None, [], "", "  "])
def test_without_a_header_it_is_told_what_is_missing(server: Server, authorization: str | list[str] | None) -> None:
    refused = server.refusal(authorization)
    assert parse_qs(refused.reason) == {
        "oauth_problem": ["parameter_absent"],
        "oauth_problem_advice": ["a required parameter wasn't received: Authorization"],
    }
    assert refused.message == "A required parameter wasn't received: Authorization."
    assert "Bearer realm=" in refused.challenge
    assert "error=" not in refused.challenge


def test_the_header_is_sent_once_and_is_of_a_known_kind(server: Server) -> None:
    token = f"Bearer {server.new.token}"
    assert server.problem([token, token]) == "parameter_rejected"
    assert server.problem("Digest dXNlcjpwYXNz") == "parameter_rejected"
    assert server.problem("Bearer " + "x" * AUTHORIZATION_MAX) == "parameter_rejected"


# HTTP Basic, for tools that keep only user names and passwords


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("user", ["", "token", "anybody at all", "acme\\ä", "€" * 100])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_token_is_the_password_of_whatever_user(server: Server, user: str, method: str) -> None:
    given = basic(user, server.new.token)
    assert server.ask(given, method=method) == server.new.id
    assert server.ask(given.replace("Basic ", "bASIC  "), method=method) == server.new.id


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "get", ""])
def test_only_reading_takes_it(server: Server, method: str) -> None:
    refused = server.refusal(basic("user", server.new.token), method=method)
    assert parse_qs(refused.reason)["oauth_problem"] == ["parameter_rejected"]
    assert "Basic" not in refused.reason


@pytest.mark.parametrize(
    "password", ["", "x", "ht_0", "é", "\0", f"ht_{'0' * 12}_{'0' * 64}", f"ht_{'0' * 12}_{'0' * 64}:", ":"]
)
def test_a_wrong_password_is_a_wrong_token(server: Server, password: str) -> None:
    wrong, basic_wrong = server.refusal("Bearer x"), server.refusal(basic(server.new.token, password))
    assert (basic_wrong.reason, basic_wrong.message, basic_wrong.challenge) == (
        wrong.reason,
        wrong.message,
        wrong.challenge,
    )


@pytest.mark.parametrize(
    "packed",
    [
        "",
        "x",
        "=",
        "dXNlcg",
        base64.b64encode(b"no colon").decode(),
        base64.b64encode(b"\xff:\xff").decode(),
        "dXNl cjpw",
        "dXNlcjpw*",
        "é",
        "\udcff",
    ],
)
def test_what_is_no_basic_is_told_so(server: Server, packed: str) -> None:
    refused = server.refusal(f"Basic {packed}")
    assert parse_qs(refused.reason)["oauth_problem"] == ["parameter_rejected"]


# OAuth 1.0a: what holds

URLS = [
    "http://localhost/api/account/local/agent-segments",
    "http://localhost:8080/api/account/local/agent-segments?source=test",
    "http://localhost:80/api?a=b",
    "https://contact.example:443/api?a=b",
    "https://contact.example:8443/api?a=b",
    "HTTPS://Contact.Example/api?a=b",
    "http://127.0.0.1:8080/api?a=b",
    "http://[::1]:8080/api?a=b",
    "https://contact.example",
    "https://contact.example?a=b",
    "https://contact.example/a/?",
    "https://contact.example/a;b=c/d;e?f",
    "https://contact.example/api?from=2026-11-20T09:00:00%2B03:00&to=2026-11-21T09:00:00.000Z",
    "https://contact.example/api?from=2026-11-20T09:00:00+03:00",
    "https://contact.example/api?q=a%20b&q=a+b&q=&q",
    "https://contact.example/api?skillIds=3&skillIds=1&skillIds=2&SKILLIDS=0",
    "https://contact.example/api?q=%C3%A4%E2%82%AC%F0%9F%99%82&%C3%A4=1",
    "https://contact.example/api?agentIds%5B%5D=2&agentIds%5B%5D=1&agentIds%5b%5d=%5B",
    "https://contact.example/api?q=%26%3D%25%2F%3F%23&q=~-._*'()!",
    "https://contact.example/api?path=/year=2026/month=11/sequences.1.gz",
    "https://contact.example/api?path=%2Fyear%3D2026%2Fmonth%3D11",
    "https://contact.example/api/%C3%A4%20b%2Fc?q=1",
    "https://contact.example/api?realm=a&token=b&nonce=c",
]


@pytest.mark.parametrize("algorithm", [SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256])
@pytest.mark.parametrize("url", URLS)
def test_a_signed_request_is_let_in(server: Server, url: str, algorithm: str) -> None:
    for method in ("GET", "POST", "get", "HEAD"):
        assert server.ask(signed(server.new, url, method, algorithm=algorithm), url, method) == server.new.id
    assert server.ask(signed_by_oauthlib(server.new, url, algorithm), url) == server.new.id


RAW = ['?q=a"b', "?q=[1]{2}|^`<>", "?q=ä€", "?agentIds[]=2&agentIds%5B%5D=1", "?q=100%", "?q=%zz&r=1%", "/ä?q=a\\b"]


@pytest.mark.parametrize("rest", RAW)
def test_what_should_have_been_escaped_is_signed_as_if_it_were(server: Server, rest: str) -> None:
    url = f"https://contact.example/api{rest}"
    path, _, query = url.partition("?")
    escaped = f"{quote(path, safe=':/')}?{query}"
    assert server.ask(signed(server.new, escaped), url) == server.new.id


@pytest.mark.parametrize(
    "nonce",
    [
        "a",
        "7d8f3e4a",
        "2c8a1f4e-9f0b-4c57-8d3b-6f5f2b1f9a77",
        "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        "a/b+c=d&e%f",
        'with "quotes", commas and spaces',
        "realm",
        "x" * NONCE_MAX,
    ],
)
def test_a_nonce_may_be_anything_printable(server: Server, nonce: str) -> None:
    assert server.ask(signed(server.new, nonce=nonce)) == server.new.id
    assert server.problem(signed(server.new, nonce=nonce)) == "nonce_used"


def test_the_same_nonce_may_come_at_another_second_and_with_another_key(server: Server) -> None:
    other = server.key()
    assert server.ask(signed(server.new, nonce="n")) == server.new.id
    assert server.ask(signed(server.new, nonce="n", timestamp=str(SECOND + 1))) == server.new.id
    assert server.ask(signed(other, nonce="n")) == other.id


def test_a_clock_that_is_put_forward_and_back_lets_no_nonce_in_again(server: Server) -> None:
    again = signed(server.new, nonce="n")
    assert server.ask(again) == server.new.id
    server.now_ms += 15 * 60_000
    for turn in range(3):
        assert server.ask(signed(server.new, nonce=f"{turn}", timestamp=str(SECOND + 900))) == server.new.id
    server.now_ms -= 15 * 60_000
    assert server.problem(again) == "nonce_used"
    # Whoever signs anew is let in.
    assert server.ask(signed(server.new, nonce="m", timestamp=str(SECOND + 1))) == server.new.id


@pytest.mark.parametrize("shift", [-300, -299, 0, 299, 300])
def test_a_timestamp_within_five_minutes_holds(server: Server, shift: int) -> None:
    assert server.ask(signed(server.new, timestamp=str(SECOND + shift))) == server.new.id


def spelled(kind: str, text: str) -> str:
    """The same header, written as other clients do."""
    scheme, _, rest = text.partition(" ")
    match kind:
        case "no spaces":
            return f"{scheme} {rest.replace(', ', ',')}"
        case "tabs and spaces":
            return f"{scheme}\t{rest.replace(', ', ' ,  ')} "
        case "no quotes":
            return f"{scheme} {rest.replace(chr(34), '')}"
        case "scheme in small letters":
            return f"oauth {rest}"
        case "empty elements":
            return f"{scheme} ,{rest.replace(', ', ', , ')},"
        case "realm with commas and quotes":
            return f'{scheme} realm="a, \\"b\\" = c", {rest.replace("realm=" + chr(34) * 2 + ", ", "")}'
        case _:
            return f"{scheme} {rest.replace('%2B', '+').replace('%3D', '=').replace('%2F', '/')}"


@pytest.mark.parametrize(
    "kind",
    [
        "no spaces",
        "tabs and spaces",
        "no quotes",
        "scheme in small letters",
        "empty elements",
        "realm with commas and quotes",
        "signature not escaped",
    ],
)
def test_a_header_may_be_written_in_many_ways(server: Server, kind: str) -> None:
    assert server.ask(spelled(kind, signed(server.new))) == server.new.id


def test_further_oauth_parameters_are_signed_and_else_ignored(server: Server) -> None:
    url = URL.replace("https", "http")
    text = signed(server.new, url, "POST", body_hash="2jmj7l5rSw0yVb/vlWAYkK/YBwk=", callback="ä b")
    assert server.ask(text, url, "POST") == server.new.id
    assert server.ask(signed(server.new, leave_out="oauth_version")) == server.new.id
    assert server.ask(signed(server.new, leave_out="realm")) == server.new.id


# OAuth 1.0a: what does not hold


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", URL),
        ("GET", URL.replace("https", "http")),
        ("GET", URL.replace("contact.example", "contact.example:8443")),
        ("GET", URL.replace("contact", "other")),
        ("GET", URL.replace("local", "another")),
        ("GET", URL.replace("source=test", "source=tesT")),
        ("GET", URL.replace("&v=1", "")),
        ("GET", URL + "&v=1"),
        ("GET", URL + "&realm=x"),
        ("GET", URL + "&" + "x"),
        ("GET", URL + "#&limit=500"),
        ("GET", URL.replace("/agent", "//agent")),
    ],
)
def test_what_was_changed_after_signing_is_refused_and_uses_up_no_nonce(server: Server, method: str, url: str) -> None:
    text = signed(server.new)
    assert server.refusal(text, url, method).reason == WRONG
    assert server.nonces() == 0
    assert server.ask(text) == server.new.id
    assert server.nonces() == 1


def test_a_parameter_of_the_header_cannot_be_changed_either(server: Server) -> None:
    text = signed(server.new, nonce="first", callback="there")
    assert server.refusal(text.replace("first", "other")).reason == WRONG
    assert server.refusal(text.replace(str(SECOND), str(SECOND + 1))).reason == WRONG
    assert server.refusal(text.replace("HMAC-SHA1", "HMAC-SHA256")).reason == WRONG
    assert server.refusal(text.replace("there", "elsewhere")).reason == WRONG
    assert server.ask(text) == server.new.id


@pytest.mark.parametrize("algorithm", ["PLAINTEXT", "RSA-SHA1", "RSA-SHA256", "HMAC-SHA512", "hmac-sha1", "none"])
def test_other_signature_methods_are_refused(server: Server, algorithm: str) -> None:
    plain = f"{server.new.app_secret}&{server.new.access_token_secret}"
    assert server.problem(signed(server.new, algorithm=algorithm)) == "signature_method_rejected"
    assert server.problem(signed(server.new, algorithm=algorithm, signature=plain)) == "signature_method_rejected"


@pytest.mark.parametrize("name", ["consumer_key", "token", "signature_method", "timestamp", "nonce"])
def test_a_missing_or_empty_parameter_is_named(server: Server, name: str) -> None:
    advice = [f"a required parameter wasn't received: oauth_{name}"]
    for text in (signed(server.new, leave_out=f"oauth_{name}"), signed(server.new, **{name: ""})):
        told = parse_qs(server.refusal(text).reason)
        assert told == {"oauth_problem": ["parameter_absent"], "oauth_problem_advice": advice}


@pytest.mark.parametrize("header", ["OAuth", "OAuth ", "OAuth realm=x", "OAuth ,,,"])
def test_all_that_is_missing_is_named(server: Server, header: str) -> None:
    advice = parse_qs(server.refusal(header).reason)["oauth_problem_advice"][0]
    assert advice.count("oauth_") == 6


@pytest.mark.parametrize(
    "timestamp",
    [
        str(SECOND - 301),
        str(SECOND + 301),
        str(SECOND * 1000),
        "0",
        "-1",
        f"+{SECOND}",
        f" {SECOND}",
        f"{SECOND}.0",
        f"{str(SECOND)[:9]}_{str(SECOND)[9:]}",
        "١٧٦٣٦٢٩٢٠٠",
        "nan",
        "9" * 200,
    ],
)
def test_a_timestamp_is_seconds_within_five_minutes(server: Server, timestamp: str) -> None:
    refused = server.refusal(signed(server.new, timestamp=timestamp))
    assert "oauth_problem=timestamp_refused" in refused.reason
    assert str(SECOND) in refused.reason


@pytest.mark.parametrize("nonce", ["x" * (NONCE_MAX + 1), "a\nb", "a\0b", "ä", "\x7f"])
def test_a_nonce_of_another_form_is_refused(server: Server, nonce: str) -> None:
    assert server.problem(signed(server.new, nonce=nonce)) == "parameter_rejected"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + ', oauth_nonce="again"',
        lambda text: text + ', oauth%5Fnonce="again"',
        lambda text: text + ", nonsense",
        lambda text: text + ', scope="all"',
        lambda text: text + ', oauth_x="',
        lambda text: text + ' oauth_x="a" oauth_y="b"',
        lambda text: text + ', oauth_x="%FF"',
        lambda text: text + ', ä="b"',
        lambda text: text.replace('nonce="', 'nonce="\udcff'),
        lambda text: text.replace(",", ";"),
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_refused(server: Server, change: Callable[[str], str]) -> None:
    assert server.problem(change(signed(server.new))) == "parameter_rejected"
    assert server.nonces() == 0


@pytest.mark.parametrize("query", ["oauth_token=x", "%6Fauth_nonce=x", "a=b&oauth_anything"])
def test_oauth_parameters_in_the_query_are_refused(server: Server, query: str) -> None:
    url = f"https://contact.example/api?{query}"
    assert server.problem(signed(server.new, url), url) == "parameter_rejected"
    assert server.ask(f"Bearer {server.new.token}", url) == server.new.id


def test_another_version_and_a_url_without_end_are_refused(server: Server) -> None:
    assert server.problem(signed(server.new, version="2.0")) == "version_rejected"
    assert server.problem(signed(server.new), URL + "&x=" + "x" * URL_MAX) == "parameter_rejected"


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a:port/b",
        "http://a:99999/b",
        "/only/a/path",
        "",
        "http://",
        "http://\udcff/",
        "http://℀/",
    ],
)
def test_a_host_that_is_none_is_refused_like_a_wrong_key(server: Server, url: str) -> None:
    assert server.refusal(signed(server.new), url).reason == WRONG


def test_every_refusal_can_be_read_as_a_form_and_as_a_header(server: Server) -> None:
    refused = server.refusal(signed(server.new, nonce="x" * 200))
    advice = "the oauth_nonce must be 1 to 128 printable ASCII characters"
    assert refused.reason == f"oauth_problem=parameter_rejected&oauth_problem_advice={quote(advice, safe='')}"
    assert refused.challenge == (
        'OAuth realm="handletime", oauth_problem="parameter_rejected", '
        f'oauth_problem_advice="{quote(advice, safe="")}", Bearer realm="handletime"'
    )
    assert str(refused) == refused.message == "The oauth_nonce must be 1 to 128 printable ASCII characters."


# Replay


def test_of_fifty_equal_requests_at_once_one_is_let_in(server: Server) -> None:
    text = signed(server.new)
    ready = threading.Barrier(50)

    def ask(_: int) -> str:
        ready.wait()
        try:
            return server.ask(text)
        except Unauthorized as refused:
            return parse_qs(refused.reason)["oauth_problem"][0]

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(ask, range(50)))
    assert sorted(answers) == sorted([server.new.id, *["nonce_used"] * 49])


def test_a_request_is_not_let_in_again_after_kill_9(server: Server, tmp_path: Path) -> None:
    text = signed(server.new)
    code = """if True:
        import sys, time
        from pathlib import Path
        from handletime.api.auth import Authenticator, AuthRequest
        from handletime.keys.keys import Keys
        from handletime.keys.sidefile import SideFile
        folder, url, header, second = sys.argv[1:]
        side = SideFile(Path(folder))
        class At:
            def now(self):
                return int(second) * 1000
        key = Authenticator(side, Keys(side), At()).authenticate(AuthRequest("GET", url, header))
        print(key.id, flush=True)
        time.sleep(60)
        """
    command = [sys.executable, "-c", code, str(tmp_path), URL, text, str(SECOND)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == server.new.id
        process.kill()
    assert server.problem(text) == "nonce_used"


def test_a_nonce_is_remembered_for_as_long_as_its_timestamp_is_accepted(server: Server) -> None:
    texts = [signed(server.new, timestamp=str(SECOND + shift)) for shift in (-300, 0, 300)]
    for text in texts:
        server.ask(text)
    for seconds in range(0, 700, 10):
        server.now_ms = NOW + seconds * 1000
        assert {server.problem(text) for text in texts} <= {"nonce_used", "timestamp_refused"}
        server.ask(signed(server.new, timestamp=str(SECOND + seconds)))
    assert server.nonces() < 40


# Which keys, accounts and permissions


def without_place(refused: Unauthorized) -> tuple[str, str, str]:
    return refused.reason, refused.message, refused.challenge


def test_every_wrong_key_is_answered_alike(server: Server) -> None:
    revoked, expired, other = server.key(), server.key(expires_ms=NOW + HOUR), server.key("other")
    revoke(server.side, revoked.id)
    mixed = NewKey(
        other.id,
        other.account,
        other.permissions,
        None,
        None,
        None,
        other.token,
        other.app_key,
        other.app_secret,
        server.new.access_token,
        server.new.access_token_secret,
    )
    secrets = "ht_000000000000_" + "0" * 64, "0" * 32, "1" * 64, "2" * 32, "3" * 64
    unknown = NewKey("x", "local", (), None, None, None, *secrets)
    server.now_ms = NOW + HOUR
    stamp = str(SECOND + 3600)
    answers = [
        server.refusal(text)
        for key in (revoked, expired, unknown)
        for text in (f"Bearer {key.token}", signed(key, timestamp=stamp))
    ]
    answers.append(server.refusal(signed(mixed, timestamp=stamp)))
    answers.append(server.refusal(signed(server.new, timestamp=stamp, consumer_key="?" * 300)))
    for token in (other.access_token, "0" * 32, "ä" * 300):
        answers.append(server.refusal(signed(server.new, timestamp=stamp, token=token)))
    for account in ("other", "nobody"):
        with pytest.raises(Unauthorized) as refused:
            authorize(
                server.authenticator.authenticate(AuthRequest("GET", URL, f"Bearer {server.new.token}")),
                account,
                "ingest",
            )
        answers.append(refused.value)
    assert {without_place(answer) for answer in answers} == {
        (
            WRONG,
            "The key is wrong, revoked, expired or not for this account, or the signature does not fit.",
            'OAuth realm="handletime", oauth_problem="token_rejected", '
            f'oauth_problem_advice="{ADVICE}", Bearer realm="handletime", error="invalid_token"',
        )
    }
    assert server.nonces() == 0


def test_a_revoked_key_signs_no_more_from_the_next_request_on(server: Server) -> None:
    server.ask(signed(server.new))
    revoke(server.side, server.new.id)
    assert server.problem(signed(server.new)) == "token_rejected"
    assert server.problem(f"Bearer {server.new.token}") == "token_rejected"


@pytest.mark.parametrize("has", ["handle-time", "operations", "ingest", "admin"])
@pytest.mark.parametrize("needs", ["handle-time", "operations", "ingest", "admin"])
def test_a_key_may_what_it_has_the_permission_for(server: Server, has: Permission, needs: Permission) -> None:
    new = server.key("local", has)
    key = server.authenticator.authenticate(AuthRequest("GET", URL, f"Bearer {new.token}"))
    if has in (needs, "admin"):
        authorize(key, "local", needs)
    else:
        with pytest.raises(Forbidden, match=f"lacks the permission {needs}"):
            authorize(key, "local", needs)
    with pytest.raises(Unauthorized):
        authorize(key, "LOCAL", needs)


def test_the_use_of_a_key_is_noted(server: Server) -> None:
    server.ask(signed(server.new))
    assert [info.last_used for info in list_keys(server.side)] == [datetime.fromtimestamp(SECOND, UTC)]


# Silence


def test_no_secret_is_in_errors_logs_or_reprs(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    new = server.new
    good, bad = signed(new), signed(new).replace("%3D", "0").replace('signature="', 'signature="0')
    said = [server.ask(good)]
    for text in (good, bad, f"Bearer {new.token}0", signed(new, nonce="ä"), [f"Bearer {new.token}"] * 2):
        refused = server.refusal(text)
        said += [refused.reason, refused.message, refused.challenge, repr(refused), str(refused.__cause__)]
        request = AuthRequest("GET", URL, text)
        said += [repr(request), str(request), pretty_repr(request)]
    key = server.authenticator.authenticate(AuthRequest("GET", URL, f"Bearer {new.token}"))
    said += [repr(key), pretty_repr(key), repr(server.authenticator), caplog.text]
    secrets = (new.token, new.app_key, new.app_secret, new.access_token, new.access_token_secret)
    assert [secret for secret in secrets if secret in "\n".join(said)] == []


# Whatever is sent

WORDS = ["OAuth ", "Bearer ", "oauth_", "consumer_key", "token", "nonce", "signature", "_method", "realm", "ht_"]
MARKS = ["%C3", "%00", '="', '"', "=", ", ", ",", "\\", "%", "\t", " ", "\udcff", "ä"]
PIECES = st.sampled_from([*WORDS, *MARKS, str(SECOND)])
TEXTS = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=60).map("".join),
    st.builds("{}{}".format, st.sampled_from(["OAuth ", "Bearer "]), st.text()),
)


def answer_of(server: Server, text: str, url: str) -> str:
    """The key's id, or the challenge."""
    try:
        return server.ask(text, url)
    except Unauthorized as refused:
        return refused.challenge


def mutated(text: str, changes: list[tuple[int, str]]) -> str:
    for place, piece in changes:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + place % 3 :]
    return text


@given(
    header=TEXTS,
    changes=st.lists(st.tuples(st.integers(0, 600), st.one_of(PIECES, st.characters())), min_size=1, max_size=5),
    query=st.text(max_size=30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_whatever_the_header_says_it_is_let_in_or_refused(
    server: Server, header: str, changes: list[tuple[int, str]], query: str
) -> None:
    for text in (header, mutated(signed(server.new), changes), mutated(f"Bearer {server.new.token}", changes)):
        began = time.perf_counter()
        answer = answer_of(server, text, f"{URL}&{query}")
        assert time.perf_counter() - began < 5
        assert answer == server.new.id or (
            answer.startswith("OAuth realm=") and answer.isascii() and answer.isprintable()
        )


@given(query=st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_query_can_be_signed_by_any_client(server: Server, query: str) -> None:
    url = f"https://contact.example/api?q={quote(query.encode(errors='surrogatepass').decode(errors='replace'))}"
    assert server.ask(signed(server.new, url), url) == server.new.id
    assert server.ask(signed_by_oauthlib(server.new, url), url) == server.new.id


@pytest.mark.parametrize(
    "piece", [" ", ",", ", ,", "a=b,", 'oauth_a="', '"\\', "\\", 'oauth_a="b",', "oauth_a", "=", "%C3", "a=b "]
)
def test_a_long_header_takes_no_longer(server: Server, piece: str) -> None:
    text = "OAuth " + piece * ((AUTHORIZATION_MAX - 6) // len(piece))
    began = time.perf_counter()
    server.refusal(text)
    server.refusal(text * 100)
    assert time.perf_counter() - began < 2


def test_a_long_query_takes_no_longer(server: Server) -> None:
    url = "https://contact.example/api?" + "a=1&" * ((URL_MAX - 100) // 4)
    text = signed(server.new, url)
    began = time.perf_counter()
    assert server.ask(text, url) == server.new.id
    assert time.perf_counter() - began < 2
