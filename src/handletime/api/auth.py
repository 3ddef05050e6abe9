"""Who is asking, and what the key allows: Bearer (RFC 6750), on GET also as the password of HTTP Basic (RFC 7617), and
OAuth 1.0a (RFC 5849), http-api.md 1.

oauthlib compares the signatures. What it would let pass, or would refuse without saying why, is decided here
before: other methods, parameters given twice, the clock; and after it the nonce (http-api.md 1, "Authorization").
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256, RequestValidator, ResourceEndpoint

from handletime.clock import Clock
from handletime.errors import Forbidden, Unauthorized
from handletime.keys.keys import Key, Keys, Permission, Signer
from handletime.keys.sidefile import SideFile

AUTHORIZATION_MAX: Final = 8192
URL_MAX: Final = 16_384
NONCE_MAX: Final = 128
WINDOW_S: Final = 300
"""Seconds that an OAuth timestamp may be from our clock, either way."""
_FORGET_S: Final = WINDOW_S + 60
"""Nonces are kept a little longer than their timestamps are accepted, for a clock that is set back."""
METHODS: Final = (SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256)
READING: Final = frozenset({"GET", "HEAD"})
"""Methods on which a token is also taken as the password of HTTP Basic."""
BASIC: Final = 'Basic realm="handletime", charset="UTF-8"'
"""The challenge of a 401 that offers HTTP Basic."""
_METHODS_TOLD: Final = " or ".join(METHODS)
_REQUIRED: Final = (
    "oauth_consumer_key",
    "oauth_token",
    "oauth_signature_method",
    "oauth_signature",
    "oauth_timestamp",
    "oauth_nonce",
)
_PRINTABLE: Final = frozenset(map(chr, range(0x20, 0x7F)))
_PARAMETER: Final = re.compile(
    r"""[ ,]* ([\w.~%-]+) [ ]*=[ ]* (?: "((?:[^"\\]|\\.)*)" | ([^", ]*) ) [ ]* (?:,|\Z)""",
    re.VERBOSE | re.ASCII,
)

_STRAY_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_URL_CHARACTERS: Final = "%&=;:+~,*@!()/?'$"
"""What oauthlib accepts in a query besides letters, digits, `_`, `.` and `-`; before the query also `[` and `]`."""

# Its messages below warning name access tokens and base strings.
logging.getLogger("oauthlib").setLevel(logging.WARNING)


class AuthRequest(msgspec.Struct, frozen=True):
    """The parts of a request that say who is asking.

    `url` is the URL as the client saw it, query included, escapes untouched. `authorization` is the header's value:
    a list where it was sent several times, None where it was not sent.
    """

    method: str
    url: str
    authorization: str | Sequence[str] | None = None

    def __repr__(self) -> str:
        return f"AuthRequest(method={self.method!r}, url={self.url!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("method", self.method), ("url", self.url)]


class Authenticator:
    """Finds the key behind a request. Any thread may use it."""

    def __init__(self, side: SideFile, keys: Keys, clock: Clock) -> None:
        self._side = side
        self._keys = keys
        self._clock = clock

    def authenticate(self, request: AuthRequest) -> Key:
        """The key that the request was made with; of an OAuth request, its nonce is then used up.

        Raises Unauthorized, the same for every wrong key; NotNow and StoreError as `SideFile` does.
        """
        now_ms = self._clock.now()
        scheme, credentials = credentials_of(request)
        match scheme:
            case "bearer":
                key = self._bearer(credentials, now_ms)
            case "oauth":
                key = self._oauth(request, credentials, now_ms)
            case _:
                raise rejected(f"{told_of_bearer(request.method)} or OAuth 1.0a")
        self._keys.used(key, now_ms)
        return key

    def _bearer(self, token: str, now_ms: int) -> Key:
        key = self._keys.by_token(token, now_ms)
        if key is None:
            raise wrong_key()
        return key

    def _oauth(self, request: AuthRequest, header: str, now_ms: int) -> Key:
        parameters = _parameters(header)
        url = _escaped(request.url)
        timestamp = _check(parameters, url, now_ms)
        key = _signer(self._keys, request.method, url, parameters, now_ms)
        nonce, old = parameters["oauth_nonce"], now_ms // 1000 - _FORGET_S
        if not self._side.use_nonce(key.id, timestamp, nonce, forget_before=old):
            raise _refused("nonce_used", "the oauth_nonce was used before", "Sign each request anew.")
        return key


def authorize(key: Key, account: str, permission: Permission) -> None:
    """Lets a key do something with an account, or not.

    Raises Unauthorized, as for a wrong key, if it is another account's; Forbidden without the permission.
    """
    if key.account != account:
        raise wrong_key()
    if not key.may(permission):
        raise Forbidden(f"The key lacks the permission {permission}.")


class _Validator(RequestValidator):
    """What oauthlib asks about one request. An unknown signer takes the same path, and as long."""

    allowed_signature_methods = METHODS
    safe_characters: ClassVar = set(_PRINTABLE)
    client_key_length = access_token_length = nonce_length = (1, NONCE_MAX)
    timestamp_lifetime = 2**63  # `_check` knows our clock, oauthlib only the machine's.
    enforce_ssl = False  # TLS may end at a proxy.
    dummy_client = dummy_access_token = "nobody"  # noqa: S105

    def __init__(self, keys: Keys, now_ms: int) -> None:
        super().__init__()
        self._keys, self._now_ms = keys, now_ms
        self.signer: Signer

    def validate_client_key(self, client_key: str, *_: object) -> bool:
        self.signer = self._keys.by_app_key(client_key, self._now_ms)
        return self.signer.key is not None

    def validate_access_token(self, _: str, token: str, *__: object) -> bool:
        return self.signer.has_access_token(token)

    def get_client_secret(self, *_: object) -> str:
        return self.signer.app_secret

    def get_access_token_secret(self, *_: object) -> str:
        return self.signer.access_token_secret

    def validate_timestamp_and_nonce(self, *_: object, **__: object) -> bool:
        return True  # Asked before the signature is checked: too early to record a nonce.

    def validate_realms(self, *_: object, **__: object) -> bool:
        return True


def credentials_of(request: AuthRequest) -> tuple[str, str]:
    """The scheme, in lower case, and the rest of the one Authorization header. Raises Unauthorized.

    HTTP Basic, where it is allowed, becomes `bearer` and the password.
    """
    given = request.authorization
    headers = [given] if isinstance(given, str) else list(given or ())
    if len(headers) > 1:
        raise rejected("Authorization was sent more than once")
    header = headers[0].replace("\t", " ").strip(" ") if headers else ""
    if not header:
        raise _absent("Authorization")
    if len(header) > AUTHORIZATION_MAX:
        raise rejected(f"Authorization is longer than {AUTHORIZATION_MAX} characters")
    scheme, rest = _scheme_and_rest(header)
    if scheme != "basic" or request.method not in READING:
        return scheme, rest
    password = _password(rest)
    if password is None:
        raise rejected("HTTP Basic must be the base64 of `<any name>:<token>`")
    return "bearer", password


def told_of_bearer(method: str) -> str:
    """How a token may be given with a method, for errors."""
    also = ", HTTP Basic with the token as password" if method in READING else ""
    return f"Authorization must be `Bearer <token>`{also}"


def password_of(authorization: str) -> str | None:
    """The password in the value of an Authorization header, None where it is not HTTP Basic."""
    scheme, rest = _scheme_and_rest(authorization)
    return _password(rest) if scheme == "basic" else None


def _scheme_and_rest(header: str) -> tuple[str, str]:
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), rest.strip(" ")


def _password(packed: str) -> str | None:
    try:
        _, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None


def _parameters(header: str) -> dict[str, str]:
    """The header's `oauth_…` parameters, decoded (RFC 5849 3.5.1), without the realm, which is not signed."""
    parameters: dict[str, str] = {}
    for name, value in _pairs(header):
        if name.lower() == "realm":
            continue
        if not name.startswith("oauth_"):
            raise rejected("only oauth_ parameters and realm belong in the header")
        if name in parameters:
            raise rejected("a parameter was sent more than once")
        parameters[name] = value
    return parameters


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    if not header.isascii():
        raise rejected("the header must be ASCII")
    at, header = 0, header.strip(" ,")
    while at < len(header):
        match_ = _PARAMETER.match(header, at)
        if match_ is None:
            raise rejected('the header must be a list of name="value"')
        name, quoted, plain = match_.groups()
        at = match_.end()
        yield _decoded(name), _decoded(plain if quoted is None else quoted)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise rejected("escapes must be those of UTF-8") from None


def _check(parameters: Mapping[str, str], url: str, now_ms: int) -> int:
    """Refuses, with the reason, a request that is wrong with any key. Gives the timestamp in epoch seconds."""
    if absent := [name for name in _REQUIRED if not parameters.get(name)]:
        raise _absent(", ".join(absent))
    if parameters.get("oauth_version", "1.0") != "1.0":
        raise _refused("version_rejected", "the oauth_version must be 1.0")
    if parameters["oauth_signature_method"] not in METHODS:
        raise _refused("signature_method_rejected", f"the oauth_signature_method must be {_METHODS_TOLD}")
    nonce = parameters["oauth_nonce"]
    if len(nonce) > NONCE_MAX or not _PRINTABLE.issuperset(nonce):
        raise rejected(f"the oauth_nonce must be 1 to {NONCE_MAX} printable ASCII characters")
    if len(url) > URL_MAX:
        raise rejected(f"the URL is longer than {URL_MAX} characters")
    if any(name.startswith("oauth_") for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)):
        raise rejected("oauth_ parameters belong in the header, not in the query")
    return _timestamp(parameters["oauth_timestamp"], now_ms)


def _timestamp(text: str, now_ms: int) -> int:
    if re.fullmatch("[0-9]{10}", text) is None or abs(int(text) * 1000 - now_ms) > WINDOW_S * 1000:
        advice = f"the oauth_timestamp must be within {WINDOW_S} seconds of {now_ms // 1000}"
        raise _refused("timestamp_refused", advice, "Set your clock: seconds since 1970, UTC.")
    return int(text)


def _signer(keys: Keys, method: str, url: str, parameters: Mapping[str, str], now_ms: int) -> Key:
    """The key whose secrets the request is signed with, as oauthlib finds it."""
    validator = _Validator(keys, now_ms)
    header = ", ".join(f'{name}="{quote(value, safe="")}"' for name, value in parameters.items())
    try:
        signed, _ = ResourceEndpoint(validator).validate_protected_resource_request(
            url, http_method=method, headers={"Authorization": f"OAuth {header}"}
        )
    except ValueError:  # A host that is none: nobody can have signed this.
        signed = False
    if not signed or validator.signer.key is None:
        raise wrong_key()
    return validator.signer.key


def _escaped(url: str) -> str:
    """The URL for oauthlib, which accepts no raw `[`, `"` or `ä`, and forgets what stands behind a `#`."""
    place, question, query = url.partition("?")
    return _escaped_part(place, "[]") + question + _escaped_part(query)


def _escaped_part(text: str, more: str = "") -> str:
    return quote(_STRAY_PERCENT.sub("%25", text).encode(errors="surrogatepass"), safe=_URL_CHARACTERS + more)


def wrong_key() -> Unauthorized:
    """The error for a wrong key."""
    # One answer for wrong, unknown, revoked, expired and another account's: none tells that it is there.
    return _refused(
        "token_rejected",
        "the oauth_token is unacceptable to the Service Provider",
        "The key is wrong, revoked, expired or not for this account, or the signature does not fit.",
        bearer=', error="invalid_token"',
    )


def _absent(names: str) -> Unauthorized:
    return _refused("parameter_absent", f"a required parameter wasn't received: {names}")


def rejected(why: str) -> Unauthorized:
    """The error, with its reason, for a request that is wrong with any key."""
    return _refused("parameter_rejected", why)


def _refused(problem: str, advice: str, message: str = "", *, bearer: str = "") -> Unauthorized:
    """The error in the form of the OAuth problem reporting extension, which LivePerson uses."""
    told = quote(advice, safe="")
    return Unauthorized(
        f"oauth_problem={problem}&oauth_problem_advice={told}",
        message or f"{advice[0].upper()}{advice[1:]}.",
        f'OAuth realm="handletime", oauth_problem="{problem}", oauth_problem_advice="{told}", '
        f'Bearer realm="handletime"{bearer}',
    )
