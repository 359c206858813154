"""Who is calling a door, and what the door lets them do."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    """No credential, or one that is not good.

    Args:
        challenge: the ``WWW-Authenticate`` header of the answer (RFC 6750, section 3; RFC 9449, section 7.1).
        dpop_nonce: what the next proof of possession must carry.
    """

    def __init__(self, message: str, challenge: str = "Bearer", dpop_nonce: str | None = None) -> None:
        super().__init__(Status(Code.UNAUTHENTICATED, message))
        self.challenge = challenge
        self.dpop_nonce = dpop_nonce


def challenges(error: Exception) -> list[tuple[str, str]]:
    """The headers by which a 401 tells how to authenticate."""
    if not isinstance(error, Unauthenticated):
        return [("www-authenticate", "Bearer")]
    nonce = [] if error.dpop_nonce is None else [("dpop-nonce", error.dpop_nonce)]
    return [("www-authenticate", error.challenge), *nonce]


class Possession(NamedTuple):
    """A request that proves possession of the key that its token is bound to."""

    token: str
    proofs: Sequence[str]
    method: str
    path: str


class NotKnownYet(ApiError):
    """Memory alone cannot tell whether the token is good; the database can."""

    def __init__(self) -> None:
        super().__init__(Status(Code.UNAVAILABLE, "it is not known whether the token is good", retry_after_s=1))


class Authenticator:
    """Accepts pre-shared keys and access tokens.

    Args:
        preshared_keys: bearer tokens with every right on every store; none is fine.
        verify_token: gives the caller of an access token, or raises `Unauthenticated`, or `NotKnownYet`.
        ask_about_token: the same for `authenticate_or_ask`; it may wait for the database.
        prove: the same for a token that comes with a proof of possession.
    """

    def __init__(
        self,
        preshared_keys: Sequence[str],
        verify_token: Callable[[str], Caller],
        ask_about_token: Callable[[str], Awaitable[Caller]] | None = None,
        prove: Callable[[Possession], Awaitable[Caller]] | None = None,
    ) -> None:
        self._digests = [sha256(key.encode()).digest() for key in preshared_keys]
        self._verify_token = verify_token
        self._ask_about_token = ask_about_token
        self._prove = prove

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller of a request with this ``Authorization`` header (RFC 6750, section 2.1).

        Raises:
            Unauthenticated: there is none, or it is not good.
            NotKnownYet: memory alone cannot tell.
        """
        scheme, token = _split(authorization)
        if scheme.lower() != "bearer":
            raise Unauthenticated("a bearer token is needed: send `Authorization: Bearer …`")
        if not token:
            raise Unauthenticated("the authorization header has no token")
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(matches):
            return Caller(f"preshared-key-{matches.index(True) + 1}", EVERY_SCOPE)
        return self._verify_token(token)

    async def authenticate_or_ask(self, authorization: str | None) -> Caller:
        """As `authenticate`; where memory alone cannot tell, the database is asked.

        Raises:
            Unauthenticated: there is none, or it is not good.
            ApiError: UNAVAILABLE, when nobody can tell at the moment.
        """
        try:
            return self.authenticate(authorization)
        except NotKnownYet:
            if self._ask_about_token is None:
                raise
            return await self._ask_about_token(_split(authorization)[1])

    async def authenticate_request(self, headers: Mapping[str, str], method: str, path: str) -> Caller:
        """The caller of a request: by a bearer token, or by one that is bound to a key and a proof of that key.

        Args:
            path: the path asked, as our own routes name it.

        Raises:
            Unauthenticated: no credential, or one that is not good.
            ApiError: UNAVAILABLE, when nobody can tell at the moment.
        """
        authorization = headers.get("authorization")
        scheme, token = _split(authorization)
        if scheme.lower() != "dpop" or self._prove is None:
            return await self.authenticate_or_ask(authorization)
        proof = headers.get("dpop")
        return await self._prove(Possession(token, () if proof is None else (proof,), method, path))


def _split(authorization: str | None) -> tuple[str, str]:
    scheme, _, token = (authorization or "").partition(" ")
    return scheme, token.strip()


def require_scope(caller: Caller, scope: str) -> None:
    """Let a caller pass only with a scope.

    Raises:
        ApiError: PERMISSION_DENIED.
    """
    if scope not in caller.scopes:
        raise ApiError(Status(Code.PERMISSION_DENIED, f"this needs the scope `{scope}`, which the token lacks"))
