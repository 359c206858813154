"""Token introspection (RFC 7662): what a token is worth at this moment, told to those whom it concerns.

That is the client it was issued to, and whoever serves the audience it is meant for; to all others every token is as
unknown as one that never was. Whatever is wrong with a token, the answer is the same.
"""

from collections.abc import Mapping
from typing import Any

from authn.clients.client import Client
from authn.clock import World
from authn.errors import InvalidToken
from authn.metrics import AuthnMetrics
from authn.stores.grants import GrantRow
from authn.tokens.access import ZOOKIE_CLAIM, Caller
from authn.tokens.reader import TokenReader
from authn.tokens.refresh import REFRESH_PREFIX, RefreshTokens

_INACTIVE: Mapping[str, Any] = {"active": False}
_SHOWN = (
    "scope", "client_id", "sub", "aud", "iss", "exp", "iat", "nbf", "jti", "cnf", "act", "authorization_details",
    "auth_time", "acr", "amr", "sid",
)  # fmt: skip
ADMIN_SCOPE = "admin"


class Introspection:
    """See the module.

    Args:
        own_audience: the audience of our own API, which clients that administer it serve.
    """

    def __init__(
        self,
        reader: TokenReader,
        refresh: RefreshTokens,
        own_audience: str,
        metrics: AuthnMetrics,
        world: World,
    ) -> None:
        self._reader = reader
        self._refresh = refresh
        self._own_audience = own_audience
        self._metrics = metrics
        self._world = world

    async def introspect(self, token: str, client: Client) -> Mapping[str, Any]:
        """What a token is worth, as far as ``client`` may know.

        Raises:
            StoreUnavailable: nobody can tell at the moment.
        """
        if token.startswith(REFRESH_PREFIX):
            answer = await self._refresh_token(token, client)
        else:
            answer = await self._access_token(token, client)
        self._metrics.introspections.labels("true" if answer["active"] else "false").inc()
        return answer

    async def _access_token(self, token: str, client: Client) -> Mapping[str, Any]:
        try:
            caller = await self._reader.read(token)
        except InvalidToken:
            return _INACTIVE
        if not self._concerns(caller, client):
            return _INACTIVE
        claims = caller.claims
        answer: dict[str, Any] = {"active": True, "token_type": "DPoP" if caller.jkt else "Bearer"}
        answer.update({name: claims[name] for name in _SHOWN if name in claims})
        if ZOOKIE_CLAIM in claims:
            answer["zookie"] = claims[ZOOKIE_CLAIM]
        return answer

    def _concerns(self, caller: Caller, client: Client) -> bool:
        if caller.client_id == client.client_id or client.client_id in caller.audiences:
            return True
        if not client.audiences.isdisjoint(caller.audiences):
            return True
        return self._own_audience in caller.audiences and ADMIN_SCOPE in client.scopes

    async def _refresh_token(self, token: str, client: Client) -> Mapping[str, Any]:
        found = await self._refresh.find(token)
        if found is None:
            return _INACTIVE
        row, grant = found
        now_ms = self._world.now_ms()
        expires_at_ms = min(row.expires_at_ms, grant.expires_at_ms)
        is_good = row.used_at_ms is None and grant.revoked_at_ms is None and now_ms < expires_at_ms
        return _shown_grant(grant, expires_at_ms) if is_good and grant.client_id == client.client_id else _INACTIVE


def _shown_grant(grant: GrantRow, expires_at_ms: int) -> Mapping[str, Any]:
    answer: dict[str, Any] = {
        "active": True,
        "client_id": grant.client_id,
        "sub": grant.subject,
        "scope": " ".join(grant.facts.get("scope", ())),
        "aud": grant.facts["aud"],
        "exp": expires_at_ms // 1000,
        "iat": grant.created_at_ms // 1000,
    }
    if grant.jkt is not None:
        answer["cnf"] = {"jkt": grant.jkt}
    return answer
