"""Values at the edges, of every parameter, cookie and field of a form: whatever they are, nothing breaks.

The server is a real one. In its store are conversations of now, of the first days of the calendar, and of 1969.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from handletime.web.page import COOKIE, FORM_COOKIE
from tests.crash.nursery import Nursery
from tests.signed_in import ACCOUNT, signed_in

LIMIT_S: Final = 120
API: Final = (
    f"/api/account/{ACCOUNT}/agent-segments?source=test",
    f"/api/account/{ACCOUNT}/agent-segments/breakdown?source=test",
    f"/api/account/{ACCOUNT}/agent-segments/files?source=test",
    f"/api/account/{ACCOUNT}/agent-segments/{ACCOUNT}:7:first:AAAAAAAAAAAAAAAAAAAAAA/explain?",
    f"/api/account/{ACCOUNT}/conversations/first/explain?",
    f"/operations/api/account/{ACCOUNT}/msgagentsegments?v=1",
    f"/operations/api/account/{ACCOUNT}/msgskillsegments?v=1",
    f"/operations/api/account/{ACCOUNT}/msgconversation?v=1&skillIds=all",
    f"/operations/api/account/{ACCOUNT}/msgqueuehealth?v=2",
    f"/api/account/{ACCOUNT}/report?interval=month&by=skill",
    f"/api/account/{ACCOUNT}/report?compare=previous&fill=zero&interval=day",
    f"/api/account/{ACCOUNT}/metrics?",
    f"/api/account/{ACCOUNT}/due?",
    f"/operations/api/account/{ACCOUNT}/msgqueuehealth/current?v=2",
    f"/api/account/{ACCOUNT}/service/leDataReporting/baseURI.json?",
    "/openapi.json?",
    "/healthz?",
)
PAGES: Final = (
    *("/?", "/open?", "/open/data?", "/now/data?", "/agents?", "/skills?", "/segments?", "/segments.csv?"),
    *("/agents.csv?", "/skills.xlsx?", "/segments.xlsx?", "/skill-segments.csv?", "/history.csv?", "/open.csv?"),
    *("/peers.csv?", "/at-once.xlsx?", "/weekdays.csv?", "/transfers.xlsx?", "/slowest.csv?", "/now-skills.xlsx?"),
    *("/agent-day?agent=7", "/agent-day.csv?agent=7", "/agent-day-stretches.xlsx?agent=7"),
    *("/why-events.csv?conversation=first", "/why-waits.xlsx?conversation=first", "/why-units.csv?"),
    *("/skill-segments?", "/why?conversation=first", "/why?", "/sign-in?", "/nowhere?"),
)
"""Without the stream, which says nothing that `/now/data` does not say."""

EDGES: Final = (
    *("0001-01-01T00:00:00", "0001-01-01T00:00:00.001", "0001-01-01T23:59", "0001-01-02T00:00:00", "0001-12-31T23:59"),
    *("0002-01-01T00:00:00", "0002-01-03T00:00:00", "1900-01-01T00:00:00", "1969-12-31T23:59:59.999"),
    *("1970-01-01T00:00:00", "2011-12-30T12:00:00", "2026-03-29T02:30:00", "2026-10-25T02:30:00"),
    *("9998-12-31T23:59:59", "9998-12-30T00:00:00", "9999-12-30T00:00:00", "9999-12-31T00:00:00"),
    *("9999-12-31T23:59:59", "9999-12-31T23:59:59.999", "9999-12-31T23:59:59.9999999", "0000-01-01T00:00:00"),
)
OFFSETS: Final = ("Z", "+00:00", "-00:00", "+14:00", "-12:00", "+23:59", "-23:59", " 01:00", "", "+24:00", "z")
MILLIS: Final = (
    *(946_684_799_999, 946_684_800_000, 253_402_300_799_999, 253_402_300_800_000, 253_370_764_800_000),
    *(-62_135_596_800_000, 0, -1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, 10**40),
)
TIMES: Final = st.one_of(
    st.builds(lambda text, offset: text + offset, st.sampled_from(EDGES), st.sampled_from(OFFSETS)),
    st.sampled_from(MILLIS).map(str),
    st.integers(min_value=946_684_800_000, max_value=253_402_300_799_999).map(str),
)
ZONES: Final = st.sampled_from(
    [
        *("UTC", "America/New_York", "Pacific/Apia", "Pacific/Kiritimati", "Etc/GMT+12", "Etc/GMT-14", "Asia/Kolkata"),
        *("Africa/Monrovia", "Asia/Manila", "Europe/Berlin", "Australia/Lord_Howe", "nowhere"),
    ]
)
NUMBERS: Final = st.sampled_from([*map(str, MILLIS), "5", "7", "60", "1440", "44640", "1", "-0", "00", "100000", "x"])
STRANGE: Final = st.one_of(
    st.sampled_from(
        [
            *("%ED%A0%80", "%ED%B0%80%ED%A0%80", "%FF", "%00", "a%00b", "%F0%9F%98%80", "%E2%82%AC", "%E4", "%C2%85"),
            *("%0d%0aX-Injected:%20yes", "%0A", "%E2%80%A8", "%", "%zz", "+", "%2B", "..%2F..%2Fetc", "'%22%3E%3Cb%3E"),
            *("a" * 20_000, "%F0%9F%98%80" * 2_000, "9" * 5_000, "%D9%A3", "%EF%BC%97", "$account", "=1", "a,b,,c"),
        ]
    ),
    st.text(max_size=20).map(lambda text: quote(text, safe="", errors="surrogatepass")),
    st.binary(max_size=20).map(lambda content: quote(content, safe="")),
)
KINDS: Final[dict[str, st.SearchStrategy[str]]] = {
    **dict.fromkeys(
        ("from", "to", "fromMillis", "toMillis"), TIMES.map(lambda text: quote(text, safe=" ").replace(" ", "+"))
    ),
    "tz": ZONES,
    "interval": st.sampled_from(["hour", "day", "week", "5", "15", "30", "60", "1440", "auto", "0", "-5"]),
    "last": st.sampled_from(["1h", "8h", "24h", "today", "yesterday", "7d", "31d"]),
    "format": st.sampled_from(["csv", "json"]),
    "sort": st.sampled_from(["Date", "Agent:desc", "Conversation:asc", "start", "-handleTime", "x"]),
    "userType": st.sampled_from(["human", "bot", "all"]),
    "history": st.just("yes"),
    "metrics": st.sampled_from(["all", "totalHandleTime"]),
    **dict.fromkeys(
        ("fromOffset", "toOffset"), st.sampled_from(["%2B02:00", "+01:00", "-99:99", "%2B9999999", "-0:0:0"])
    ),
    **dict.fromkeys(("timeframe", "limit", "offset", "long", "page", "perPage"), NUMBERS),
    **dict.fromkeys(
        ("agent", "skill", "group", "AgentId", "SkillId", "GroupId", "agentIds", "skillIds", "groupIds"), NUMBERS
    ),
    **dict.fromkeys(
        ("source", "ConversationId", "EmployeeId", "conversation", "segment", "at", "order", "known"), STRANGE
    ),
    **dict.fromkeys(("path", "next", "ended", "search", "tab", "self", "millis", "status", "v"), STRANGE),
}
"""What parameters are given; each may be something strange instead."""


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Some parameters, mostly a span of time, mostly of values at the edges of what they may be."""
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=4, unique=True))
    span = draw(
        st.sampled_from([(), ("from", "to"), ("to",), ("from",), ("to", "timeframe"), ("from", "to", "interval", "tz")])
    )
    fields = []
    for name in (*span, *(name for name in names if name not in span)):
        kind = STRANGE if draw(st.integers(0, 9)) == 0 else KINDS[name]
        fields.append(f"&{name}={draw(kind)}")
    return "".join(fields)


class Site(NamedTuple):
    """A server, a key of it, and the cookie of a browser that is signed in."""

    host: str
    port: int
    token: str
    cookie: str
    log: Path

    def ask(
        self, method: str, target: str, body: bytes = b"", /, **headers: str | bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer. Headers are sent as they are given, `_` as `-`."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LIMIT_S)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def told(self) -> str:
        """The end of the log."""
        return self.log.read_text()[-6000:]


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("edges") / "store"
    # Hundreds of sign-ins a second go beyond what one address may ask.
    with signed_in(nursery, folder, "Pacific/Apia", "--address-rate", "0") as here:
        here.ended(["now"])
        # In the first minute of the calendar, in its first days, before 1970.
        times = {
            "first": "0001-01-01T00:00:{:02}Z",
            "early": "0001-01-02T12:00:{:02}Z",
            "old": "1969-12-31T23:59:{:02}Z",
        }
        here.bring(
            *(
                {"conversationId": name, "eventId": str(place), "time": form.format(place), **event}
                for name, form in times.items()
                for place, event in enumerate(EVENTS)
            )
        )
        url = here.client.base_url
        yield Site(url.host, url.port or 80, here.token, here.cookie, here.log)


EVENTS: Final[list[dict[str, object]]] = [
    {"type": "opened", "skillId": 3, "source": "=1;2"},
    {"type": "assigned", "agentId": 7},
    {"type": "message", "sentBy": "consumer"},
    {"type": "focused", "agentId": 7},
    {"type": "message", "sentBy": "agent"},
    {"type": "closed", "closedBy": "agent"},
]


def answers(site: Site, place: str, query: str, accept: str) -> None:
    status, headers, body = site.ask(
        "GET", place + query, Accept=accept, Authorization=f"Bearer {site.token}", Cookie=f"{COOKIE}={site.cookie}"
    )
    assert status < 500, (place, query, accept, body[:300], site.told())
    assert "x-injected" not in {name.lower() for name in headers}


@pytest.mark.parametrize("interval", ["hour", "day", "week", "1440"])
@pytest.mark.parametrize("method", ["msgagentsegments", "msgskillsegments", "msgconversation", "msgqueuehealth"])
def test_the_first_and_the_last_day_of_the_calendar(site: Site, method: str, interval: str) -> None:
    for end in ("0001-01-01T00:00:00Z", "0001-01-20T00:00:00Z", "9999-12-31T23:59:59.999Z", "253402300799999"):
        for span in ("timeframe=1440&", "from=0001-01-12T00:00:00Z&", ""):
            query = f"v=1&{span}to={end}&interval={interval}&tz=America/New_York"
            for form in ("json", "csv"):
                answers(site, f"/operations/api/account/{ACCOUNT}/{method}?", f"{query}&format={form}", "*/*")


def test_no_name_of_a_parameter_breaks_the_page_of_an_error(site: Site) -> None:
    for name in ("path", "self", "changes", "request", "template", "status", "asker", "view", "class", "page"):
        for page in PAGES:
            answers(site, page, f"&{name}=a&{name}=b&group=x&tz=UTC", "text/html")


def test_weeks_of_many_years_on_a_page(site: Site) -> None:
    for page in PAGES:
        for zone in ("Europe/Berlin", "Pacific/Apia", "UTC"):
            answers(site, page, f"&from=2008-09-28T00:00&to=2026-11-20T00:00&interval=week&tz={zone}", "text/html")
        # Until 1972 its clocks were ahead by so many seconds.
        answers(site, page, "&from=1960-01-03T00:00&to=1978-01-01T00:00&tz=Africa/Monrovia", "text/html")


def test_the_first_and_the_last_day_on_a_page(site: Site) -> None:
    for page in PAGES:
        for span in ("from=0001-01-01T00:00&to=0001-01-02T00:00", "to=253402300799999", "from=9999-12-31T23:59"):
            for zone in ("America/New_York", "Asia/Tokyo"):
                answers(site, page, f"&{span}&interval=day&tz={zone}", "text/html")


@pytest.mark.parametrize("name", ["Cookie", "Accept", "Accept-Encoding", "Authorization", "Host", "X-Forwarded-For"])
@pytest.mark.parametrize(
    "place", ["/", "/sign-in", "/agents?tz=UTC", f"/api/account/{ACCOUNT}/agent-segments?source=a"]
)
def test_no_header_breaks_a_page_or_a_method(site: Site, place: str, name: str) -> None:
    for value in (
        b"\xff\xfe",
        "\U0001f600".encode(),
        b"\xff=\xff",
        b"a" * 20_000,
        b'="\\777"',
        b"OAuth \xe4",
        b"Basic \xff",
    ):
        given: dict[str, str | bytes] = {"Cookie": f"{COOKIE}={site.cookie}", "Accept": "text/html", name: value}
        status, _, body = site.ask("GET", place, **given)
        assert status < 500, (value, body[:300], site.told())


@pytest.mark.parametrize(
    "cookie", ["%F0%9F%98%80", "%ED%A0%80", "%0d%0aX-Injected:%20yes", "a" * 43 + "%E2%82%AC", "\xe4", ""]
)
def test_no_cookie_breaks_the_sign_in(site: Site, cookie: str) -> None:
    for path in ("/sign-in", "/", "/agents?tz=UTC"):
        status, headers, body = site.ask(
            "GET", path, Accept="text/html", Cookie=f"{FORM_COOKIE}={cookie}; {COOKIE}={cookie}".encode("latin-1")
        )
        assert status < 400, (body[:300], site.told())
        assert "x-injected" not in headers
        if path == "/sign-in":
            # What was given is none of ours: another one comes.
            assert re.match(rf"{FORM_COOKIE}=[\w-]{{43}};", headers["set-cookie"])


def sign_in(site: Site, **fields: str) -> tuple[int, Mapping[str, str], bytes]:
    """What comes back for the form of the sign-in, with some of its fields changed, as they stand on the wire."""
    _, headers, page = site.ask("GET", "/sign-in")
    token = re.search(rb'name="form_token" value="([^"]+)"', page)
    assert token is not None
    given = {"form_token": token[1].decode(), "key": site.token, "next": "/", "tz": "UTC", **fields}
    body = "&".join(f"{name}={value}" for name, value in given.items()).encode()
    form = "application/x-www-form-urlencoded"
    return site.ask("POST", "/sign-in", body, Cookie=headers["set-cookie"].partition(";")[0], Content_Type=form)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        *[
            ("/%E2%82%AC", "/%E2%82%AC"),
            ("/%C3%A4", "/%C3%A4"),
            ("/%25C3%25A4", "/%C3%A4"),
            ("/why%3Fa=%C3%A4", "/why?a=%C3%A4"),
        ],
        *[("/%F0%9F%98%80", "/%F0%9F%98%80"), ("/a%0d%0aX-Injected: yes", "/"), ("/%2500", "/%00"), ("/%00", "/")],
        *[
            ("//evil.example", "/"),
            ("/%5Cevil.example", "/"),
            ("https://evil.example", "/"),
            ("", "/"),
            ("/a b", "/a%20b"),
        ],
    ],
)
def test_where_a_sign_in_leads_is_ascii_and_here(site: Site, given: str, where: str) -> None:
    status, headers, body = sign_in(site, next=given)
    assert (status, headers.get("location")) == (303, where), (body[:300], site.told())
    assert "x-injected" not in {name.lower() for name in headers}


def test_where_somebody_wanted_to_go_is_kept_over_a_sign_in(site: Site) -> None:
    for wanted in ("/why?conversation=\u00e4\u20ac&tz=UTC", "/why?conversation=%C3%A4&tz=UTC"):
        connection = http.client.HTTPConnection(site.host, site.port, timeout=LIMIT_S)
        # Raw, as some clients send it.
        head = f"GET {wanted} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        connection.connect()
        connection.sock.sendall(head.encode())
        answer = http.client.HTTPResponse(connection.sock)
        answer.begin()
        place = str(answer.getheader("location"))
        connection.close()
        assert answer.status == 303
        assert place.isascii()
        after = place.partition("next=")[2]
        assert sign_in(site, next=after)[1]["location"] == quote(wanted, safe="/?=&%")


@settings(max_examples=60, database=None)
@given(STRANGE, st.sampled_from(["form_token", "key", "next", "tz", "other"]))
def test_no_field_breaks_the_sign_in(site: Site, value: str, name: str) -> None:
    status, headers, body = sign_in(site, **{name: value})
    assert status < 500, (body[:300], site.told())
    assert "x-injected" not in {each.lower() for each in headers}


ACCEPTED: Final = st.sampled_from(["*/*", "text/html", "text/csv", "application/json"])


def hammer(site: Site, examples: int, number: int) -> None:
    @settings(max_examples=examples, database=None, suppress_health_check=[HealthCheck.too_slow])
    @seed(number)
    @given(st.sampled_from(API + PAGES), queries(), ACCEPTED)
    def test(place: str, query: str, accept: str) -> None:
        answers(site, place, query, accept)

    test()


def test_no_value_breaks_a_method_or_a_page(site: Site, seed: int) -> None:
    hammer(site, 400, seed)


@pytest.mark.long
def test_no_value_breaks_a_method_or_a_page_for_minutes(site: Site, seed: int) -> None:
    hammer(site, 20_000, seed)
