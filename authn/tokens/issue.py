"""Making access tokens."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authn.audit import AuditLog
from authn.clients.client import Client
from authn.clock import World, uuid7
from authn.events import Event, EventName
from authn.jose import b64url
from authn.keys.ring import KeyRing
from authn.metrics import AuthnMetrics
from authn.rights import Detail, Rights
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
    details: Sequence[Detail] = ()
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A token just made. ``token`` must not be kept or logged."""

    token: str
    claims: Mapping[str, Any]

    def answer(self, scopes: Sequence[str]) -> dict[str, Any]:
        """The members of a token answer (RFC 6749 section 5.1, RFC 9449 section 5, RFC 9396 section 7)."""
        answer: dict[str, Any] = {
            "access_token": self.token,
            "token_type": "DPoP" if "cnf" in self.claims else "Bearer",
            "expires_in": self.claims["exp"] - self.claims["iat"],
            "scope": " ".join(scopes),
        }
        if "authorization_details" in self.claims:
            answer["authorization_details"] = self.claims["authorization_details"]
        return answer


class TokenIssuer:
    """Makes access tokens with the keys as they stand.

    Args:
        ring: gives the present ring of keys.
        epoch: gives the position in the revocation feed that this process has applied.
    """

    def __init__(
        self,
        database: Database,
        issuer: str,
        rights: Rights,
        audit: AuditLog,
        metrics: AuthnMetrics,
        world: World,
        *,
        ring: Callable[[], KeyRing],
        epoch: Callable[[], int],
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._rights = rights
        self._audit = audit
        self._metrics = metrics
        self._world = world
        self._ring = ring
        self._epoch = epoch

    async def issue(self, issuance: Issuance, grant: str) -> Issued:
        """Make one, in the format that its client is registered with.

        Args:
            grant: the short name of the grant that it is issued by.

        Raises:
            TemporarilyUnavailable: it could not be signed, or not be told of.
            StoreUnavailable: an opaque one could not be stored.
        """
        self._audit.require_room()
        client = issuance.client
        claims = self._claims(issuance)
        if client.opaque_tokens:
            token = OPAQUE_PREFIX + b64url(self._world.random_bytes(_OPAQUE_BYTES))
            await opaque.insert(self._database, opaque_digest(token), claims)
        else:
            began_s = time.perf_counter()
            token = self._ring().signer(client.token_algorithm).sign(claims)
            self._metrics.token_signed(client.token_algorithm, time.perf_counter() - began_s)
        alg = "opaque" if client.opaque_tokens else client.token_algorithm
        self._metrics.token_issued(grant, alg, "dpop" if issuance.jkt else "none")
        self._audit.record(
            Event(
                EventName.TOKEN_ISSUED,
                {
                    "grant": grant,
                    "client_id": client.client_id,
                    "subject": issuance.subject,
                    "jti": claims["jti"],
                    "scope": claims["scope"],
                    "aud": issuance.audience,
                    "jkt": issuance.jkt,
                    "grant_id": issuance.grant_id,
                },
            )
        )
        return Issued(token, claims)

    def _claims(self, issuance: Issuance) -> dict[str, Any]:
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
            ZOOKIE_CLAIM: self._rights.zookie(),
            **(issuance.extra or {}),
        }
        claims.update({name: value for name, value in optional.items() if value})
        return claims


def opaque_digest(token: str) -> bytes:
    """What is kept of an opaque token."""
    return hashlib.sha256(token.encode()).digest()
