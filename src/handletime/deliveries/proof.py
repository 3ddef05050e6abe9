"""How a delivery proves that its source sent it: a signature, a token in a header, or a secret in the address.

Compared in constant time. What is signed with a time must be of the last or next five minutes (http-api.md 5.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from handletime.clock import MINUTE
from handletime.events.book import instant

LATE_MAX_MS: Final = 5 * MINUTE
"""How far the time of a signed delivery may be from the server's, in milliseconds."""
ALGORITHMS: Final[Mapping[str, Callable[..., hashlib._Hash]]] = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
BODY, TIMESTAMP, HEX, BASE64 = "{body}", "{timestamp}", "{hex}", "{base64}"


class Wrong(Exception):
    """Why a delivery does not prove that its source sent it, for the server's log. Holds no secret."""


class Given(Struct, frozen=True):
    """What a request brings besides its body: `header` gives a header by name ("" if absent), `secret` is the
    parameter of that name in its address.
    """

    header: Callable[[str], str]
    secret: str


class InAddress(Struct, frozen=True):
    """The address ends in `?secret=…`."""

    secret: str

    def check(self, given: Given, now: int) -> None:  # noqa: ARG002 - each kind of proof is asked the same
        """Raises Wrong. `now` is in epoch milliseconds."""
        _require_same(given.secret, self.secret, "the secret in its address")

    def check_body(self, given: Given, body: bytes | bytearray) -> None:
        """The body proves nothing."""


class Token(Struct, frozen=True):
    """A header holds the secret."""

    secret: str
    header: str

    def check(self, given: Given, now: int) -> None:  # noqa: ARG002 - the same
        """Raises Wrong. `now` is in epoch milliseconds."""
        _require_same(given.header(self.header), self.secret, f"its header {self.header}")

    def check_body(self, given: Given, body: bytes | bytearray) -> None:
        """The body proves nothing."""


class Signature(Struct, frozen=True):
    """A header holds a HMAC (RFC 2104) of what was sent.

    `form` is the header's text around `{hex}` or `{base64}`. `signed` is what is signed, made of `{timestamp}` and
    `{body}`; the former is the text of the header `timestamp_header`: epoch seconds, or RFC 3339.
    """

    secret: str
    header: str
    form: str = "sha256={hex}"
    signed: str = BODY
    timestamp_header: str = ""
    algorithm: str = "sha256"

    def check(self, given: Given, now: int) -> None:
        """Checks all but the body. Raises Wrong. `now` is in epoch milliseconds."""
        if not given.header(self.header):
            raise Wrong(f"it has no header {self.header}")
        if self.timestamp_header:
            sent = _time(given.header(self.timestamp_header))
            if sent is None:
                raise Wrong(f"its header {self.timestamp_header} holds no time")
            if abs(now - sent) > LATE_MAX_MS:
                raise Wrong(f"its header {self.timestamp_header} is {abs(now - sent) // 1000} s away from our clock")

    def check_body(self, given: Given, body: bytes | bytearray) -> None:
        """Raises Wrong where the signature is not that of the body."""
        before, _, after = self.signed.partition(BODY)
        timestamp = given.header(self.timestamp_header) if self.timestamp_header else ""
        made = hmac.new(self.secret.encode(), digestmod=ALGORITHMS[self.algorithm])
        made.update(before.replace(TIMESTAMP, timestamp).encode())
        made.update(body)
        made.update(after.replace(TIMESTAMP, timestamp).encode())
        text = self.form.replace(HEX, made.hexdigest()).replace(BASE64, base64.b64encode(made.digest()).decode())
        _require_same(given.header(self.header), text, f"its header {self.header}")


Proof = InAddress | Token | Signature


def _require_same(given: str, wanted: str, what: str) -> None:
    if not given or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Wrong(f"{what} is {'not right' if given else 'missing'}")


def _time(text: str) -> int | None:
    """Epoch milliseconds; None where it is no time."""
    if text.isascii() and text.isdecimal() and len(text) <= 11:
        return int(text) * 1000
    return instant(text)
