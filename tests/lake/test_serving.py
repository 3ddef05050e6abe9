"""`serve --lake`: what it is told, what it refuses and why, and its page.

Covers: cli/lake_server.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from handletime.answers.registry import WITH_LEVELS
from handletime.answers.words import rfc_3339
from handletime.cli import cli
from handletime.errors import StoreError
from handletime.keys import keys_file as file_keys
from handletime.keys.keys import Permission
from handletime.lake.lake import Lake
from handletime.lake.tables import begin, finish, runs
from tests.crash.nursery import Nursery
from tests.lake.conftest import DAY, Places, Site, lake_server, segments
from tests.security.test_matrix import API

WHY_READ_ONLY = "This server takes no events"


def test_it_takes_no_events_and_says_why(places: Places, lake_site: Site) -> None:
    token = file_keys.create(places.keys, "north", ["admin"]).token
    answer = lake_site.client.post(
        "/api/account/north/events", content=b"nonsense", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 404
    assert WHY_READ_ONLY in answer.json()["message"]
    assert lake_site.client.post("/api/account/north/events").status_code == 401


def test_without_events_nothing_is_explained_and_it_says_why(places: Places, nursery: Nursery) -> None:
    with lake_server(nursery, places, places.folder / "without") as site:
        answer = site.get("/api/account/north/conversations/any/explain", "north")
        assert answer.status_code == 404
        assert "started without --events" in answer.json()["message"]
        signed_in(site, "north")
        page = site.client.get("/why?conversation=any&tz=UTC", headers={"Accept": "text/html"})
        assert page.status_code == 404
        assert "started without --events" in page.text


def test_oauth_is_refused_with_the_reason(lake_site: Site) -> None:
    path = "/operations/api/account/north/msgagentsegments?v=1&timeframe=60"
    answer = lake_site.client.get(path, headers={"Authorization": 'OAuth oauth_consumer_key="x"'})
    assert answer.status_code == 401
    assert "takes no OAuth 1.0a" in answer.json()["message"]
    assert "www-authenticate" in answer.headers


# --- the page --------------------------------------------------------------------------------------------------------


def signed_in(site: Site, account: str) -> httpx.Client:
    """A browser that is signed in."""
    browser = site.client
    browser.cookies.clear()
    form = browser.get("/sign-in").text
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', form)
    assert found is not None
    fields = {"key": site.tokens[account], "next": "/", "tz": "UTC", "form_token": found[1]}
    assert browser.post("/sign-in", data=fields).status_code == 303
    return browser


def pages(places: Places) -> Iterator[str]:
    span = f"from={places.now - 3 * DAY}&to={places.now}"
    yield f"/agents?{span}"
    yield f"/agents?{span}&interval=day&userType=human"
    yield f"/skills?{span}"
    yield f"/segments?{span}&limit=20&userType=all"
    yield f"/segments.csv?{span}"
    yield f"/agents.csv?{span}"
    yield f"/skills.csv?{span}&table=2"
    yield f"/skill-segments.csv?{span}"
    yield f"/history.csv?{span}&interval=day"
    yield from (f"/{table}.csv?{span}" for table in ("slowest", "weekdays", "transfers"))
    yield f"/skill-segments?{span}&limit=20"


def shown(page: httpx.Response) -> str:
    """What a page shows of the data: not its frame, nor where the server is."""
    text = page.text.partition('<main id="main"')[2] or page.text
    return text.replace(page.url.netloc.decode(), "")


def has_ended(site: Site, account: str, conversation: str) -> bool:
    """Whether nothing of a conversation still runs."""
    told = site.get(f"/api/account/{account}/conversations/{quote(conversation, safe='')}/explain", account).json()
    rows = [*told["agentSegments"], *told["skillSegments"], *told["queueSegments"]]
    return all(row["end"] is not None for row in rows) and not told["moments"][-1].get("open")


@pytest.mark.parametrize("account", ["north", "local"])
def test_the_pages_show_what_those_over_a_store_show(
    account: str, places: Places, store_site: Site, lake_site: Site
) -> None:
    browsers = [signed_in(site, account) for site in (store_site, lake_site)]
    segments = store_site.get(
        f"/api/account/{account}/agent-segments?source=t&from={places.now - 3 * DAY}", account
    ).json()["segments"]
    # The picture of what still runs goes up to now, which is later for the second one.
    segment = next(each for each in segments if has_ended(store_site, account, each["conversationId"]))
    why = str(httpx.URL("/why", params={"conversation": segment["conversationId"]}))
    day = f"/agent-day?agent={segment['agentId']}&day={rfc_3339(places.now - 2 * DAY)[:10]}&tz=UTC"
    # The last row of a run ends what is known of a focus: so it does within this day of the other account.
    span = f"from={places.now - 3 * DAY}&to={places.now}&tz=UTC"
    files = [
        *(why.replace("/why?", f"/why-{table}.csv?") for table in ("waits", "segments", "units", "events")),
        *(f"/{table}.csv?agent={segment['agentId']}&{span}" for table in ("peers", "at-once")),
    ]
    for path in (*pages(places), why, *files, *([day] if account == "north" else [])):
        expected, found = (browser.get(path) for browser in browsers)
        assert (found.status_code, found.headers["content-type"]) == (200, expected.headers["content-type"]), path
        assert shown(found) == shown(expected), path


def test_a_service_level_is_one_number_wherever_it_is_asked_for(
    places: Places, store_site: Site, lake_site: Site
) -> None:
    """The page, its file, the API as JSON and as CSV, the command, over a store and over tables."""
    key = "firstResponseServiceLevelPercent"
    span = f"from={places.now - 3 * DAY}&to={places.now}"
    found = []
    for site in (store_site, lake_site):
        asked = f"/api/account/north/report?{span}&by=skill&metrics={key}"
        rows = site.get(asked, "north").json()
        table = list(csv.DictReader(io.StringIO(site.get(f"{asked}&format=csv", "north").text)))
        assert [float(row[key]) if row[key] else None for row in table] == [row[key] for row in rows]
        browser = signed_in(site, "north")
        page = browser.get(f"/skills?{span}").text
        said = {row["skillId"]: WITH_LEVELS[key].said(row[key]) for row in rows if row[key] is not None}
        assert len(said) > 1
        for text in said.values():
            assert f">{text}<" in page
        file = list(csv.DictReader(io.StringIO(browser.get(f"/skills.csv?{span}").text)))
        assert {int(row["skillId"]): float(row[key]) for row in file if row[key]} == {
            row["skillId"]: row[key] for row in rows if row[key] is not None
        }
        command = ["report", "--url", str(site.client.base_url), "--token", site.tokens["north"], "--account", "north"]
        times = ["--from", str(places.now - 3 * DAY), "--to", str(places.now)]
        told = CliRunner().invoke(cli, [*command, *times, "--by", "skill", "--metrics", key, "--format", "json"])
        assert json.loads(told.output) == rows
        found.append(rows)
    assert found[0] == found[1]


def test_the_page_has_no_now(lake_site: Site) -> None:
    browser = signed_in(lake_site, "north")
    begin_ = browser.get("/")
    assert (begin_.status_code, begin_.headers["location"]) == (303, "/agents")
    page = browser.get("/agents")
    links = re.findall(r'<li><a href="([^"?]+)', page.text)
    assert links == ["/agents", "/skills", "/segments"]
    for path in ("/open", "/now/data", "/now/events"):
        assert browser.get(path).status_code == 404


# --- other accounts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [route for route in API if route.startswith("GET")])
def test_another_accounts_key_looks_like_a_wrong_one(route: str, places: Places, lake_site: Site) -> None:
    """Every route of the methods, for everybody who may not."""
    permission, more = API[route]
    path = (route.split(" ")[1] + more).format(account="north", segment="s", conversation="c", file="/x")
    revoked = file_keys.create(places.keys, "north")
    file_keys.revoke(places.keys, revoked.id)
    wrong = ["nonsense", f"ht_{'0' * 12}_{'0' * 64}", revoked.token, lake_site.tokens["south"]]
    answers = [lake_site.client.get(path, headers={"Authorization": f"Bearer {token}"}) for token in wrong]
    nobodys = path.replace("/north/", "/nobodys/")
    answers.append(lake_site.client.get(nobodys, headers={"Authorization": f"Bearer {lake_site.tokens['north']}"}))
    assert {(each.status_code, each.text, each.headers["www-authenticate"]) for each in answers} == {
        (401, answers[0].text, answers[0].headers["www-authenticate"])
    }
    other: Permission = "operations" if permission == "handle-time" else "handle-time"
    lacking = file_keys.create(places.keys, "north", [other])
    answer = lake_site.client.get(path, headers={"Authorization": f"Bearer {lacking.token}"})
    assert answer.status_code == 403


def test_what_is_anothers_is_not_there(places: Places, lake_site: Site) -> None:
    span = f"from={places.now - 3 * DAY}&to={places.now}"
    theirs = lake_site.get(f"/api/account/south/agent-segments?source=test&{span}", "south").json()["segments"][0]
    files = lake_site.get(f"/api/account/south/agent-segments/breakdown?source=test&{span}", "south").json()["files"]
    mine = "/api/account/north"
    file = f"{mine}/agent-segments/files?source=test&path="
    for path, nobodys in (
        (f"{mine}/conversations/{theirs['conversationId']}/explain", f"{mine}/conversations/none/explain"),
        (f"{mine}/agent-segments/{theirs['segmentId']}/explain", f"{mine}/agent-segments/none/explain"),
        (file + files[0], file + files[0].replace("accountId=south", "accountId=none")),
        (file + files[0].replace("accountId=south", "accountId=north").replace("sequences.1", "sequences.2"), ""),
    ):
        answer = lake_site.get(path, "north")
        assert answer.status_code == 404
        if nobodys:
            assert answer.text.replace("conversation", "segment") in (
                lake_site.get(nobodys, "north").text.replace("conversation", "segment"),
            )


# --- what it is told -------------------------------------------------------------------------------------------------


def run(*arguments: object, **env: str) -> str:
    """What a server that does not start says."""
    done = CliRunner().invoke(cli, ["serve", *map(str, arguments)], env={"HANDLETIME_DATA": "", **env})
    assert done.exit_code != 0
    return done.output + (str(done.exception) if done.exception else "")


def test_settings_of_a_store_are_refused(small: Places, tmp_path: Path) -> None:
    lake = ("--lake", small.lake, "--keys", small.keys)
    assert "--data is for a store, and means nothing with --lake" in run(*lake, "--data", tmp_path)
    assert "--retain is for a store" in run(*lake, "--retain", 5)
    assert "--ingest-requests is for a store" in run(*lake, "--ingest-requests", 5)
    assert "HANDLETIME_INGEST_MEMORY in the environment is for a store" in run(*lake, HANDLETIME_INGEST_MEMORY="1GiB")
    (tmp_path / "h.toml").write_text('data = "store"\n')
    assert "data in" in run(*lake, "--config", tmp_path / "h.toml")
    assert "--lake needs --keys" in run("--lake", small.lake)
    assert "--keys belongs to --lake" in run("--data", tmp_path / "store", "--keys", small.keys)
    assert "--events belongs to --lake" in run("--data", tmp_path / "store", "--events", tmp_path)
    assert "Missing option '--data' (a store) or '--lake' (tables)" in run()


def test_a_folder_in_the_environment_is_as_if_it_were_not_there(
    small: Places, nursery: Nursery, tmp_path: Path
) -> None:
    """Containers set it, whatever is served."""
    chosen = ("--lake", small.lake, "--keys", small.keys, "--port", "0")
    server = nursery.start(tmp_path / "env", "serve", *chosen, env={"HANDLETIME_DATA": str(tmp_path / "store")})
    assert server.address() is not None, server.log.read_text()
    assert not (tmp_path / "store").exists()
    server.kill()


def test_without_the_package_it_says_which_to_install(small: Places) -> None:
    program = "import sys; sys.modules['deltalake'] = None; from handletime.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", "--lake", str(small.lake), "--keys", str(small.keys)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'handletime[spark]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_tables_is_refused(small: Places, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there are no tables of handletime" in run("--lake", empty, "--keys", small.keys)
    begin(empty)
    assert "no run is finished yet" in run("--lake", empty, "--keys", small.keys)
    shutil.rmtree(small.lake / "handle_time_units")
    assert "handle_time_units cannot be read" in run("--lake", small.lake, "--keys", small.keys)
    odd = tmp_path / "a[b]"
    odd.mkdir()
    assert "may have none of" in run("--lake", odd, "--keys", small.keys)


def test_a_log_that_names_another_accounts_folder_is_refused(small: Places) -> None:
    """Nobody is ever given a file that does not lie in the account's own folder."""
    table = DeltaTable(small.lake / "agent_segments")
    path = next(iter(small.lake.glob("agent_segments/accountId=north/*/*.parquet"))).relative_to(
        small.lake / "agent_segments"
    )
    action = AddAction(str(path), 1, {"accountId": "south", "day": "2026-11-20"}, 1, data_change=True, stats="{}")
    table.create_write_transaction([action], "append", table.schema(), ["accountId", "day"])
    moved = DeltaTable(small.lake / "agent_segments").version()
    last = runs(small.lake)[-1]
    finish(small.lake, begin(small.lake), last._replace(number=2, versions={**last.versions, "agent_segments": moved}))
    with pytest.raises(StoreError, match="the log names"):
        Lake(small.lake)


def test_tables_that_vanish_are_told(small: Places, nursery: Nursery) -> None:
    with lake_server(nursery, small, small.folder / "one") as site:
        assert segments(site, small)[0] == 5
        small.lake.rename(small.folder / "away")
        path = f"/api/account/north/agent-segments?source=test&from={small.now - 4 * DAY}"
        answer = site.get(path, "north")
        assert answer.status_code == 503
        assert "cannot be read" in answer.json()["message"]
        ready = wait_for_status(site, 503)
        assert "there are no tables" in ready.json()["message"]
        (small.folder / "away").rename(small.lake)
        wait_for_status(site, 200)
        assert segments(site, small)[0] == 5


def wait_for_status(site: Site, status: int) -> httpx.Response:
    """What /readyz says once it has this status."""
    deadline = time.monotonic() + 30
    while (answer := site.client.get("/readyz")).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return answer
