"""Who is calling a door, and what the door lets them do."""

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from api.statuses import ApiError, Code, Status

EVERY_SCOPE = frozenset(
    {
        "schema:read",
        "schema:write",
        "relationships:read",
        "relationships:write",
        "permissions:check",
        "watch",
        "admin",
    }
)


class Caller(NamedTuple):
    """An authenticated caller: who, and the scopes it holds."""

    id: str
    scopes: frozenset[str]


class Unauthenticated(ApiError):
    """No credential, or one that is not good."""

    def __init__(self, message: str) -> None:
        super().__init__(Status(Code.UNAUTHENTICATED, message))


class Authenticator:
    """Accepts pre-shared keys and access tokens.

    Args:
        preshared_keys: bearer tokens with every right on every store; none is fine.
        verify_token: gives the caller of an access token, or raises `Unauthenticated`.
    """

    def __init__(self, preshared_keys: Sequence[str], verify_token: Callable[[str], Caller]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in preshared_keys]
        self._verify_token = verify_token

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller of a request with this ``Authorization`` header (RFC 6750, section 2.1).

        Raises:
            Unauthenticated: there is none, or it is not good.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            raise Unauthenticated("a bearer token is needed: send `Authorization: Bearer …`")
        if not token:
            raise Unauthenticated("the authorization header has no token")
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(matches):
            return Caller(f"preshared-key-{matches.index(True) + 1}", EVERY_SCOPE)
        return self._verify_token(token)


def require_scope(caller: Caller, scope: str) -> None:
    """Let a caller pass only with a scope.

    Raises:
        ApiError: PERMISSION_DENIED.
    """
    if scope not in caller.scopes:
        raise ApiError(Status(Code.PERMISSION_DENIED, f"this needs the scope `{scope}`, which the token lacks"))
