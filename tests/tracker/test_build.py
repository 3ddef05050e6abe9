"""What `handletime tracker build` writes, and what it says.

Covers: cli/tracker.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from handletime.cli import cli
from handletime.cli.tracker import KINDS
from handletime.errors import InputError
from handletime.tracker import build as building
from handletime.tracker.build import (
    FIREFOX_ID,
    SOURCE,
    Desk,
    Plan,
    build,
    chromium_id,
    is_plain,
    origin_of,
    own_pattern,
    server_of,
)

SERVER = ("--server", "https://h.example.com/focus/", "--account", "acme")
DESK = ("--desk", "chatwoot=https://chat.example.com")
KEY = f"ht_{'0' * 12}_{'c' * 64}"


def run(*arguments: str, out: Path) -> Result:
    return CliRunner().invoke(cli, ["tracker", "build", *arguments, "--out", str(out)])


def manifest(folder: Path, browser: str) -> dict[str, Any]:
    found = json.loads((folder / browser / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


def test_it_writes_both_extensions_policies_and_scripts_and_says_what_next(tmp_path: Path) -> None:
    done = run(*SERVER, *DESK, "--own-desk", "http://[::1]:8081", r"/cases/(\d+)", out=tmp_path)
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {
        *("chromium", "chromium.zip", "firefox", "firefox.zip", "policies", "signing-key.pem"),
        *("dashboard-script.html", "liveperson-widget"),
    }
    for said in ("chrome://extensions", "about:debugging", "policies/", "signing-key.pem", "focus-origins"):
        assert said in done.output
    chromium, firefox = manifest(tmp_path, "chromium"), manifest(tmp_path, "firefox")
    assert chromium["permissions"] == firefox["permissions"] == ["storage", "idle"]
    assert chromium["host_permissions"] == ["https://h.example.com/*"]
    assert chromium["content_scripts"][0]["matches"] == ["http://[::1]:8081/*", "https://chat.example.com/*"]
    assert firefox["content_scripts"][0]["matches"] == ["http://[::1]/*", "https://chat.example.com/*"]
    assert chromium["background"] == {"service_worker": "worker.js", "type": "module"}
    policy = chromium["content_security_policy"]["extension_pages"]
    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith("; connect-src https://h.example.com")
    assert firefox["background"] == {"scripts": ["worker.js"], "type": "module"}


def test_whatever_the_manifest_or_a_module_names_is_there(tmp_path: Path) -> None:
    run(*SERVER, *DESK, out=tmp_path)
    for browser in ("chromium", "firefox"):
        folder = tmp_path / browser
        texts = [file.read_text() for file in folder.iterdir() if file.suffix in (".js", ".html", ".json")]
        named = {name for text in texts for name in re.findall(r'"(?:\./)?([\w/-]+\.(?:js|png|css|html))"', text)}
        assert len(named) > 12
        assert [name for name in named if not (folder / name).is_file()] == []


def test_the_server_and_desks_stand_in_what_is_built_and_a_key_only_where_it_was_given(tmp_path: Path) -> None:
    run(*SERVER, *DESK, out=tmp_path)
    config = (tmp_path / "chromium" / "config.js").read_text()
    assert '"server": "https://h.example.com/focus"' in config
    assert '"key": ""' in config
    assert "https://chat.example.com" in (tmp_path / "chromium" / "page.js").read_text()
    done = run(*SERVER, *DESK, "--key", KEY, out=tmp_path)
    assert "has this agent's key in it" in done.output
    assert KEY in (tmp_path / "firefox" / "config.js").read_text()
    for name in ("dashboard-script.html", "liveperson-widget/widget.js"):
        assert KEY not in (tmp_path / name).read_text()


def test_the_same_build_makes_the_same_archives_and_keeps_the_id(tmp_path: Path) -> None:
    def made() -> tuple[bytes, ...]:
        assert run(*SERVER, *DESK, out=tmp_path).exit_code == 0
        return tuple((tmp_path / name).read_bytes() for name in ("chromium.zip", "firefox.zip", "signing-key.pem"))

    first = made()
    (tmp_path / "chromium" / "left-over.js").touch()
    assert made() == first
    with zipfile.ZipFile(tmp_path / "chromium.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert "manifest.json" in names
    assert "left-over.js" not in names


def test_the_signing_key_is_its_owner_s_and_gives_chromium_the_id(tmp_path: Path) -> None:
    built = build(Plan("https://h.example.com", "acme", (Desk("https://c.example.com", "front"),)), tmp_path)
    assert built.new_signing_key
    assert stat.S_IMODE((tmp_path / "signing-key.pem").stat().st_mode) == 0o600
    public = base64.b64decode(manifest(tmp_path, "chromium")["key"])
    assert chromium_id(public) == built.chromium_id
    assert re.fullmatch("[a-p]{32}", built.chromium_id)
    first = int(hashlib.sha256(public).hexdigest()[0], 16)
    assert ord(built.chromium_id[0]) - ord("a") == first
    (tmp_path / "signing-key.pem").write_text("no key")
    done = run(*SERVER, *DESK, out=tmp_path)
    assert isinstance(done.exception, InputError)
    assert "put back the one that was there" in str(done.exception)


def test_policies_for_each_browser(tmp_path: Path) -> None:
    run(*SERVER, *DESK, "--mode", "strict", "--idle", "60", out=tmp_path)
    policies = tmp_path / "policies"
    wanted = {"server": "https://h.example.com/focus", "account": "acme", "mode": "strict", "idleSeconds": 60}
    identity = chromium_id(base64.b64decode(manifest(tmp_path, "chromium")["key"]))
    for name in ("chrome-linux.json", "edge-linux.json"):
        assert json.loads((policies / name).read_text())["3rdparty"]["extensions"] == {identity: wanted}
    firefox = json.loads((policies / "firefox-policies.json").read_text())
    assert firefox["policies"]["3rdparty"]["Extensions"] == {FIREFOX_ID: wanted}
    registry = (policies / "edge-windows.reg").read_bytes().decode("utf-16")
    path = rf"[HKEY_LOCAL_MACHINE\Software\Policies\Microsoft\Edge\3rdparty\extensions\{identity}\policy]"
    assert path + "\r\n" in registry
    assert '"idleSeconds"=dword:0000003c\r\n' in registry
    schema = json.loads((tmp_path / "chromium" / "managed_schema.json").read_text())
    assert wanted.keys() <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--server", "h.example.com", "--account", "acme", *DESK), "is no origin"),
        (("--server", "https://h.example.com?x", "--account", "acme", *DESK), "is no address"),
        (("--server", "https://h.example.com", "--account", "a-b", *DESK), "1 to 64 letters and digits"),
        (SERVER, "where do the agents work?"),
        ((*SERVER, "--desk", "chatwoot"), "KIND=ORIGIN"),
        ((*SERVER, "--desk", "gmail=https://x.example.com"), "KIND of chatwoot"),
        ((*SERVER, "--desk", "front=https://x.example.com/app"), "has more than an origin"),
        ((*SERVER, *DESK, *DESK), "stands there twice"),
        ((*SERVER, "--own-desk", "https://x.example.com", "/a/("), "is no regular expression"),
        ((*SERVER, "--own-desk", "https://x.example.com", r"/a/\d+"), "has 0 groups"),
        ((*SERVER, *DESK, "--key", "secret"), "a key looks like"),
        ((*SERVER, *DESK, "--idle", "5"), "15"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run(*arguments, out=tmp_path / "out")
    assert done.exit_code == 2
    assert said in re.sub(r"\s+", " ", done.output)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "firefox").mkdir()
    (tmp_path / "firefox" / "mine.txt").write_text("mine")
    done = run("--server", "https://h.example.com", "--account", "acme", *DESK, out=tmp_path)
    assert done.exit_code == 1
    assert (tmp_path / "firefox" / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["firefox"]


def test_a_server_without_encryption_is_warned_of(tmp_path: Path) -> None:
    done = run("--server", "http://h.example.com", "--account", "acme", *DESK, out=tmp_path)
    assert done.exit_code == 0
    assert "is not encrypted" in done.output
    assert is_plain("http://10.0.0.1:8080")
    assert not any(
        is_plain(each) for each in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]", "https://x")
    )


def test_origins_are_written_as_browsers_write_them() -> None:
    assert origin_of("https://Chat.Example.com:443/") == "https://chat.example.com"
    assert origin_of("http://localhost:3000") == "http://localhost:3000"
    assert server_of("https://h.example.com/a/") == "https://h.example.com/a"
    for wrong in ("ftp://x", "https://", "https://x:99999", "https://u:p@x", "https://x/ y", "https://ä.example.com"):
        with pytest.raises(InputError):
            origin_of(wrong)


def test_groups_of_javascript_are_counted() -> None:
    assert own_pattern(r"/a/(?<id>\d+)(?:/.*)?") == r"/a/(?<id>\d+)(?:/.*)?"
    assert own_pattern(r"(?<!b)/a/(\d+)")


def test_nothing_ends_the_script_that_it_stands_in(tmp_path: Path) -> None:
    desk = Desk("https://x.example.com", "own", "/</script>(a)")
    build(Plan("https://h.example.com", "acme", (desk,)), tmp_path)
    assert (tmp_path / "dashboard-script.html").read_text().count("</script>") == 1


def test_the_command_knows_the_same_desks() -> None:
    assert KINDS == building.KINDS
    source = (SOURCE / "desks.js").read_text()
    assert tuple(re.findall(r"^  (\w+): \{", source, re.MULTILINE)) == building.KINDS
