"""One source of deliveries: whose it is, how its deliveries prove themselves, and how they become events.

Sources stand in the settings file, as `[source.NAME]`, or were set up by `handletime connect`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from handletime.deliveries.proof import BASE64, BODY, HEX, InAddress, Proof, Signature, Token
from handletime.errors import InputError
from handletime.events.book import is_account
from handletime.events.model import ACCOUNT_MAX
from handletime.sources.chatwoot.webhook import Options

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
NAME_FORM: Final = "1 to 40 small letters, digits, - and _"
SECRET_LEAST: Final = 8
"""The fewest characters of a secret."""


class Source(Struct, frozen=True, kw_only=True):
    """A source. `chatwoot` has the options of that kind, else `mapping` is the file of an SQL mapping.

    `keep` are the keys of bodies whose texts may be kept where a body could not be mapped.
    """

    account: str
    name: str
    proof: Proof
    chatwoot: Options | None = None
    mapping: Path | None = None
    keep: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What it is called in the settings file."""
        return "sql" if self.chatwoot is None else "chatwoot"


class Finds(Protocol):
    """Where sources are found."""

    def find(self, account: str, name: str) -> Source | None:
        """A source; None where there is none."""


class Described(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A source as it is written, in a settings file or beside the keys; `ALLOWED` says what each may be."""

    kind: Literal["chatwoot", "sql"]
    account: str
    secret: str
    skill: Literal["inbox", "team"] = "inbox"
    auto_resolve_minutes: int | None = None
    mapping: str | None = None
    proof: Literal["signature", "token", "address"] | None = None
    header: str | None = None
    form: str | None = None
    signed: str | None = None
    timestamp_header: str | None = None
    algorithm: Literal["sha1", "sha256", "sha512"] | None = None
    keep: list[str] = []


ALLOWED: Final[Mapping[str, str]] = {
    "kind": "chatwoot or sql",
    "account": f"an account: 1 to {ACCOUNT_MAX} letters and digits",
    "secret": f"the secret that deliveries are signed with, or carry: {SECRET_LEAST} characters or more",
    "skill": "what counts as skill, inbox or team (chatwoot)",
    "auto-resolve-minutes": "minutes after which Chatwoot resolves a silent conversation, 1 or more (chatwoot)",
    "mapping": "the file of a mapping, or the name of a shipped one (sql)",
    "proof": "signature, token (in a header) or address (the address ends in ?secret=…)",
    "header": "the header that has the signature or the token",
    "form": f"how the header is written around {HEX} or {BASE64}: sha256={HEX}",
    "signed": f"what is signed: {BODY}, or a text of {{timestamp}} and {BODY}",
    "timestamp-header": "the header with the time that is signed",
    "algorithm": "sha1, sha256 or sha512",
    "keep": "a list of keys whose texts are kept where a body cannot be mapped",
}
"""What each key of a source may be, in plain words."""
_OF_CHATWOOT: Final = ("skill", "auto-resolve-minutes")
_OF_SIGNATURES: Final = ("form", "signed", "timestamp-header", "algorithm")
_FIELD: Final = re.compile(r"`\$\.([\w-]+)|field `([\w-]+)`")
CHATWOOT_SIGNATURE: Final = {
    "header": "X-Chatwoot-Signature",
    "signed": "{timestamp}.{body}",
    "timestamp_header": "X-Chatwoot-Timestamp",
}


def sources_of(tables: Mapping[str, Any], file: Path) -> list[Source]:
    """The sources of a settings file: its tables by name. Paths start at the file's folder.

    Raises InputError: which key of which source, and what is allowed.
    """
    return [source_of(name, table, file) for name, table in tables.items()]


def source_of(name: str, table: object, file: Path) -> Source:
    """One source of a settings file. Raises InputError."""
    place = f"{file}: source.{name}"
    if not NAME.fullmatch(name):
        raise InputError(f"{place}: the name must be {NAME_FORM}")
    if not isinstance(table, dict):
        raise InputError(f"{place}: must be a table, [source.{name}]")
    unknown = [key for key in table if key not in ALLOWED]
    if unknown:
        near = difflib.get_close_matches(unknown[0], ALLOWED, 1)
        told = f"do you mean {near[0]}?" if near else f"there are {', '.join(ALLOWED)}"
        raise InputError(f"{place}.{unknown[0]}: is no setting of a source; {told}")
    try:
        described = msgspec.convert(table, Described)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        key = (found[1] or found[2]) if found else ""
        raise InputError(f"{place}.{key}: must be {ALLOWED.get(key, 'as the documentation says')}") from None
    return _checked(place, name, described, table, file.parent)


def described_source(account: str, name: str, described: bytes, secret: str) -> Source:
    """A source that was kept beside the keys. Raises InputError, where a newer handletime has described it."""
    try:
        table = {**msgspec.json.decode(described, type=dict[str, Any]), "account": account, "secret": secret}
        return source_of(name, table, Path())
    except msgspec.MsgspecError as error:
        raise InputError(f"source {name} is described in a way that this handletime does not know") from error


def _checked(place: str, name: str, described: Described, given: Mapping[str, Any], folder: Path) -> Source:
    def require(holds: object, key: str) -> None:
        if not holds:
            raise InputError(f"{place}.{key}: must be {ALLOWED[key]}")

    require(is_account(described.account), "account")
    require(len(described.secret) >= SECRET_LEAST and described.secret.isprintable(), "secret")
    is_chatwoot = described.kind == "chatwoot"
    for key in given:
        if (key in _OF_CHATWOOT and not is_chatwoot) or (key == "mapping" and is_chatwoot):
            raise InputError(f"{place}.{key}: belongs to another kind; this source is of kind {described.kind}")
    minutes = described.auto_resolve_minutes
    require(minutes is None or minutes > 0, "auto-resolve-minutes")
    require(is_chatwoot or described.mapping, "mapping")
    return Source(
        account=described.account,
        name=name,
        proof=_proof(place, described, given),
        chatwoot=Options(described.skill, minutes) if is_chatwoot else None,
        mapping=None if described.mapping is None else folder / described.mapping,
        keep=tuple(described.keep),
    )


def _proof(place: str, described: Described, given: Mapping[str, Any]) -> Proof:
    kind = described.proof or ("signature" if described.kind == "chatwoot" else None)
    if kind is None:
        raise InputError(f"{place}.proof: must be {ALLOWED['proof']}")
    useless = [key for key in (*_OF_SIGNATURES, "header") if key in given and not _belongs(key, kind)]
    if useless:
        raise InputError(f"{place}.{useless[0]}: means nothing where proof is {kind}")
    if kind == "address":
        return InAddress(described.secret)
    if described.kind == "chatwoot" and kind == "signature":
        return Signature(described.secret, **CHATWOOT_SIGNATURE)
    if not described.header:
        raise InputError(f"{place}.header: must be {ALLOWED['header']}")
    if kind == "token":
        if not described.secret.isascii() or described.secret != described.secret.strip():
            what = "must be ASCII (no ä, no é), without spaces around it"
            raise InputError(f"{place}.secret: {what}: a header brings nothing else")
        return Token(described.secret, described.header)
    parts = {key: value for key in _OF_SIGNATURES if (value := getattr(described, key.replace("-", "_"))) is not None}
    signature = Signature(described.secret, described.header, **{k.replace("-", "_"): v for k, v in parts.items()})
    if (HEX in signature.form) == (BASE64 in signature.form):
        raise InputError(f"{place}.form: must be {ALLOWED['form']}")
    if signature.signed.count(BODY) != 1 or ("{timestamp}" in signature.signed) != bool(signature.timestamp_header):
        raise InputError(f"{place}.signed: must be {ALLOWED['signed']}, the latter with timestamp-header")
    return signature


def _belongs(key: str, proof: str) -> bool:
    return proof == "signature" or (proof == "token" and key == "header")
