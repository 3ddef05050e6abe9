"""Puts the focus tracker together for one server: the extension, policies, and scripts for pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from handletime import __version__
from handletime.errors import InputError
from handletime.files import replace_whole

SOURCE: Final = Path(__file__).parent / "extension"
KINDS: Final = ("chatwoot", "zendesk", "rocketchat", "intercom", "zammad", "freshdesk", "front")
"""The desks whose addresses `desks.js` knows; a test compares them."""
OWN: Final = "own"
SIGNING_KEY: Final = "signing-key.pem"
FIREFOX_ID: Final = "focus@handletime"
WORKER: Final = ("asking.js", "clock.js", "config.js", "focus.js", "sending.js", "settings.js", "worker.js")
OPTIONS: Final = ("desks.js", "options.css", "options.html", "options.js", "managed_schema.json")
CONTENT: Final = ("desks.js", "desklist.js", "watching.js", "page.js")
IN_PAGE: Final = ("config.js", "clock.js", "focus.js", "sending.js", "asking.js")
SCRIPT: Final = (*IN_PAGE, "alone.js", "desks.js", "desklist.js", "watching.js", "script.js")
WIDGET: Final = (*IN_PAGE, "alone.js", "watching.js", "liveperson.js")
_KEY_BITS: Final = 2048
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive, so that the same files make the same archive."""

Mode = Literal["visible", "strict"]


@dataclass(frozen=True)
class Desk:
    """A place where agents work: its origin, its kind (`KINDS` or `own`), and for `own` the expression."""

    origin: str
    kind: str
    pattern: str = ""


@dataclass(frozen=True)
class Plan:
    """What the tracker is built for. `key` names one agent, and is empty where each enters their own."""

    server: str
    account: str
    desks: tuple[Desk, ...]
    mode: Mode = "visible"
    idle_seconds: int = 120
    key: str = ""


@dataclass(frozen=True)
class Built:
    """What was made: the id that Chromium gives the extension, and whether its key is a new one."""

    chromium_id: str
    new_signing_key: bool


def origin_of(text: str) -> str:
    """An origin as browsers write it: scheme, host, and the port where it is not the usual one. Raises InputError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError(f"{text!r} is no origin: {error}; write https://chat.example.com") from error
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host):
        raise InputError(f"{text!r} is no origin; write https://chat.example.com")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise InputError(f"{text!r} has more than an origin: without path, query and user, like https://{host}")
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def server_of(text: str) -> str:
    """The server's address, also with a path, without a slash at its end. Raises InputError."""
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise InputError(f"{text!r} is no address of a server; write https://handletime.example.com")
    origin = origin_of(f"{parts.scheme}://{parts.netloc}")
    if not re.fullmatch(r"(/[\w.~-]+)*/?", parts.path, re.ASCII):
        raise InputError(f"{text!r}: the path of a server has letters, digits and - . _ ~ only")
    return origin + parts.path.rstrip("/")


def is_plain(server: str) -> bool:
    """Is it an address of http, not on this computer? Whoever listens on the way reads the keys."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not loopback


def own_pattern(text: str) -> str:
    """An expression with one group, as far as Python can tell: it is JavaScript that uses it. Raises InputError."""
    try:
        groups = re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text)).groups
    except re.error as error:
        raise InputError(f"{text!r} is no regular expression: {error}") from error
    if groups != 1:
        raise InputError(
            f"{text!r} has {groups} groups; exactly one is needed, around the conversation's id "
            "(groups for something else are written (?:…))"
        )
    return text


def build(plan: Plan, out: Path) -> Built:
    """Writes everything to a folder, in the place of what an earlier build wrote there.

    The key that fixes the extension's id for Chromium is kept. Raises InputError, also where the folder holds what no
    build has written; OSError.
    """
    if out.exists() and not (out / SIGNING_KEY).exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and has no {SIGNING_KEY} of an earlier build; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    private, new = _signing_key(out / SIGNING_KEY)
    public = _public_part(private)
    identity = chromium_id(public)
    made = {"config.js": _config(plan), "desklist.js": _desk_list(plan)}
    _folder(out / "chromium", plan, made, _chromium(plan, base64.b64encode(public).decode()))
    _folder(out / "firefox", plan, made, _firefox(plan))
    for name in ("chromium", "firefox"):
        _zip(out / name, out / f"{name}.zip")
    _fresh(out / "policies")
    for name, content in policies(plan, identity).items():
        (out / "policies" / name).write_bytes(content)
    # No key stands in what every agent's page has.
    public_made = {**made, "config.js": _config(plan, key="")}
    (out / "dashboard-script.html").write_text(f"<script>\n{joined(SCRIPT, public_made)}</script>\n")
    _fresh(out / "liveperson-widget")
    (out / "liveperson-widget" / "widget.js").write_text(joined(WIDGET, public_made))
    shutil.copyfile(SOURCE / "liveperson.html", out / "liveperson-widget" / "index.html")
    return Built(identity, new)


def joined(names: Iterable[str], made: Mapping[str, str]) -> str:
    """Modules as one classic script, in this order: what one imports of another is in the same scope."""
    texts = [made.get(name) or (SOURCE / name).read_text() for name in names]
    plain = [re.sub(r"^import .*;\n", "", text, flags=re.MULTILINE) for text in texts]
    body = "\n".join(
        re.sub(r"^export (?=(async )?(function|const|class|let)\b)", "", each, flags=re.M) for each in plain
    )
    return f'"use strict";\n(() => {{\n{body}}})();\n'


def chromium_id(public: bytes) -> str:
    """The id that Chromium derives from a public key (DER)."""
    return hashlib.sha256(public).hexdigest()[:32].translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))


def policies(plan: Plan, identity: str) -> dict[str, bytes]:
    """Managed settings for each browser, by the name of the file."""
    values: dict[str, str | int] = {"server": plan.server, "account": plan.account, "mode": plan.mode}
    values["idleSeconds"] = plan.idle_seconds
    if plan.key:
        values["key"] = plan.key
    chromium = _json({"3rdparty": {"extensions": {identity: values}}})
    return {
        "chrome-linux.json": chromium,
        "edge-linux.json": chromium,
        "chrome-windows.reg": _registry("Google\\Chrome", identity, values),
        "edge-windows.reg": _registry("Microsoft\\Edge", identity, values),
        "firefox-policies.json": _json({"policies": {"3rdparty": {"Extensions": {FIREFOX_ID: values}}}}),
    }


def _registry(product: str, identity: str, values: Mapping[str, str | int]) -> bytes:
    lines = ["Windows Registry Editor Version 5.00", ""]
    lines.append(f"[HKEY_LOCAL_MACHINE\\Software\\Policies\\{product}\\3rdparty\\extensions\\{identity}\\policy]")
    for name, value in values.items():
        text = f"dword:{value:08x}" if isinstance(value, int) else json.dumps(value)
        lines.append(f'"{name}"={text}')
    return ("\r\n".join(lines) + "\r\n").encode("utf-16")


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _config(plan: Plan, key: str | None = None) -> str:
    built = {
        "server": plan.server,
        "account": plan.account,
        "key": plan.key if key is None else key,
        "mode": plan.mode,
        "idleSeconds": plan.idle_seconds,
    }
    type_ = re.search(r"^/\*\* @type .*\*/$", (SOURCE / "config.js").read_text(), re.MULTILINE)
    assert type_  # noqa: S101
    return f"// Written by `handletime tracker build`.\n{type_[0]}\nexport const BUILT = {_literal(built)};\n"


def _desk_list(plan: Plan) -> str:
    desks = [{"origin": desk.origin, "kind": desk.kind, "pattern": desk.pattern} for desk in plan.desks]
    head = '// Written by `handletime tracker build`.\n/** @type {import("./desks.js").Desk[]} */\n'
    return f"{head}export const DESKS = {_literal(desks)};\n"


def _literal(value: object) -> str:
    # It also stands in pages: nothing may end the script there.
    return json.dumps(value, indent=2).replace("<", "\\u003c")


def _folder(folder: Path, plan: Plan, made: Mapping[str, str], manifest: dict[str, Any]) -> None:
    _fresh(folder)
    for name in sorted({*WORKER, *OPTIONS}):
        if name in made:
            (folder / name).write_text(made[name])
        else:
            shutil.copyfile(SOURCE / name, folder / name)
    (folder / "page.js").write_text(joined(CONTENT, made))
    shutil.copytree(SOURCE / "icons", folder / "icons")
    (folder / "manifest.json").write_bytes(_json(manifest))
    if plan.key:
        (folder / "config.js").chmod(0o600)


def _fresh(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir()


def _manifest(plan: Plan, *, with_ports: bool) -> dict[str, Any]:
    icons = {"16": "icons/off-16.png", "32": "icons/off-32.png"}
    return {
        "manifest_version": 3,
        "name": "handletime focus",
        "description": "Tells your company's handletime server which conversation is on the screen, and when.",
        "version": ".".join(re.findall(r"\d+", __version__)[:3]),
        "icons": {"16": "icons/on-16.png", "32": "icons/on-32.png", "48": "icons/on-48.png", "128": "icons/on-128.png"},
        "permissions": ["storage", "idle"],
        "host_permissions": [_pattern(plan.server, with_ports=with_ports)],
        "content_scripts": [
            {
                "matches": sorted({_pattern(desk.origin, with_ports=with_ports) for desk in plan.desks}),
                "js": ["page.js"],
                "run_at": "document_start",
            }
        ],
        "action": {"default_icon": icons, "default_title": "handletime"},
        "options_ui": {"page": "options.html", "open_in_tab": True},
        "content_security_policy": {
            "extension_pages": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            + _connect(plan)
        },
    }


def _connect(plan: Plan) -> str:
    """Whom the extension may send anything to, whatever its code says. Policies have no form for IPv6."""
    parts = urlsplit(plan.server)
    return f"connect-src {parts.scheme}:" + ("" if "[" in parts.netloc else f"//{parts.netloc}")


def _pattern(address: str, *, with_ports: bool) -> str:
    """Whom a browser lets the extension speak to, or run in. Firefox knows no ports there; `desks.js` does."""
    parts = urlsplit(address)
    host = parts.netloc if with_ports else parts.netloc.removesuffix(f":{parts.port}")
    return f"{parts.scheme}://{host}/*"


def _chromium(plan: Plan, public: str) -> dict[str, Any]:
    return {
        **_manifest(plan, with_ports=True),
        "key": public,
        "minimum_chrome_version": "120",
        "background": {"service_worker": "worker.js", "type": "module"},
        "storage": {"managed_schema": "managed_schema.json"},
    }


def _firefox(plan: Plan) -> dict[str, Any]:
    return {
        **_manifest(plan, with_ports=False),
        "background": {"scripts": ["worker.js"], "type": "module"},
        "browser_specific_settings": {
            "gecko": {
                "id": FIREFOX_ID,
                "strict_min_version": "142.0",
                "data_collection_permissions": {"required": ["browsingActivity", "websiteActivity"]},
            }
        },
    }


def _zip(folder: Path, path: Path) -> None:
    staged = path.with_suffix(".zip.new")
    with zipfile.ZipFile(staged, "w") as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _LONG_AGO)
            entry.external_attr = 0o644 << 16
            # Stored, not packed: how it is packed differs from one zlib to the next.
            archive.writestr(entry, file.read_bytes())
    staged.replace(path)


def _signing_key(path: Path) -> tuple[Any, bool]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    if path.exists():
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is no private key in PEM; put back the one that was there: it makes the id"
            ) from error
        if not isinstance(private, rsa.RSAPrivateKey):
            raise InputError(f"{path} is no RSA key; put back the one that was there: it makes the extension's id")
        return private, False
    private = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    replace_whole(path, private.private_bytes(*form), 0o600)
    return private, True


def _public_part(private: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return bytes(public)
