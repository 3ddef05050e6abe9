"""Who is asking, where only bearer tokens are accepted: servers that share keys share no memory of nonces."""

from __future__ import annotations

from typing import Protocol

from handletime.api.auth import AuthRequest, credentials_of, rejected, told_of_bearer, wrong_key
from handletime.clock import Clock
from handletime.keys.keys import Key


class TokenKeys(Protocol):
    """Knows the keys."""

    def by_token(self, token: str, now_ms: int) -> Key | None:
        """The key of a bearer token, None where it is wrong, revoked or expired."""


class BearerAuthenticator:
    """Finds the key behind a request. Any thread may use it."""

    def __init__(self, keys: TokenKeys, clock: Clock) -> None:
        self._keys, self._clock = keys, clock

    def authenticate(self, request: AuthRequest) -> Key:
        """The key that the request was made with. Raises Unauthorized; what the keys raise."""
        scheme, token = credentials_of(request)
        if scheme == "oauth":
            raise rejected("this server takes no OAuth 1.0a: use `Bearer <token>`")
        if scheme != "bearer":
            raise rejected(told_of_bearer(request.method))
        key = self._keys.by_token(token, self._clock.now())
        if key is None:
            raise wrong_key()
        return key
