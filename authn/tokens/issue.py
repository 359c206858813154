"""Making access tokens."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authn.clients.client import Client
from authn.clock import World, uuid7
from authn.jose import b64url
from authn.keys.ring import KeyRing
from authn.stores import opaque
from authn.stores.statements import Database
from authn.tokens.access import EPOCH_CLAIM, ZOOKIE_CLAIM

OPAQUE_PREFIX = "tat_"
_OPAQUE_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """An access token to be made: for whom, by whose asking, for what.

    Args:
        actor: the ``act`` claim.
        details: authorization details as granted.
        extra: further claims, such as ``auth_time``.
    """

    client: Client
    subject: str
    scopes: Sequence[str]
    audience: str
    lifetime_s: int
    jkt: str | None = None
    actor: Mapping[str, Any] | None = None
    grant_id: str | None = None
    session_id: str | None = None
    lineage: Sequence[str] = ()
    details: Sequence[Mapping[str, Any]] = ()
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A token just made. ``token`` must not be kept or logged."""

    token: str
    claims: Mapping[str, Any]


class TokenIssuer:
    """Makes access tokens with the keys as they stand.

    Args:
        ring: gives the present ring of keys.
        epoch: gives the position in the revocation feed that this process has applied.
        zookie: gives the zookie that tokens carry, where there is one.
    """

    def __init__(
        self,
        database: Database,
        issuer: str,
        world: World,
        *,
        ring: Callable[[], KeyRing],
        epoch: Callable[[], int],
        zookie: Callable[[], str | None],
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._world = world
        self._ring = ring
        self._epoch = epoch
        self._zookie = zookie

    async def issue(self, issuance: Issuance) -> Issued:
        """Make one, in the format that its client is registered with."""
        claims = self.claims(issuance)
        if not issuance.client.opaque_tokens:
            return Issued(self._ring().signer(issuance.client.token_algorithm).sign(claims), claims)
        token = OPAQUE_PREFIX + b64url(self._world.random_bytes(_OPAQUE_BYTES))
        await self._database.run(opaque.insert(opaque_digest(token), claims))
        return Issued(token, claims)

    def claims(self, issuance: Issuance) -> dict[str, Any]:
        """What the token says."""
        now_ms = self._world.now_ms()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": issuance.subject,
            "aud": issuance.audience,
            "client_id": issuance.client.client_id,
            "iat": now_ms // 1000,
            "exp": now_ms // 1000 + issuance.lifetime_s,
            "jti": uuid7(now_ms, self._world.random_bytes(10)),
            "scope": " ".join(issuance.scopes),
            EPOCH_CLAIM: self._epoch(),
        }
        optional = {
            "cnf": {"jkt": issuance.jkt} if issuance.jkt else None,
            "act": issuance.actor,
            "grant_id": issuance.grant_id,
            "sid": issuance.session_id,
            "lineage": list(issuance.lineage),
            "authorization_details": list(issuance.details),
            ZOOKIE_CLAIM: self._zookie(),
            **(issuance.extra or {}),
        }
        claims.update({name: value for name, value in optional.items() if value})
        return claims


def opaque_digest(token: str) -> bytes:
    """What is kept of an opaque token."""
    return hashlib.sha256(token.encode()).digest()
