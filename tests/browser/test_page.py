"""The page in a real Chromium, over a real server: every view, filter and way down to the events.

Covers: web/routes, web/segments, web/tables.
"""

from __future__ import annotations

import csv
import io
import random
import re
import shlex
import zipfile
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from handletime.answers.clocks import Clocks, language_of
from handletime.answers.words import duration
from handletime.keys.keys import Permission
from tests.answers.test_words import BORDERS
from tests.browser.centre import HOSTILE, LABELS, Centre, ended_at, expected, opened_just_now
from tests.browser.conftest import Visitor, serious_findings
from tests.seeds import mostly_long

pytestmark = pytest.mark.requires_command("chromium")


def number(text: str | None) -> int:
    """A count as the page writes it."""
    return int((text or "").replace(",", ""))


def field(page: Page, label: str, *, exact: bool = True) -> Locator:
    """A field of the filters, where it can be seen: Period or More is opened for it."""
    found = page.get_by_role("form", name="Filters").get_by_label(label, exact=exact)
    if not found.is_visible():
        found.locator("xpath=ancestor::details").locator("summary").click()
    return found


def choose_period(page: Page, name: str) -> None:
    """Follows the link of a period, of those beneath the line too."""
    link = page.get_by_role("group", name="Period", exact=True).get_by_role("link", name=name, exact=True)
    if not link.is_visible():
        page.get_by_role("form", name="Filters").locator("summary").first.click()
    link.click()


def first_behind(page: Page) -> str:
    """A conversation's picture, from the list that is open."""
    return page.locator("a.why").first.get_attribute("href") or ""


# --- signing in ------------------------------------------------------------------------------------------------------


def test_a_key_opens_the_page_and_signing_out_closes_it(visitor: Visitor) -> None:
    page = visitor.open("/segments?last=7d")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fsegments%3Flast%3D7d$"))
    page.get_by_label("Key").fill("ht_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This key is wrong, revoked or expired.")
    visitor.wrong.clear()  # The browser reports the 401 itself.
    page.get_by_label("Key").fill(visitor.centre.keys["centre"].token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/segments\?last=7d&tz=Europe%2FBerlin$"))
    (cookie,) = visitor.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert visitor.centre.keys["centre"].token not in cookie["value"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert cookie["name"] not in {each["name"] for each in visitor.context.cookies()}
    answer = httpx.get(visitor.centre.url + "/now/data", cookies={cookie["name"]: cookie["value"]})
    assert answer.status_code == 401


def test_a_revoked_key_ends_its_sessions_where_they_are(visitor: Visitor) -> None:
    key = visitor.centre.new_key("centre")
    page = visitor.open("/agents?last=7d")
    page.get_by_label("Key").fill(key.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Agents", exact=True)).to_be_visible()
    visitor.centre.revoke(key)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("was revoked or has expired")
    page.get_by_label("Key").fill(visitor.centre.keys["centre"].token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/agents\?last=7d&tz=Europe%2FBerlin$"))


def test_a_key_that_is_revoked_while_the_page_is_open_is_told(visitor: Visitor) -> None:
    key = visitor.centre.new_key("golden")
    page = visitor.open("/")
    page.get_by_label("Key").fill(key.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#as-of")).to_be_visible()
    visitor.centre.revoke(key)
    expect(page.locator("#trouble")).to_contain_text("The session has ended")
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.wrong.clear()  # The browser reports the 401 itself.


def test_a_key_sees_the_pages_that_it_may(visitor: Visitor) -> None:
    cases: tuple[tuple[Permission, str, str], ...] = (
        ("handle-time", "/segments", "/"),
        ("operations", "/agents", "/segments"),
    )
    for permission, page_there, page_not in cases:
        key = visitor.centre.new_key("golden", permission)
        page = visitor.open("/sign-in")
        page.get_by_label("Key").fill(key.token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        expect(visitor.open(page_there).get_by_role("heading", level=1)).to_be_visible()
        expect(visitor.open(page_not).get_by_text("The key lacks the permission")).to_be_visible()
    page = visitor.open("/sign-in")
    page.get_by_label("Key").fill(visitor.centre.new_key("golden", "ingest").token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key may not read")
    visitor.wrong.clear()  # The browser reports 401 and 403 itself.


@pytest.mark.parametrize("after", ["//example.com/", "/\\example.com/", "https://example.com/", "javascript:alert(1)"])
def test_signing_in_never_leads_to_another_site(visitor: Visitor, after: str) -> None:
    page = visitor.open(f"/sign-in?next={quote(after, safe='')}")
    page.get_by_label("Key").fill(visitor.centre.keys["golden"].token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(visitor.centre.url + "/?tz=Europe%2FBerlin")


def test_every_answer_allows_the_page_what_it_needs_and_nothing_else(visitor: Visitor) -> None:
    page = visitor.sign_in("golden")
    scripts = page.locator("script[src]").evaluate_all("all => all.map(each => each.getAttribute('src'))")
    assert len(scripts) == 3
    for path in ("/", "/agents", "/segments", "/segments?last=never", "/why?conversation=none", "/sign-in", *scripts):
        headers = page.request.get(visitor.centre.url + path, headers={"Accept": "text/html"}).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("public, max-age=31536000, immutable" if path in scripts else "no-store")
    for path in ("/static/x/page.js", f"{scripts[0].rpartition('/')[0]}/../page.py", "/static/%2e%2e/page.py"):
        assert page.request.get(visitor.centre.url + path).status == 404
    served = page.request.get(visitor.centre.url + "/", headers={"Accept": "text/html"}).text()
    assert not re.search(r"<[^>]* style=|<style|<script(?![^>]* src=)|<[^>]* on[a-z]+=", served)


def test_a_form_from_elsewhere_changes_nothing(visitor: Visitor) -> None:
    visitor.sign_in("golden")
    (cookie,) = visitor.context.cookies()
    held = {cookie["name"]: cookie["value"]}
    for data in ({"next": "/"}, {"form_token": "0" * 64}):
        answer = httpx.post(visitor.centre.url + "/sign-out", data=data, cookies=held)
        assert answer.status_code == 403
    assert httpx.get(visitor.centre.url + "/now/data", cookies=held).status_code == 200


def test_a_link_from_another_site_opens_the_page(visitor: Visitor) -> None:
    visitor.sign_in()
    # Another site, as browsers see it: neither a script nor a form is involved, just a link.
    page = visitor.page
    other = visitor.centre.url.replace("127.0.0.1", "localhost")
    visitor.elsewhere.clear()
    page.goto(other + "/sign-in")
    page.evaluate(
        "url => { const a = document.createElement('a'); a.href = url; document.body.append(a); a.click(); }",
        visitor.centre.url + "/agents?last=7d",
    )
    expect(page.get_by_role("heading", name="Agents", exact=True)).to_be_visible()
    visitor.elsewhere.clear()


def test_an_account_sees_nothing_of_another(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=31d&userType=all")
    theirs = first_behind(page)
    page.get_by_role("button", name="Sign out").click()
    page = visitor.sign_in("golden", "/segments?last=31d&userType=all")
    assert number(page.locator("#total").text_content()) == 2
    page.goto(visitor.centre.url + theirs)
    expect(page.get_by_role("heading", name="There is no such conversation.")).to_be_visible()
    visitor.wrong.clear()  # The browser reports the 404 itself.


def test_durations_read_in_the_browser_as_on_the_server(visitor: Visitor) -> None:
    page = visitor.sign_in()
    dice = random.Random(5)
    values = [*BORDERS, *(round(10 ** dice.uniform(0, 10)) for _ in range(2000))]
    said = page.evaluate(
        """async (values) => {
            const script = document.querySelector('script[src$="/page.js"]').src;
            const { duration } = await import(script.replace(/page\\.js$/, "charts.js"));
            return values.map((value) => duration(value));
        }""",
        values,
    )
    assert said == [duration(value) for value in values]


# --- down to the events -----------------------------------------------------------------------------------------------


def test_from_the_list_to_the_picture_of_a_conversation(visitor: Visitor) -> None:
    page = visitor.sign_in("golden", "/segments")
    (row,) = page.locator("tbody tr").all()
    expect(row).to_contain_text("1 min 9 s")
    row.get_by_role("link", name=re.compile("^Why")).click()
    expect(page.get_by_role("heading", name="Why c1")).to_be_visible()
    human = expected()["agentSegments"][1]
    assert human["totalHandleTimeMillis"] == 69_000
    units = page.locator(".item.unit")
    expect(units).to_have_count(len(human["handleTimeUnits"]))
    units.nth(1).click()
    says = page.locator("#says")
    expect(says).to_contain_text("Handle-time unit 2 of agent 2")
    expect(says).to_contain_text("starts: the consumer wrote (consumerMessage)")
    expect(says).to_contain_text("ends: the agent wrote (agentResponse)")
    expect(says).to_contain_text("rules 3.3 a")
    expect(page.locator("tbody.chosen")).to_contain_text("agent 2")
    expect(page.locator("table.events tbody tr:not(.queue-row)")).to_have_count(len(expected()["events"]))
    expect(page.locator("tr.queue-row")).to_contain_text(["assigned to a bot", "from a bot, after a transfer to this"])
    for lane in ("consumer", "queue", "agent 9", "agent 2"):
        expect(page.locator(".lane-name", has_text=re.compile(f"^{lane}$"))).to_be_visible()


def test_arrow_keys_walk_through_the_picture(visitor: Visitor) -> None:
    page = visitor.sign_in("golden", "/why?conversation=c1")
    items = page.locator(".item")
    order = items.evaluate_all("items => items.map(each => +each.dataset.order).sort((a, b) => a - b)")
    assert order == list(range(len(order)))
    page.locator(".item[tabindex='0']").focus()
    told = []
    for _ in order:
        told.append(page.locator("#says").text_content() or "")
        page.keyboard.press("ArrowRight")
    assert "Conversation opened" in "".join(told[:3])
    assert all(re.search(r"\d\d:\d\d:\d\d\.\d{3}", each) for each in told)
    assert any("rules 3.3 a" in each for each in told)
    assert any("Not counted as handle time: nobody assigned" in each for each in told)
    page.keyboard.press("Home")
    assert page.locator("#says").text_content() == told[0]


def test_every_number_of_agents_leads_to_so_many_segments(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=24h&columns=outcomes")
    row = page.locator("table.metrics tbody tr").first
    links = row.locator("td.n").all()[2:7]
    behind = [
        (number(each.text_content()), each.locator("a").get_attribute("href") or "")
        for each in links
        if each.locator("a").count()
    ]
    assert len(behind) >= 3
    for count, href in behind:
        page.goto(visitor.centre.url + href)
        assert number(page.locator("#total").text_content()) == count
    total = page.locator("#total")
    page.goto(visitor.centre.url + "/agents?last=24h")
    whole = page.locator("table.metrics tfoot td.n").nth(2).locator("a")
    count = number(whole.text_content())
    whole.click()
    expect(total).to_have_text(f"{count:,}")


def test_every_number_of_skills_leads_to_so_many_segments(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/skills?last=24h&columns=skill-outcomes")
    links = page.locator("table.metrics").first.locator("tfoot td.n a").all()[:6]
    told = [((link.text_content() or "").replace(",", ""), link.get_attribute("href") or "") for link in links]
    behind = [(int(text), href) for text, href in told if text.isdigit()]  # not "1 for over a day"
    assert len(behind) == 6
    for count, href in behind:
        page.goto(visitor.centre.url + href)
        assert number(page.locator("#total").text_content()) == count
    page.locator("a.why").first.click()
    expect(page.locator("svg.picture")).to_be_visible()


def test_every_number_of_now_leads_to_so_many_conversations(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    links = page.locator(".tile a[href*='/open'], #live table a[href*='/open']").all()[:12]
    told = [((link.text_content() or "").replace(",", ""), link.get_attribute("href") or "") for link in links]
    behind = [(int(text), href) for text, href in told if text.isdigit()]  # not "1 for over a day"
    assert len(behind) > 6
    for count, href in behind:
        page.goto(visitor.centre.url + href)
        assert number(page.locator("#total").text_content()) == count
    page.locator("a.why").first.click()
    expect(page.locator("svg.picture .item.running").first).to_be_attached()


def test_a_legend_has_figures_only_while_something_is_pointed_at(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=yesterday&agent=3001&compare=previous")
    chart = page.locator("[data-chart]").nth(1)
    legend = chart.locator(".u-legend")
    assert legend.locator(".u-series:visible").all_inner_texts() == ["median", "p90", "median, before", "p90, before"]
    colons = "all => all.map(each => getComputedStyle(each, '::after').content)"
    assert set(legend.locator("th:visible").evaluate_all(colons)) == {"none"}
    looks = """all => all.map(each => getComputedStyle(each))
        .map(each => `${each.borderTopStyle} ${each.borderTopColor} ${each.backgroundColor}`)"""
    marks = legend.locator(".u-marker:visible").evaluate_all(looks)
    assert [each.split()[0] for each in marks] == ["solid", "dashed", "dotted", "dotted"]
    assert len(set(marks)) == 4
    chart.locator(".u-over").hover()
    expect(legend).to_contain_text(re.compile(r"from\s*\S+.*median\s*[\d–]"), use_inner_text=True)
    assert legend.locator(".u-series:visible").count() == 5
    page.mouse.move(1, 1)
    expect(legend).not_to_contain_text("from", use_inner_text=True)


def test_a_bar_of_a_chart_leads_to_its_segments(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/?last=24h")
    chart = page.locator("[data-chart]").first
    chart.locator(".plot").scroll_into_view_if_needed()
    assert page.evaluate("document.querySelector('[data-chart] canvas').width") > 0
    highest = chart.evaluate(
        """figure => {
            const chart = JSON.parse(figure.dataset.chart), all = chart.bounds, values = chart.series[0].values;
            const at = values.indexOf(Math.max(...values));
            const over = figure.querySelector('.u-over').getBoundingClientRect();
            const middle = ((all[at] + all[at + 1]) / 2 - all[0]) / (all.at(-1) - all[0]);
            return {x: over.left + middle * over.width, y: over.bottom - 2, count: values[at]};
        }"""
    )
    page.mouse.move(highest["x"], highest["y"])
    page.mouse.click(highest["x"], highest["y"])
    expect(page.locator("#total")).to_have_text(f"{highest['count']:,}")
    expect(page.locator(".chips a[aria-current]")).to_have_text("interactive")
    page.go_back()
    chart.locator("summary").click()
    expect(chart.get_by_role("link", name=f"{highest['count']:,}", exact=True).first).to_be_visible()
    chart.get_by_role("link", name=f"{highest['count']:,}", exact=True).first.click()
    expect(page.locator("#total")).to_have_text(f"{highest['count']:,}")


def test_the_slowest_answer_of_yesterday_is_three_clicks_away(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    choose_period(page, "yesterday")
    slowest = page.get_by_role("region", name="The slowest answers").locator("tbody tr")
    expect(slowest.first).to_be_visible()
    waits = slowest.locator("td b").all_text_contents()
    assert len(waits) == 10
    waited = waits[0]
    slowest.first.get_by_role("link", name=re.compile("^Why")).click()
    expect(page.locator("tbody.chosen")).to_contain_text(waited)


# --- lists and tables ------------------------------------------------------------------------------------------------


def test_segments_are_filtered_sorted_and_paged(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=31d")
    total = number(page.locator("#total").text_content())
    assert total > 200
    page.get_by_label("Skill").fill("10")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("skill=10"))
    of_skill = number(page.locator("#total").text_content())
    assert 0 < of_skill < total
    assert set(page.locator("tbody td:nth-child(4)").all_text_contents()) == {"Billing"}
    page.get_by_role("link", name="non-responsive agent").click()
    silent = number(page.locator("#total").text_content())
    assert 0 < silent < of_skill
    assert {each.strip() for each in page.locator("tbody td:nth-child(7)").all_text_contents()} == {
        "non-responsive agent"
    }
    page.get_by_role("link", name="every outcome").click()
    page.get_by_role("link", name="Agent", exact=True).click()
    expect(page.get_by_role("columnheader", name="Agent")).to_have_attribute("aria-sort", "ascending")
    firsts = page.locator("tbody a.why").evaluate_all("links => links.map(a => a.href)")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pages")).to_contain_text(f"51–100 of {of_skill:,}")
    seconds = page.locator("tbody a.why").evaluate_all("links => links.map(a => a.href)")
    assert len(firsts) == len(seconds) == 50
    assert not set(firsts) & set(seconds)


@pytest.mark.parametrize("path", ["/segments", "/skill-segments"])
def test_the_page_before_one_beyond_the_end_is_the_last(visitor: Visitor, path: str) -> None:
    page = visitor.sign_in("centre", f"{path}?last=31d&offset=1000000")
    total = number(page.locator("#total").text_content())
    expect(page.locator("tbody tr")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(page.locator("tbody tr")).to_have_count(total % 50 or 50)
    expect(page.get_by_role("link", name="Next")).to_have_count(0)


def test_csv_and_the_line_for_curl_give_the_same_segments(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=24h&skill=10")
    total = number(page.locator("#total").text_content())
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert re.fullmatch(r"centre_segments(_\d{4}-\d\d-\d\dT\d\d-\d\d){2}\.csv", download.value.suggested_filename)
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert len(rows) == total
    assert {row["skill"] for row in rows} == {"Billing"}
    command, *words = shlex.split(page.locator("#curl").text_content() or "")
    assert command == "curl"
    token = visitor.centre.keys["centre"].token
    name, _, value = words[words.index("-H") + 1].replace("$HANDLETIME_TOKEN", token).partition(": ")
    answer = httpx.get(words[-1], headers={name: value}).json()
    assert answer["pagination"]["count"] == total
    assert [each["segmentId"] for each in answer["segments"]] == [row["segmentId"] for row in rows[:50]]


def test_agents_are_sorted_by_any_metric(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=yesterday&columns=first-response")
    cells = page.locator("table.metrics tbody td:nth-child(7)")
    page.locator("table.metrics thead tr").nth(1).get_by_role("link", name="p90").first.click()
    expect(page).to_have_url(re.compile("sort=p90FirstResponseMillis&direction=desc"))
    falling = cells.all_text_contents()
    page.locator("table.metrics thead tr").nth(1).get_by_role("link", name="p90").first.click()
    expect(page).to_have_url(re.compile("direction=asc"))
    rising = cells.all_text_contents()
    known = [each for each in falling if each != "–"]
    assert len(set(known)) > 3
    assert [each for each in rising if each != "–"] == known[::-1]
    assert rising[len(known) :] == falling[len(known) :]  # Those without one are last either way.
    page.get_by_role("link", name="Heron").click()
    expect(page.get_by_role("heading", name="Heron")).to_be_visible()
    expect(page.locator("[data-chart] canvas")).to_have_count(4)
    expect(page.get_by_role("heading", name="By skill")).to_be_visible()


def test_names_are_read_again_when_the_file_changes(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/skills?last=24h")
    expect(page.get_by_role("link", name="Billing").first).to_be_visible()
    visitor.centre.write_labels({**LABELS, ("skill", 10): "Invoices"})
    for _ in range(50):
        page.reload()
        if page.get_by_role("link", name="Invoices").count():
            break
    expect(page.get_by_role("link", name="Invoices").first).to_be_visible()
    visitor.centre.write_labels(LABELS)


# --- filters in the address -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value", "name"),
    [
        ("Skill", "10", "skill"),
        ("Agent", "3001", "agent"),
        ("Agent", "3002", "agent"),
        ("Group", "501", "group"),
        ("Source", "sms", "source"),
        ("Time zone", "Asia/Kolkata", "tz"),
        ("Long unit, min", "5", "long"),
    ],
)
def test_a_filter_stands_in_the_address(visitor: Visitor, label: str, value: str, name: str) -> None:
    page = visitor.sign_in("centre", "/?last=31d")
    before = number(page.locator(".all-segments").inner_text().split()[0])
    field(page, label).fill(value)
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(f"{name}={re.escape(value).replace('/', '%2F')}"))
    after = number(page.locator(".all-segments").inner_text().split()[0])
    assert after > 0
    assert (after < before) == (name in ("skill", "agent", "group", "source"))
    assert parse_qs(urlsplit(page.url).query)["last"] == ["31d"]
    page.goto(page.url)  # As somebody else would open it.
    names = {"10": "Billing", "3001": "Heron", "501": "Team North"}
    expect(page.get_by_label(label, exact=True)).to_have_value(names.get(value, value))
    assert number(page.locator(".all-segments").text_content().split()[0]) == after  # type: ignore[union-attr]


def test_spans_intervals_and_user_types_are_chosen(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    choose_period(page, "last 8 hours")
    expect(page.get_by_role("heading", name="The last 8 hours")).to_be_visible()
    field(page, "Interval", exact=False).select_option("hour")
    field(page, "User type", exact=False).select_option("bot")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("interval=hour"))
    expect(page).to_have_url(re.compile("userType=bot"))
    chart = page.locator("[data-chart]").first
    chart.locator("summary").click()
    expect(chart.locator("details tbody tr").first).to_be_visible()
    assert chart.locator("details tbody tr").count() in (8, 9)
    field(page, "From").fill("2026-01-01T00:00")
    field(page, "to").fill("2026-01-02T00:00")
    page.get_by_role("button", name="Show", exact=True).first.click()
    expect(page.get_by_text("No segment ended in this span that matches the filters.")).to_be_visible()


def test_an_address_that_does_not_fit_says_what_is_allowed(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    page = visitor.open("/?interval=never&agent=x&tz=Nowhere")
    expect(page.get_by_role("heading", name="This cannot be shown")).to_be_visible()
    for cause in ("interval: must be one of", "agent: no agent is called “x”", "tz: must be the IANA name"):
        expect(page.get_by_text(cause)).to_be_visible()
    visitor.wrong.clear()  # The browser reports the 400 itself.


@pytest.mark.parametrize(
    ("query", "label", "typed", "cause", "right"),
    [
        ("tz=Mars%2FOlympus", "Time zone", "Mars/Olympus", "tz: must be the IANA name of a time zone", "UTC"),
        ("from=2026-11-20T10:00&to=2026-11-20T09:00", "From", "2026-11-20T10:00", "from: must be before to", ""),
        ("from=1026-11-20T10:00&to=2026-11-20T09:00", "From", "1026-11-20T10:00", "at most 1,000 weeks", ""),
        ("from=noon", "From", "noon", "from: must be a date and a time of day (2026-11-20T09:00)", ""),
        ("agent=Penguin", "Agent", "Penguin", "no agent is called “Penguin”", "3001"),
        ("agent=e", "Agent", "e", "no agent is called “e”, but there is", "heron"),
    ],
)
def test_what_is_wrong_is_said_beside_what_was_typed(
    visitor: Visitor, query: str, label: str, typed: str, cause: str, right: str
) -> None:
    page = visitor.sign_in("centre", f"/agents?sort=name&skill=10&{query}")
    expect(page.get_by_role("alert")).to_contain_text(cause)
    form = page.get_by_role("form", name="Filters")
    expect(form.get_by_label(label, exact=True)).to_have_value(typed)
    expect(form.get_by_label(label, exact=True)).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Skill")).to_have_value("10")
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Skills")).to_be_visible()
    expect(form.get_by_label(label, exact=True)).to_be_visible()
    form.get_by_label(label, exact=True).fill(right)
    if "to=" in query:
        form.get_by_label("to", exact=True).fill("")
    form.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(form.get_by_label("Skill")).to_have_value("Billing")
    assert parse_qs(urlsplit(page.url).query)["sort"] == ["name"]
    visitor.wrong.clear()  # The browser reports the 400 itself.


@pytest.mark.parametrize("typed", ["heron", " HERON ", "her", "3001"])
def test_a_filter_takes_names(visitor: Visitor, typed: str) -> None:
    page = visitor.sign_in("centre", "/segments?last=31d")
    page.get_by_label("Agent", exact=True).fill(typed)
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"[?&]agent=3001(&|$)"))
    expect(page.get_by_label("Agent", exact=True)).to_have_value("Heron")
    assert set(page.locator("tbody td:nth-child(3) bdi").all_text_contents()) == {"Heron"}


def test_who_may_be_meant_is_one_click(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=31d&agent=e&skill=10")
    page.get_by_role("link", name="Heron 3001").click()
    expect(page).to_have_url(re.compile(r"/segments\?last=31d&agent=3001&skill=10&tz="))
    visitor.wrong.clear()  # The browser reports the 400 itself.


def test_what_is_chosen_is_told_and_taken_away_one_by_one(visitor: Visitor) -> None:
    query = "last=7d&skill=10&agent=3001&source=web&userType=all&interval=day&long=5&compare=week"
    page = visitor.sign_in("centre", f"/agents?{query}&sort=name")
    chosen = page.get_by_role("group", name="Chosen")
    told = (
        *("compared to a week before", "skill Billing", "agent Heron", "source web", "human agents and bots"),
        *("interval day", "long unit 5 min"),
    )
    for name in told:
        expect(chosen.get_by_role("link", name=f"{name} : take this away")).to_be_visible()
    for name in told:
        chosen.get_by_role("link", name=f"{name} : take this away").click()
        expect(chosen.get_by_role("link", name=name)).to_have_count(0)
    left = parse_qs(urlsplit(page.url).query)
    assert left == {"last": ["7d"], "sort": ["name"], "direction": ["asc"], "tz": ["Europe/Berlin"]}
    chosen.get_by_role("link", name="Reset").click()
    expect(page).to_have_url(visitor.centre.url + "/agents?tz=Europe%2FBerlin")


def test_what_opens_beneath_a_filter_closes_by_escape_and_elsewhere(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents")
    period = page.get_by_role("form", name="Filters").locator("summary").first
    for by_key in (True, False):
        period.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("group", name="Other periods")).to_be_visible()
        if by_key:
            page.keyboard.press("Escape")
            expect(period).to_be_focused()
        else:
            page.get_by_role("heading", name="Agents", exact=True).click()
        expect(page.get_by_role("group", name="Other periods")).to_be_hidden()


def test_the_link_to_a_view_is_copied(centre: Centre, chromium: Browser) -> None:
    visitor = Visitor(centre, chromium, permissions=["clipboard-read", "clipboard-write"])
    try:
        page = visitor.sign_in("centre", "/skills?last=yesterday&compare=week")
        page.get_by_role("button", name="Copy link").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.url
    finally:
        visitor.context.close()


@pytest.mark.parametrize("how", ["keyboard", "touch", "without scripts"])
def test_what_a_figure_means_is_one_step_away(centre: Centre, chromium: Browser, how: str) -> None:
    visitor = Visitor(centre, chromium, has_touch=how == "touch", java_script_enabled=how != "without scripts")
    try:
        page = visitor.sign_in("centre", "/agents?last=7d&columns=first-response")
        button = page.get_by_role("button", name="What does this mean: First response")
        meaning = page.get_by_text("First response: from the assignment to the agent's first message")
        expect(meaning).to_be_hidden()
        if how == "keyboard":
            button.focus()
            page.keyboard.press("Enter")
        elif how == "touch":
            button.tap()
        else:
            button.click()
        expect(meaning).to_be_visible()
        if how == "keyboard":
            assert serious_findings(page) == []
            page.keyboard.press("Escape")
            expect(button).to_be_focused()
        else:
            page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(meaning).to_be_hidden()
        for path, asked, told in (
            ("/?last=7d", "the figures of the span", "Half of the values are at most the median"),
            ("/segments?last=7d", "the columns", "The agent wrote, and a consumer message follows"),
        ):
            visitor.open(path)
            page.get_by_role("button", name=f"What does this mean: {asked}").click()
            expect(page.get_by_role("dialog")).to_contain_text(told)
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_whose_screen_sent_no_focus_data_is_said_by_name(visitor: Visitor) -> None:
    events = ended_at("blind", 3001, (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    visitor.centre.keys["blind"] = visitor.centre.new_key("blind")
    visitor.centre.bring("blind", events)
    page = visitor.sign_in("blind", "/agents")
    said = "Heron's screen sent no focus data: handle time unknown"
    expect(page.locator(".data-quality")).to_contain_text(said)
    day = datetime.now(UTC) - timedelta(hours=1)
    for path in ("/why?conversation=blind&tz=UTC", f"/agent-day?agent=3001&tz=UTC&day={day:%Y-%m-%d}"):
        visitor.open(path)
        expect(page.get_by_text(said, exact=True)).to_be_visible()


# --- compared, and as files -------------------------------------------------------------------------------------------


def exported(page: Page, name: str) -> list[dict[str, str]]:
    """The rows of a table's file."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    text = download.value.path().read_text("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_page_file_and_api_compare_alike(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=yesterday&tz=UTC")
    page.get_by_role("group", name="Compare to").get_by_role("link", name="the day before").click()
    expect(page.locator(".compared b")).to_have_text(f"{datetime.now(UTC) - timedelta(days=2):%a, %d/%m/%Y}")
    counted = "totalAgentConversationSegments"
    rows = exported(page, "Export as CSV")
    token = visitor.centre.keys["centre"].token
    asked = "period=yesterday&by=agent&compare=previous&userType=human"
    answer = httpx.get(
        f"{visitor.centre.url}/api/account/centre/report?{asked}", headers={"Authorization": f"Bearer {token}"}
    ).json()
    assert {row["agentId"]: (row[counted], row[f"{counted}Previous"]) for row in rows} == {
        str(row["agentId"]): (str(row[counted]), str(row[f"{counted}Previous"])) for row in answer
    }
    shown = page.locator("table.metrics tbody tr")
    assert shown.count() == len(rows) > 5
    for place, row in enumerate(rows):
        cell = shown.nth(place).locator("td.n").nth(2)
        now, before = int(row[counted]), int(row[f"{counted}Previous"])
        assert number((cell.inner_text() or "").split()[0]) == now
        said = cell.locator(".differs").inner_text()
        assert said.startswith(
            "= ±0" if now == before else f"▲ +{now - before}" if now > before else f"▼ −{before - now}"
        )
    unknown = [place for place, row in enumerate(rows) if not row["medianResponseMillisPrevious"]]
    for place in unknown:
        assert shown.nth(place).locator("td.n").nth(4).locator(".differs").count() == 0
    tile = visitor.open("/?last=yesterday&tz=UTC&compare=previous").locator(".figures .tile").first
    by_hour = exported(page, "Export as CSV: agent segments by interval")
    assert len(by_hour) == 24
    for name in (counted, f"{counted}Previous"):
        assert sum(int(row[name]) for row in by_hour) == sum(int(row[name]) for row in rows)
    total = sum(int(row[counted]) for row in rows) - sum(int(row[f"{counted}Previous"]) for row in rows)
    expect(tile.locator(".differs")).to_contain_text(f"{abs(total):,}")
    chart = page.locator("[data-chart]").first
    expect(chart.locator(".u-legend")).to_contain_text("all, before")
    chart.locator("summary").click()
    compared = chart.locator("details tbody td:last-child")
    assert sum(map(number, compared.all_text_contents())) == sum(int(row[f"{counted}Previous"]) for row in rows)
    leads = compared.locator("a").first
    told = number(leads.text_content())
    leads.click()
    expect(page.locator("#total")).to_have_text(f"{told:,}")


def test_a_small_screen_has_figures_in_the_place_of_trends_and_a_hint_that_more_follows(
    centre: Centre, chromium: Browser
) -> None:
    visitor = Visitor(centre, chromium, viewport={"width": 390, "height": 800})
    try:
        page = visitor.sign_in("centre", "/agents?last=7d")
        table = page.locator("table.metrics")
        assert table.locator(".trended:visible").count() == 0
        whole = [
            box["x"] + box["width"]
            for each in table.locator("tbody tr").first.locator("td.n").all()
            if (box := each.bounding_box())
        ]
        assert sum(right <= 380 for right in whole) >= 2
        region = page.get_by_role("region", name="Agents: figures")
        looks = region.evaluate(
            "each => [getComputedStyle(each).backgroundImage, getComputedStyle(each).backgroundAttachment]"
        )
        assert looks[0].count("linear-gradient") == 4
        assert looks[1].startswith("local, local, scroll, scroll")
        cell = table.locator("tbody td.n").first
        assert cell.evaluate("each => getComputedStyle(each).backgroundColor") == "rgba(0, 0, 0, 0)"
    finally:
        visitor.context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/skills?last=7d&skill=10",
        "/agents?last=7d&agent=3001",
        "/segments?last=7d",
        "/open",
        "/agent-day?agent=3001",
    ],
)
def test_each_export_says_visibly_what_it_is_and_keeps_its_distance(visitor: Visitor, path: str) -> None:
    page = visitor.sign_in("centre", path)
    files = page.locator(".exports:visible")
    told = files.evaluate_all("""all => all.map(each => {
        const title = each.closest(".title")?.querySelector("h1, h2");
        return [title?.innerText ?? "", each.innerText].join(" ").replace(/\\s+/g, " ");
    })""")
    assert len(set(told)) == len(told) > 0
    assert not [each for each in told if each.strip().startswith("Export CSV")]
    gaps = page.locator(":is(.title, .asked):visible:has(.exports) ~ .scroll").evaluate_all(
        """all => all.map(each => each.getBoundingClientRect().top - Math.max(
            ...[...each.parentElement.querySelectorAll(":scope > :is(.title, .asked) .exports")]
                .map(one => one.getBoundingClientRect().bottom)))"""
    )
    assert all(gap >= 4 for gap in gaps), gaps


def test_a_file_has_the_rows_that_are_seen_in_their_order(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=31d&sort=p90ResponseMillis&direction=asc&find=30&userType=all")
    shown = page.locator("table.metrics tbody tr")
    names = [each.split()[-1] for each in shown.locator("th").all_inner_texts()]
    rows = exported(page, "Export as CSV")
    assert [row["agentId"] for row in rows] == names
    assert [row["agentName"] for row in rows if row["agentId"] == "3001"] == ["Heron"]
    said = [each.split("\n")[0] for each in shown.locator("td.n:nth-child(8)").all_inner_texts()]
    assert said == [duration(int(row["p90ResponseMillis"])) if row["p90ResponseMillis"] else "–" for row in rows]
    visitor.open("/open?sort=skill")
    rows = exported(page, "Export as CSV: open conversations")
    assert len(rows) == number(page.locator("#total").text_content())
    assert {row["state"] for row in rows} <= {"queued", "waits", "answered"}
    for path, name in (("/skills?last=7d", "By agent, agent segments"), ("/skill-segments?last=7d", "skill segments")):
        visitor.open(path)
        if path.startswith("/skills"):
            name = "By skill, agent segments"
        rows = exported(page, f"Export as CSV: {name}")
        if path.startswith("/skill-segments"):
            assert len(rows) == number(page.locator("#total").text_content())
        else:
            assert len(rows) == page.locator("#table2 tbody tr").count()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as xlsx").click()
    with zipfile.ZipFile(download.value.path()) as book:
        sheet = book.read("xl/worksheets/sheet1.xml")
        assert sheet.count(b"<row ") == len(rows) + 1


# --- whose clocks -----------------------------------------------------------------------------------------------------


def test_every_link_says_whose_clocks(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/")
    why = visitor.open("/segments").locator("a.why").first.get_attribute("href") or ""
    wrong = "/agents?interval=never"
    for path in (*VIEWS.values(), "/skills?last=7d&skill=10", why, wrong, "/nowhere"):
        visitor.open(path)
        links = page.locator("a[href]").evaluate_all("all => all.map(each => each.getAttribute('href'))")
        leading = [link for link in links if link.startswith("/") and link not in ("/docs", "/sign-in")]
        assert len(leading) > 4
        assert [link for link in leading if "tz=" not in link] == [], path
        for form in page.locator("form[method=get], form[role=search]").all():
            assert form.locator("[name=tz]").count() == 1, path
        assert "tz=" in page.url or path == "/nowhere"
    visitor.wrong.clear()  # The browser reports the 400 and the 404 itself.


def test_a_copied_link_shows_everybody_the_same(centre: Centre, chromium: Browser) -> None:
    seen: list[tuple[str, ...]] = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        visitor = Visitor(centre, chromium, timezone_id=zone)
        day = (datetime.now(UTC) - timedelta(days=1)).date()
        page = visitor.sign_in("centre", seen[0][0] if seen else f"/segments?from={day}T12:00&to={day}T18:00")
        told = [page.locator(part).inner_text() for part in (".title", "main tbody", ".foot")]
        seen.append((page.url.removeprefix(centre.url), *told))
        visitor.context.close()
    assert seen[0] == seen[1]
    assert "Asia/Tokyo" in seen[0][-1]


WRITTEN = {
    "de-DE": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "en-US": r"\d{1,2}/\d{1,2}/\d{4}",
    "ja-JP": r"\d{4}/\d{1,2}/\d{1,2}",
}


@pytest.mark.parametrize("locale", WRITTEN)
def test_dates_are_those_of_the_browser_in_tables_and_charts_alike(
    centre: Centre, chromium: Browser, locale: str
) -> None:
    visitor = Visitor(centre, chromium, locale=locale)
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    page = visitor.sign_in("centre", f"/agents?agent=3001&from={day}T00:00&to={day}T23:00&compare=previous")
    chart = page.locator("[data-chart]").first
    chart.locator(".u-over").hover()
    texts = [page.locator(".compared").inner_text(), chart.locator(".u-legend").inner_text()]
    chart.locator("summary").click()
    texts += [chart.locator("details tbody th").first.inner_text()]
    page.goto(f"{centre.url}/segments?from={day}T00:00&to={day}T23:00")
    texts += [
        page.locator("main .title").first.inner_text(),
        page.locator("main tbody td:nth-child(2)").first.inner_text(),
    ]
    page.locator("main tbody a.why").first.click()
    texts += [page.locator("main .title").first.inner_text()]
    for text in texts:
        assert re.search(WRITTEN[locale], text), text
        assert not re.search(r"\d{4}-\d\d-\d\d", text), text
    visitor.context.close()


def test_the_axis_of_a_chart_writes_times_as_the_server_does(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    at = 1_793_711_071
    for accepted in ("", "de-DE", "en-GB", "en-US", "sv", "da", "ja", "zh-TW", "es-419", "en-ZA"):
        clocks = Clocks(ZoneInfo("Europe/Berlin"), language_of(accepted))
        (drawn,) = page.evaluate(
            """async ([at, zone, language]) => {
                const script = document.querySelector('script[src$="/page.js"]').src;
                const { clocks } = await import(script.replace(/page\\.js$/, "charts.js"));
                return clocks([at], 3600, zone, language);
            }""",
            [at, "Europe/Berlin", clocks.tag],
        )
        time, day = drawn.split("\n")
        assert (time, day) == (clocks.time(1000 * at, seconds=False), clocks.day(1000 * at)), accepted


def test_apply_keeps_the_span_in_the_hour_that_comes_twice(visitor: Visitor) -> None:
    ends = [f"2025-10-26T{time}Z" for time in ("00:10:00", "00:40:00", "01:10:00", "01:40:00.100")]
    visitor.centre.keys["autumn"] = visitor.centre.new_key("autumn")
    visitor.centre.bring("autumn", [event for i, end in enumerate(ends) for event in ended_at(f"c{i}", 7, end)])
    page = visitor.sign_in("autumn", "/segments?from=2025-10-26T00:10Z&to=1761442800101&tz=Europe/Berlin")
    total, title = page.locator("#total"), page.locator(".title")
    expect(total).to_have_text("4")
    told = title.inner_text()
    assert "26/10/2025, 02:10 +02:00 – 26/10/2025, 02:40 +01:00" in told
    assert "26/10/2025, 02:40:00 +01:00" in page.locator("tbody td:nth-child(2)").all_text_contents()
    for _ in range(2):
        page.get_by_role("button", name="Apply").click()
        expect(page).to_have_url(re.compile("toOffset=%2B01%3A00"))
        expect(total).to_have_text("4")
        assert title.inner_text() == told
    field(page, "02:10 comes twice", exact=False).select_option("second, +01:00")
    page.get_by_role("button", name="Show", exact=True).first.click()
    expect(total).to_have_text("2")
    expect(title).to_contain_text("26/10/2025, 02:10 +01:00 – 26/10/2025, 02:40 +01:00")


# --- many, and nobody -------------------------------------------------------------------------------------------------


def test_hundreds_of_agents_have_pages_and_a_search(visitor: Visitor) -> None:
    visitor.centre.keys["crowd"] = visitor.centre.new_key("crowd")
    end = datetime.now(UTC) - timedelta(hours=1)
    events = [event for agent in range(5001, 5241) for event in ended_at(f"c{agent}", agent, end.isoformat())]
    visitor.centre.bring("crowd", events)
    page = visitor.sign_in("crowd", "/agents?last=24h&sort=id&direction=asc")
    names = page.locator("table.metrics tbody th bdi")
    seen = []
    for place in ("1–100", "101–200", "201–240"):
        expect(page.locator(".pages")).to_contain_text(f"{place} of 240")
        expect(page.locator("tfoot th")).to_have_text("all 240 agents")
        expect(page.locator("tfoot td.n").nth(2)).to_have_text("240")
        seen += names.all_text_contents()
        assert "sort=id&direction=asc" in page.url
        if len(seen) < 240:
            page.get_by_role("link", name="Next").click()
    assert seen == [f"agent {number}" for number in range(5001, 5241)]
    page.get_by_role("link", name="Previous").click()
    page.get_by_role("searchbox").fill("agent 523")
    page.get_by_role("button", name="Find").click()
    expect(names).to_have_text([f"agent {number}" for number in range(5230, 5240)])
    expect(page.locator(".pages")).to_contain_text("1–10 of 10 found, 240 in all")
    page.get_by_role("searchbox").fill("penguin")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("No agent is called anything like “penguin”.")).to_be_visible()
    page.get_by_role("link", name="All 240 agents").click()
    expect(names).to_have_count(100)


def test_two_tables_of_a_page_are_sorted_apart(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/skills?last=31d")
    first, second = page.locator("#table tbody th bdi"), page.locator("#table2 tbody th bdi")
    before = first.all_text_contents()
    below = second.all_text_contents()
    assert min(len(before), len(below)) > 2
    page.locator("#table2 thead th.stick a").click()
    expect(page).to_have_url(re.compile("sort2=name&direction2=asc"))
    assert first.all_text_contents() == before
    assert second.all_text_contents() == sorted(below, key=str.casefold)
    page.locator("#table thead th.stick a").click()
    page.locator("#table thead th.stick a").click()
    expect(page).to_have_url(re.compile("sort=name&direction=desc&.*sort2=name&direction2=asc"))
    assert first.all_text_contents() == sorted(before, key=str.casefold, reverse=True)
    assert second.all_text_contents() == sorted(below, key=str.casefold)


def test_chart_and_table_of_a_skill_say_the_same(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/skills?last=7d&skill=10&columns=skill-outcomes")
    chart = page.locator("[data-chart]").first
    expect(chart.get_by_role("heading")).to_have_text("Skill segments by outcome")
    told = dict(part.strip().rsplit(" ", 1) for part in chart.locator("figcaption span").inner_text().split(", "))
    cells = page.locator("#table tfoot td.n").all_text_contents()
    outcomes = ("interactive", "non-responsive consumer", "non-responsive agent", "abandoned")
    assert cells[4:8] == [told[outcome] for outcome in outcomes]
    chart.locator("summary").click()
    rows = chart.locator("details tbody tr")
    expect(rows.last).to_contain_text("(part)")
    assert sum(number(each) for each in rows.locator("td:nth-child(2)").all_text_contents()) == number(cells[4])
    chart.locator("details tbody td a").first.click()
    expect(page.get_by_role("heading", name="Skill segments")).to_be_visible()


def test_humans_are_counted_and_it_is_said(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=7d")
    counts = {}
    for type_, link in (("human", ""), ("bot", "bots"), ("all", "all")):
        if link:
            page.locator(".whose").get_by_role("link", name=link).click()
            expect(page).to_have_url(re.compile(f"userType={type_}"))
        expect(page.locator(".whose b")).to_have_text(
            {"human": "human agents only", "bot": "bots only", "all": "human agents and bots"}[type_]
        )
        counts[type_] = number(page.locator("#total").text_content())
    assert 0 < counts["human"] < counts["all"] == counts["human"] + counts["bot"]
    for path in ("/", "/agents"):
        visitor.open(f"{path}?last=7d")
        expect(page.locator(".whose b")).to_have_text("human agents only")
    whole = page.locator("table.metrics tfoot td.n").nth(2)
    expect(whole).to_have_text(f"{counts['human']:,}")


def test_unknown_handle_time_is_never_nothing(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=31d&sort=totalHandleTimeMillis&direction=asc&userType=all")
    cells = page.locator("table.metrics tbody td.n:nth-child(7)").all_text_contents()
    known, unknown = page.locator("table.metrics tbody td.n:nth-child(8)").all_text_contents(), "no focus data"
    assert len(cells) == len(known) > 10
    without = [cell for cell, count in zip(cells, known, strict=True) if count == "0"]
    assert unknown in without
    assert set(without) <= {unknown, "–"}  # The latter are bots.
    assert cells[-len(without) :] == without
    total = page.locator("table.metrics tfoot td.n:nth-child(7)")
    assert re.search(r"of [\d,]+ of [\d,]+ segments$", total.inner_text())
    assert "0 s" not in cells


@pytest.mark.parametrize("signed_in", [True, False])
def test_a_mistyped_address_is_a_page(visitor: Visitor, signed_in: bool) -> None:
    page = visitor.sign_in("centre") if signed_in else visitor.page
    for path in ("/agent", "/segments/7", "/account/centre", "/sign-out"):
        answer = page.goto(visitor.centre.url + path)
        assert answer is not None
        assert answer.status == (405 if path == "/sign-out" else 404)
        allowed = {"OPTIONS", "POST"} if path == "/sign-out" else {""}
        assert set(answer.headers.get("allow", "").split(", ")) == allowed
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
        assert "centre" not in page.locator("main").inner_text()
        assert page.get_by_role("navigation", name="Pages").count() == signed_in
    page.get_by_role("main").get_by_role("link", name="Agents").click()
    expect(page.get_by_role("heading", name="Agents" if signed_in else "Sign in", exact=True)).to_be_visible()
    browser = {"Accept": "text/html,application/xhtml+xml"}
    for path, headers in (("/api/nothing", browser), ("/operations/api/nothing", browser), ("/agent", {})):
        plain = httpx.get(visitor.centre.url + path, headers=headers)
        assert (plain.status_code, plain.json()) == (404, {"message": "There is nothing here."})
    visitor.wrong.clear()  # The browser reports the 404 itself.


def test_the_form_works_without_scripts(centre: Centre, chromium: Browser) -> None:
    visitor = Visitor(centre, chromium, java_script_enabled=False)
    try:
        page = visitor.sign_in("centre", "/segments?last=7d")
        page.get_by_label("Agent", exact=True).fill("Heron")
        page.get_by_role("button", name="Apply").click()
        assert parse_qs(urlsplit(page.url).query, keep_blank_values=True) == {
            "agent": ["3001"],
            "last": ["7d"],
            "tz": ["UTC"],
        }
        page = visitor.open("/agents?last=7d")
        page.get_by_role("link", name="interactive").first.click()
        expect(page.get_by_role("columnheader", name="interactive").first).to_have_attribute("aria-sort", "descending")
    finally:
        visitor.context.close()


def test_long_tables_can_be_skipped(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/segments?last=7d")
    for path, skip, then in (
        ("/segments?last=7d", "Skip the table of 50 segments", "Next"),
        ("/skill-segments?last=7d", "Skip the table of 50 segments", "Next"),
        ("/agents?last=7d", re.compile(r"Skip the table of \d+ agents"), "APIs"),
    ):
        visitor.open(path)
        page.get_by_role("link", name=skip).focus()
        expect(page.get_by_role("link", name=skip)).to_be_in_viewport()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=then)).to_be_focused()


# --- states -----------------------------------------------------------------------------------------------------------


def test_an_account_without_data_is_told_how_to_bring_some(visitor: Visitor) -> None:
    page = visitor.sign_in("fresh")
    expect(page.get_by_text("No conversation is open.")).to_be_visible()
    expect(page.locator("pre")).to_contain_text(f"{visitor.centre.url}/api/account/fresh/events")
    for path in ("/agents", "/skills", "/segments", "/skill-segments"):
        expect(visitor.open(path).get_by_text("No segment ended in this span.")).to_be_visible()


def test_what_the_data_are_worth_is_said(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=31d")
    expect(page.locator(".data-quality")).to_contain_text("no focus data")
    page.get_by_role("button", name="Sign out").click()
    page = visitor.sign_in("hostile")
    expect(page.locator(".data-quality")).to_contain_text("longer than 30 minutes")
    expect(page.get_by_text("begins in the middle")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Why")).first.click()
    expect(page.get_by_text("The conversation begins in the middle")).to_be_visible()
    expect(page.get_by_text("1 handle-time unit is longer than 30 minutes")).to_be_visible()


def test_texts_from_outside_stay_text(visitor: Visitor) -> None:
    page = visitor.sign_in("hostile", "/segments?userType=all")
    agent, skill = LABELS["agent", 66], LABELS["skill", 67]
    expect(page.locator("tbody tr").first).to_contain_text(skill)
    expect(page.locator("tbody tr").first.locator("td:nth-child(10)")).to_have_text(HOSTILE)
    page.locator("tbody tr td:nth-child(9) a").first.click()
    expect(page.get_by_role("group", name="Outcome")).to_contain_text(HOSTILE)
    page.locator("a.why").first.click()
    expect(page.locator("h1 bdi")).to_have_text(HOSTILE)
    expect(page.locator("tbody.chosen")).to_contain_text(agent)
    for path in ("/", "/agents", "/skills", f"/segments?source={HOSTILE[:64]}"):
        visitor.open(path)
        assert page.locator("main script, main img, main b:text-is('bold')").count() == 0
        assert page.title() != "owned"


def test_now_follows_what_happens_and_says_when_the_server_is_gone(visitor: Visitor) -> None:
    page = visitor.sign_in("golden")
    queue = page.locator(".tile", has_text="in queue").locator("dd")
    expect(queue).to_have_text("0")
    visitor.centre.bring("golden", opened_just_now("waits"))
    expect(queue).to_have_text("1")
    expect(page.get_by_role("region", name="Open conversations by skill")).to_contain_text("Billing")
    assert visitor.centre.stop() == 0  # Though a stream was open.
    expect(page.locator("#trouble")).to_contain_text("The server does not answer")
    # Held still or not: that the server is back is said.
    page.get_by_role("button", name="Pause").click()
    visitor.centre.start()
    expect(page.locator("#trouble")).to_be_hidden()
    visitor.centre.bring("golden", opened_just_now("waits too"))
    expect(queue).to_have_text("1")
    page.get_by_role("button", name="Paused: go on").click()
    expect(queue).to_have_text("2")
    visitor.wrong.clear()  # The browser reports refused connections itself.


def test_what_moves_can_be_held_still(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    seen = page.locator("#as-of").text_content() or ""
    expect(page.locator("#as-of")).not_to_have_text(seen)
    page.get_by_role("button", name="Pause").click()
    held = page.locator("#as-of").text_content() or ""
    heard = int(page.locator("#now").get_attribute("data-heard") or 0)
    page.wait_for_function("heard => Number(document.getElementById('now').dataset.heard) > heard", arg=heard)
    expect(page.locator("#as-of")).to_have_text(held)
    page.get_by_role("button", name="Paused: go on").click()
    expect(page.locator("#as-of")).not_to_have_text(held)


# --- what it looks like -----------------------------------------------------------------------------------------------

VIEWS = {
    "now": "/",
    "agents": "/agents?last=7d",
    "agent": "/agents?last=7d&agent=3001",
    "skills": "/skills?last=7d",
    "segments": "/segments?last=7d",
    "skill-segments": "/skill-segments?last=7d",
    "open": "/open",
    "waits": "/waits?last=7d",
}


@pytest.mark.parametrize("theme", mostly_long(["light", "dark"], 1))
def test_nothing_serious_is_wrong_with_accessibility(centre: Centre, chromium: Browser, theme: str) -> None:
    visitor = Visitor(centre, chromium, color_scheme=theme)
    rules = ["color-contrast"] if theme == "dark" else []
    try:
        visitor.open("/")
        assert serious_findings(visitor.page, rules) == []
        page = visitor.sign_in("centre", VIEWS["segments"])
        paths = {**VIEWS, "why": first_behind(page)}
        found = {name: serious_findings(visitor.open(path), rules) for name, path in paths.items()}
        assert found == {name: [] for name in paths}
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_the_theme_is_chosen_and_kept(visitor: Visitor) -> None:
    page = visitor.sign_in("golden")
    color = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for theme in ("dark", "light", "as the system"):
        page.get_by_role("button", name="Theme:").click()
        expect(page.get_by_role("button", name="Theme:")).to_have_text(f"Theme: {theme}")
        page.reload()
        expect(page.get_by_role("button", name="Theme:")).to_have_text(f"Theme: {theme}")
        seen[theme] = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    assert seen["light"] == seen["as the system"] != seen["dark"] == page.evaluate(color)


@pytest.mark.parametrize("width", [320, 3840])
def test_it_fits_a_phone_and_a_wall(centre: Centre, chromium: Browser, width: int) -> None:
    visitor = Visitor(centre, chromium, viewport={"width": width, "height": 800 if width < 1000 else 2160})
    try:
        page = visitor.sign_in("centre", VIEWS["segments"])
        for path in (*VIEWS.values(), first_behind(page)):
            visitor.open(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_everything_can_be_reached_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.sign_in("golden", "/segments")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    why = page.get_by_role("link", name=re.compile("^Why"))
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "why":
            break
    expect(why).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("svg.picture")).to_be_visible()
